-- Single values, such as the incarnation and the consumer group.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('incarnation', randomblob(16));

-- The alert follower's lease. The row stays when the lease is given back, so that the epoch never falls.
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

-- All alerts that were ever raised, each id once. The outbox is the alerts after alert_published.seq.
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
