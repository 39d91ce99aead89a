-- Single values, such as the incarnation and the consumer group.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('incarnation', randomblob(16));

-- The alert follower's lease. The row stays when the lease is given back, so that the epoch never
-- falls.
CREATE TABLE alert_lease (
    shard INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,            -- empty after it was given back
    epoch INTEGER NOT NULL,
    until INTEGER NOT NULL          -- milliseconds since 1970
);

-- The steps since the last snapshot: the records that were consumed together.
CREATE TABLE alert_steps (
    number INTEGER PRIMARY KEY,
    watermark INTEGER NOT NULL,
    consumed TEXT NOT NULL          -- JSON: [{"partition":0,"from":0,"to":10}]
);

-- The last snapshot: one row, and one state for each rule.
CREATE TABLE alert_snapshot (
    shard INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    positions TEXT NOT NULL         -- JSON: {"0":10}
);

CREATE TABLE alert_states (
    rule TEXT PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    state BLOB NOT NULL
);

-- States of exact rules, as of the last snapshot.
CREATE TABLE alert_exact (
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (rule, key)
) WITHOUT ROWID;

-- All alerts that were ever raised, each id once. The outbox is the alerts after
-- alert_published.seq.
CREATE TABLE alerts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    notification TEXT NOT NULL      -- JSON
);

-- How far the outbox is published, and the end of the notifications' log at that time.
CREATE TABLE alert_published (
    shard INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    positions TEXT NOT NULL
);
-- How far each partition of the log has been committed, and under which claim.
CREATE TABLE positions (
    partition INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,      -- the next offset to commit
    epoch INTEGER NOT NULL,         -- raised by every claim
    log BLOB,                       -- the log's incarnation, 16 bytes
    last_offset INTEGER,            -- the offset of the last record committed,
    last_time INTEGER,              -- its time in the log, in milliseconds since 1970,
    last_hash INTEGER,              -- and the XXH3 hash of its value
    journal_from INTEGER NOT NULL DEFAULT 0 -- the journal's beginning; it has no holes up to the position
);

-- Raw events are in one table for each month (UTC) of their ids' times, events_YYYYMM. A table is
-- made when its first event arrives. Dropping a month drops its table. The view `events` contains
-- all of them.
CREATE TABLE event_months (
    month INTEGER PRIMARY KEY       -- 202611 for November 2026
);

-- The likes that stand now.
CREATE TABLE likes (
    post TEXT NOT NULL,
    user TEXT NOT NULL,
    PRIMARY KEY (post, user)
) WITHOUT ROWID;

-- The authors of posts: the first user who published each of them.
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
    score REAL NOT NULL,            -- the trending score: likes that fade
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

-- The sums of the months that retention has dropped: baseline + raw events = totals.
CREATE TABLE event_baseline (
    hour INTEGER NOT NULL,
    post TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, post, kind)
) WITHOUT ROWID;

-- Records that are not events.
CREATE TABLE rejected (
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,          -- its time in the log
    reason TEXT NOT NULL,
    field TEXT,
    detail TEXT NOT NULL,
    value BLOB NOT NULL,            -- its first 64 KiB
    size INTEGER NOT NULL,
    hash INTEGER NOT NULL,          -- XXH3 of all of it
    log BLOB NOT NULL,
    PRIMARY KEY (partition, offset, log)
) WITHOUT ROWID;

-- One row for each commit, with its effects in feedkit's own binary form.
CREATE TABLE journal (
    partition INTEGER NOT NULL,
    first INTEGER NOT NULL,         -- the offset that the commit began at
    next INTEGER NOT NULL,          -- the position after it
    at INTEGER NOT NULL,            -- when it was made, in milliseconds since 1970
    entry BLOB NOT NULL,
    PRIMARY KEY (partition, first)
);

-- The followers of the journal, and their positions. The journal is kept for them.
CREATE TABLE followers (
    name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    noted INTEGER NOT NULL,         -- when it was noted, in milliseconds since 1970
    PRIMARY KEY (name, partition)
) WITHOUT ROWID;

-- Records that the log lost before they were read. An operator has accepted this.
CREATE TABLE gaps (
    partition INTEGER NOT NULL,
    at INTEGER NOT NULL,            -- when it was accepted
    position INTEGER NOT NULL,      -- the partition's position before
    went_on INTEGER NOT NULL,       -- its position after that,
    log BLOB NOT NULL               -- in this incarnation of the log
);

-- The sources that `replay` has sent.
CREATE TABLE replay_sources (
    name TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL     -- in milliseconds since 1970
) WITHOUT ROWID;

-- Counters that follow a history in another store: net effects by post and kind, as in post_totals,
-- and authors.
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

-- How far each partition is counted: its next chunk.
CREATE TABLE counter_fences (
    partition INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    chunk INTEGER NOT NULL
);

-- One row: the history whose effects are counted, and the last rebuild that began.
CREATE TABLE counter_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation BLOB,               -- the history's, 16 bytes; unknown before the first chunk or rebuild
    token INTEGER NOT NULL,
    rebuilding INTEGER NOT NULL
);

INSERT INTO counter_state (id, incarnation, token, rebuilding) VALUES (1, NULL, 0, 0);
