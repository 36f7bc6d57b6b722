-- Version 3: what came from the broker and could not be taken.
--
-- Not part of the hall's history: nothing is derived from it, and a salvage leaves it where it is.
-- Bounded: the oldest go.

CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  received_at TEXT NOT NULL,
  topic TEXT NOT NULL,
  reason TEXT NOT NULL,
  payload BLOB NOT NULL  -- its beginning
) STRICT;

CREATE TRIGGER a_thousand_dead_letters_are_kept AFTER INSERT ON dead_letters BEGIN
  DELETE FROM dead_letters WHERE id <= NEW.id - 1000;
END;
