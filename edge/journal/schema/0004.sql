-- Version 4: a copy of this file can be told from it.
--
-- life: a name that changes at every start and stop; the lock's file beside this one has it, too. A
-- file whose life is another than the lock's was put back, and is older than what happened since.
-- Empty for one that no controller has opened yet; one that a salvage has made names the life that it is
-- to follow.

ALTER TABLE journal ADD COLUMN life TEXT NOT NULL DEFAULT '';
