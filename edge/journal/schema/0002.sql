-- Version 2: where a hall began anew stays known.
--
-- A snapshot without a state says that the events up to its position can't be replayed (see
-- salvage). It must outlive the snapshots that come after it, which another version of the software
-- may not read.

DROP TRIGGER two_snapshots_are_kept;

CREATE TRIGGER two_snapshots_are_kept AFTER INSERT ON snapshots BEGIN
  DELETE FROM snapshots WHERE state <> '' AND position NOT IN
    (SELECT position FROM snapshots WHERE state <> '' ORDER BY position DESC LIMIT 2);
END;
