-- Dead letters are bounded by hall, so that one hall's rubbish does not push out another's; and events
-- whose place another one has (acknowledged, and kept nowhere else) are bounded apart from rubbish.
ALTER TABLE dead_letters ADD COLUMN hall TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN conflict INTEGER NOT NULL DEFAULT 0;
CREATE INDEX dead_letters_of_hall ON dead_letters (hall, conflict, id);
