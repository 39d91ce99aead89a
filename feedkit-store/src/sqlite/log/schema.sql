-- Single values: the log's incarnation.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('incarnation', randomblob(16));

CREATE TABLE topics (
    topic INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partitions INTEGER NOT NULL     -- fixed when the topic is made
);

-- What each partition holds: offsets start..next. Offsets are given out from next, also when all rows are gone.
CREATE TABLE partitions (
    topic INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    start INTEGER NOT NULL,
    next INTEGER NOT NULL,
    last_time INTEGER NOT NULL,     -- the latest time of any record so far, in milliseconds since 1970
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;

-- The records lie in tables log_TOPIC_PARTITION, made with their topic.
