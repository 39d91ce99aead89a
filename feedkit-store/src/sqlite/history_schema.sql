-- Where each partition of the log has been committed up to, and under which claim.
CREATE TABLE positions (
    partition INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,      -- the next offset to commit
    epoch INTEGER NOT NULL,         -- raised by every claim
    log BLOB,                       -- the log's incarnation, 16 bytes
    last_offset INTEGER,            -- the last record committed: its offset,
    last_time INTEGER,              -- its time in the log, in milliseconds since 1970,
    last_hash INTEGER,              -- and the XXH3 hash of its value
    journal_from INTEGER NOT NULL DEFAULT 0 -- where the journal begins; from there to the position it has no holes
);

-- Raw events lie in one table a month (UTC) of their id's time, events_YYYYMM, made when the first one comes;
-- dropping a month drops its table. The view `events` is over all of them.
CREATE TABLE event_months (
    month INTEGER PRIMARY KEY       -- 202611 for November 2026
);

-- Who likes what, now.
CREATE TABLE likes (
    post TEXT NOT NULL,
    user TEXT NOT NULL,
    PRIMARY KEY (post, user)
) WITHOUT ROWID;

-- Who published what: the first to do so.
CREATE TABLE posts (
    post TEXT PRIMARY KEY,
    author TEXT NOT NULL,
    time INTEGER NOT NULL
) WITHOUT ROWID;

-- Net effects by post and kind; `like` counts the likes that stand.
CREATE TABLE post_totals (
    post TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    generation INTEGER NOT NULL,    -- of the landmark that the score is relative to
    score REAL NOT NULL,            -- trending: likes that fade
    PRIMARY KEY (post, kind)
) WITHOUT ROWID;

-- Net effects by the hour (UTC, milliseconds since 1970) of the event's own time.
CREATE TABLE post_hourly (
    hour INTEGER NOT NULL,
    post TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, post, kind)
) WITHOUT ROWID;

-- What the months dropped by retention held, in sums: baseline + raw events = totals.
CREATE TABLE event_baseline (
    hour INTEGER NOT NULL,
    post TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, post, kind)
) WITHOUT ROWID;

-- Records that are no events.
CREATE TABLE rejected (
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,          -- in the log
    reason TEXT NOT NULL,
    field TEXT,
    detail TEXT NOT NULL,
    value BLOB NOT NULL,            -- its first 64 KiB
    size INTEGER NOT NULL,
    hash INTEGER NOT NULL,          -- XXH3 of all of it
    log BLOB NOT NULL,
    PRIMARY KEY (partition, offset, log)
) WITHOUT ROWID;

-- One row a commit: what it changed, in feedkit's own binary form.
CREATE TABLE journal (
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,         -- the offset that the commit began at
    next INTEGER NOT NULL,          -- the position after it
    at INTEGER NOT NULL,            -- when, in milliseconds since 1970
    entry BLOB NOT NULL,
    PRIMARY KEY (partition, first)
);

-- Who follows the journal, and how far they have come: it is kept for them.
CREATE TABLE followers (
    name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    noted INTEGER NOT NULL,         -- when, in milliseconds since 1970
    PRIMARY KEY (name, partition)
) WITHOUT ROWID;

-- Records that the log lost before they were read, as an operator has accepted.
CREATE TABLE gaps (
    partition INTEGER NOT NULL,
    at INTEGER NOT NULL,            -- when it was accepted
    position INTEGER NOT NULL,      -- where the partition stood
    went_on INTEGER NOT NULL,       -- where it went on,
    log BLOB NOT NULL               -- and in which incarnation of the log
);

-- Files sent in by `replay`.
CREATE TABLE replay_sources (
    name TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL     -- in milliseconds since 1970
) WITHOUT ROWID;

-- Counters that follow a history kept elsewhere: net effects by post and kind, as in post_totals, and authors.
CREATE TABLE counter_totals (
    post TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    score REAL NOT NULL,
    PRIMARY KEY (post, kind)
) WITHOUT ROWID;

CREATE TABLE counter_authors (
    post TEXT PRIMARY KEY,
    author TEXT NOT NULL
) WITHOUT ROWID;

-- How far each partition is counted: the chunk that comes next.
CREATE TABLE counter_fences (
    partition INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    chunk INTEGER NOT NULL
);

-- One row: whose effects are counted, and the rebuild begun last.
CREATE TABLE counter_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation BLOB,               -- the history's, 16 bytes; unknown before the first chunk or rebuild
    token INTEGER NOT NULL,
    rebuilding INTEGER NOT NULL
);

INSERT INTO counter_state (id, incarnation, token, rebuilding) VALUES (1, NULL, 0, 0);
