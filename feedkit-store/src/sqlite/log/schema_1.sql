-- Single values, such as the log's incarnation.
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

-- The offsets of each partition: start..next. The next record gets the offset next, even if all
-- rows are gone.
CREATE TABLE partitions (
    topic INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    start INTEGER NOT NULL,
    next INTEGER NOT NULL,
    last_time INTEGER NOT NULL,     -- the latest time of any record so far, in milliseconds since 1970
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;

-- The records are in tables log_TOPIC_PARTITION, which are made with their topic.
