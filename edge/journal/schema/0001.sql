-- Version 1 of a hall's journal.
--
-- position: where an event stands in this file: 1, 2, 3 … without a gap, for ever.
-- seq: its number on the wire, within the current epoch: position - base of that epoch.

PRAGMA application_id = 0x4E536A31;  -- "NSj1": a journal of Now Serving

CREATE TABLE journal (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  hall TEXT NOT NULL,
  acked INTEGER NOT NULL DEFAULT 0 CHECK (acked >= 0)  -- position up to which the centre keeps all
) STRICT;

CREATE TABLE epochs (
  number INTEGER PRIMARY KEY,
  epoch TEXT NOT NULL UNIQUE,
  base INTEGER NOT NULL CHECK (base >= 0)  -- position of the last event before this epoch
) STRICT;

CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  body TEXT NOT NULL  -- the CloudEvent as it is sent
) STRICT;

CREATE TABLE snapshots (
  position INTEGER PRIMARY KEY,  -- of the last event that the state contains
  state TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT;

CREATE TRIGGER two_snapshots_are_kept AFTER INSERT ON snapshots BEGIN
  DELETE FROM snapshots WHERE position NOT IN
    (SELECT position FROM snapshots ORDER BY position DESC LIMIT 2);
END;

-- The guards. Events are inserted through the view "incoming", whose triggers keep the guards' small
-- tables: what breaks one of their keys is refused by the database itself, whatever the code above
-- believes. Their names are in edge/journal/errors.py.

CREATE TABLE numbers (
  business_day TEXT NOT NULL,
  number TEXT NOT NULL,
  PRIMARY KEY (business_day, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE at_window (
  window INTEGER PRIMARY KEY,
  ticket TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE clerk_at (
  window INTEGER PRIMARY KEY,
  clerk TEXT NOT NULL UNIQUE
) STRICT;

CREATE VIEW incoming (position, body, type, ticket, number, business_day, window, clerk) AS
  SELECT position, body, NULL, NULL, NULL, NULL, NULL, NULL FROM events;

CREATE TRIGGER event_is_appended INSTEAD OF INSERT ON incoming BEGIN
  SELECT RAISE(ABORT, 'guard: position without a gap')
    WHERE NEW.position <> 1 + coalesce((SELECT max(position) FROM events), 0);
  INSERT INTO events (position, body) VALUES (NEW.position, NEW.body);
END;

CREATE TRIGGER number_is_spent INSTEAD OF INSERT ON incoming
WHEN NEW.type = 'hall.ticket.issued.v1' BEGIN
  INSERT INTO numbers (business_day, number) VALUES (NEW.business_day, NEW.number);
END;

CREATE TRIGGER ticket_comes_to_window INSTEAD OF INSERT ON incoming
WHEN NEW.type IN ('hall.ticket.called.v1', 'hall.ticket.resumed.v1') BEGIN
  INSERT INTO at_window (window, ticket) VALUES (NEW.window, NEW.ticket);
END;

CREATE TRIGGER ticket_leaves_window INSTEAD OF INSERT ON incoming
WHEN NEW.type IN (
  'hall.ticket.finished.v1', 'hall.ticket.no-show.v1', 'hall.ticket.transferred.v1',
  'hall.ticket.parked.v1', 'hall.ticket.cancelled.v1', 'hall.ticket.voided.v1'
) BEGIN
  DELETE FROM at_window WHERE ticket = NEW.ticket;
END;

CREATE TRIGGER clerk_signs_on INSTEAD OF INSERT ON incoming
WHEN NEW.type = 'hall.window.opened.v1' BEGIN
  INSERT INTO clerk_at (window, clerk) VALUES (NEW.window, NEW.clerk);
END;

CREATE TRIGGER clerk_signs_off INSTEAD OF INSERT ON incoming
WHEN NEW.type = 'hall.window.closed.v1' BEGIN
  DELETE FROM clerk_at WHERE window = NEW.window;
END;
