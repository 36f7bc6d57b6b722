-- The centre's database, version 1. Times are ISO 8601 in UTC, durations in seconds.
-- What halls said is in events, for ever. All tables below the line are derived from it
-- and can be made anew: nowserving-sync rebuild.

PRAGMA application_id = 0x4E536331;  -- "NSc1": a centre's database of Now Serving

CREATE TABLE halls (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- The life of one journal of a hall. Streams of a hall are ordered by id: by when the centre
-- first heard of them, since a hall's own clock may be wrong.
CREATE TABLE streams (
  id INTEGER PRIMARY KEY,
  hall INTEGER NOT NULL REFERENCES halls (id),
  epoch TEXT NOT NULL,
  contiguous INTEGER NOT NULL DEFAULT 0, -- all of 1..contiguous are here
  highest INTEGER NOT NULL DEFAULT 0,
  events INTEGER NOT NULL DEFAULT 0,
  UNIQUE (hall, epoch)
) STRICT;

CREATE TABLE events (
  stream INTEGER NOT NULL REFERENCES streams (id),
  seq INTEGER NOT NULL CHECK (seq >= 1),
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  fault TEXT,                            -- why it could not be read when it came
  body TEXT NOT NULL,                    -- the CloudEvent as it came
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_of_subject ON events (subject, stream, seq);

-- What came and can't be placed in any stream. Bounded: the oldest go.
CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  received_at TEXT NOT NULL,
  topic TEXT NOT NULL,
  reason TEXT NOT NULL,
  payload BLOB NOT NULL                  -- at most its first 4096 bytes
) STRICT;

-- Derived ---------------------------------------------------------------------------------

CREATE TABLE tickets (
  hall INTEGER NOT NULL REFERENCES halls (id),
  ticket TEXT NOT NULL,
  business_day TEXT NOT NULL,
  number TEXT NOT NULL,
  service TEXT NOT NULL,
  tier TEXT NOT NULL,
  status TEXT,
  issued_at TEXT,
  printed_at TEXT,
  called_at TEXT,                        -- the first call
  started_at TEXT,
  finished_at TEXT,
  window INTEGER,
  clerk TEXT,
  calls INTEGER NOT NULL,
  no_shows INTEGER NOT NULL,
  wait_seconds REAL,                     -- issue to first call
  service_seconds REAL,                  -- start to finish
  rating TEXT,
  rating_reason TEXT,
  PRIMARY KEY (hall, ticket)
) STRICT, WITHOUT ROWID;
CREATE INDEX tickets_of_day ON tickets (hall, business_day);

CREATE TABLE windows (
  hall INTEGER NOT NULL REFERENCES halls (id),
  window INTEGER NOT NULL,
  state TEXT NOT NULL,
  clerk TEXT,
  ticket TEXT,                           -- called or served there
  number TEXT,
  stream INTEGER NOT NULL,               -- the event that says so
  seq INTEGER NOT NULL,
  PRIMARY KEY (hall, window)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
  hall INTEGER NOT NULL REFERENCES halls (id),
  device TEXT NOT NULL,
  status TEXT NOT NULL,
  detail TEXT NOT NULL,
  stream INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (hall, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE days (
  hall INTEGER NOT NULL PRIMARY KEY REFERENCES halls (id),
  business_day TEXT NOT NULL,
  phase TEXT NOT NULL,
  stream INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
