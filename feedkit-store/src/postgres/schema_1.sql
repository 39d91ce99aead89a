-- Identifiers compare by their bytes (COLLATE "C"), as everywhere in feedkit.

CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    min_compatible integer NOT NULL,    -- the oldest version whose programs work with this one
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Single values: the incarnation, the consumer group, and up to when raw events were dropped.
CREATE TABLE meta (
    key text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

INSERT INTO meta (key, value) VALUES
    ('incarnation', replace(gen_random_uuid()::text, '-', '')),
    ('like_seed', replace(gen_random_uuid()::text, '-', ''));

-- How far each partition of the log has been committed, and under which claim.
CREATE TABLE positions (
    partition integer PRIMARY KEY,
    position bigint NOT NULL,           -- the next offset to commit
    epoch bigint NOT NULL,              -- raised by every claim
    log uuid,                           -- the log's incarnation
    last_offset bigint,                 -- the offset of the last record committed,
    last_time bigint,                   -- its time in the log, in milliseconds since 1970,
    last_hash bigint,                   -- and the XXH3 hash of its value
    journal_from bigint NOT NULL DEFAULT 0 -- the journal's beginning; it has no holes up to the position
) WITH (fillfactor = 30);

-- Raw events, with one partition for each month (UTC) of their ids' times.
CREATE TABLE events (
    event_id uuid NOT NULL,             -- UUIDv7
    user_id text COLLATE "C" NOT NULL,
    post_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,          -- the event's own
    received_at timestamptz,            -- by a gateway
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    effect smallint NOT NULL,           -- what it added to its counter; 0 for none
    text text,
    attributes jsonb,
    PRIMARY KEY (event_id, user_id)
) PARTITION BY RANGE (event_id);

CREATE INDEX events_comments ON events (post_id, time, event_id, user_id) WHERE kind = 'comment';

-- The likes that stand now. The key is a hash of the post, then of the user, so that the likes of
-- one post are together.
CREATE TABLE likes (
    key uuid PRIMARY KEY,
    post_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL
);

-- The authors of posts: the first user who published each of them.
CREATE TABLE posts (
    post_id text COLLATE "C" PRIMARY KEY,
    author text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL
);

-- Net effects by post and kind; `like` counts the likes that stand. As of rollup_positions.
CREATE TABLE post_totals (
    post_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    generation bigint NOT NULL,         -- of the landmark that the score is relative to
    score double precision NOT NULL,    -- the trending score: likes that fade
    PRIMARY KEY (post_id, kind)
) WITH (fillfactor = 70);

-- Net effects by the hour (UTC) of the event's own time. As of rollup_positions.
CREATE TABLE post_hourly (
    hour timestamptz NOT NULL,
    post_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, post_id, kind)
) WITH (fillfactor = 70);

-- The positions of post_totals and post_hourly.
CREATE TABLE rollup_positions (
    partition integer PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 30);

-- The sums of the months that retention has dropped: baseline + raw events = totals.
CREATE TABLE event_baseline (
    hour timestamptz NOT NULL,
    post_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, post_id, kind)
);

-- Records that are not events.
CREATE TABLE rejected (
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    log uuid NOT NULL,
    time timestamptz NOT NULL,          -- its time in the log
    reason text NOT NULL,
    field text,
    detail text NOT NULL,
    value bytea NOT NULL,               -- its first 64 KiB
    size bigint NOT NULL,
    hash bigint NOT NULL,               -- XXH3 of all of it
    PRIMARY KEY (partition, "offset", log)
);

-- One row for each commit, with its effects in feedkit's own binary form. One partition for each
-- day (UTC).
CREATE TABLE journal (
    partition integer NOT NULL,
    first bigint NOT NULL,              -- the offset that the commit began at
    next bigint NOT NULL,               -- the position after it
    at timestamptz NOT NULL,            -- when it was made
    entry bytea NOT NULL,               -- compressed by feedkit
    PRIMARY KEY (partition, first, at)
) PARTITION BY RANGE (at);

ALTER TABLE journal ALTER COLUMN entry SET STORAGE EXTERNAL;

-- The followers of the journal, and their positions. The journal is kept for them.
CREATE TABLE followers (
    name text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    noted timestamptz NOT NULL,
    needs_rebuild boolean NOT NULL DEFAULT false, -- it was silent for too long, and nothing is kept for it
    PRIMARY KEY (name, partition)
);

-- Records that the log lost before they were read. An operator has accepted this.
CREATE TABLE gaps (
    partition integer NOT NULL,
    at timestamptz NOT NULL,            -- when it was accepted
    position bigint NOT NULL,           -- the partition's position before
    went_on bigint NOT NULL,            -- its position after that,
    log uuid NOT NULL                   -- in this incarnation of the log
);

-- The alert follower's lease. The row stays when the lease is given back, so that the epoch never
-- falls.
CREATE TABLE alert_lease (
    shard integer PRIMARY KEY,
    owner text NOT NULL,                -- empty after it was given back
    epoch bigint NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 30);

INSERT INTO alert_lease (shard, owner, epoch, until) VALUES (0, '', 0, '1970-01-01Z');

-- The steps since the last snapshot: the records that were consumed together.
CREATE TABLE alert_steps (
    number bigint PRIMARY KEY,
    watermark bigint NOT NULL,          -- in milliseconds since 1970
    consumed jsonb NOT NULL             -- [{"partition":0,"from":0,"to":10}]
);

-- The last snapshot: one row, and one state for each rule.
CREATE TABLE alert_snapshot (
    shard integer PRIMARY KEY,
    step bigint NOT NULL,
    positions jsonb NOT NULL            -- {"0":10}
);

CREATE TABLE alert_states (
    rule text COLLATE "C" PRIMARY KEY,
    ordinal integer NOT NULL,
    state bytea NOT NULL
);

-- States of exact rules, as of the last snapshot.
CREATE TABLE alert_exact (
    rule text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (rule, key)
);

-- All alerts that were ever raised, each id once.
CREATE TABLE alerts (
    seq bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    type text NOT NULL,
    severity text NOT NULL,
    audience text NOT NULL,             -- user:ID, post:ID, role:NAME or all
    title text NOT NULL,
    occurred_at timestamptz NOT NULL,
    notification jsonb NOT NULL         -- all of it
);

-- How far the outbox is published, and the end of the notifications' log at that time.
CREATE TABLE alert_published (
    shard integer PRIMARY KEY,
    seq bigint NOT NULL,
    positions jsonb NOT NULL
) WITH (fillfactor = 30);

-- The alerts that are still to be published.
CREATE VIEW outbox AS
    SELECT seq, notification FROM alerts
    WHERE seq > coalesce((SELECT seq FROM alert_published WHERE shard = 0), 0);

-- The likes of each post by day (UTC), with a running total, the rank among the posts of the day,
-- and the change from the day before.
CREATE VIEW likes_per_day AS
    SELECT day, post_id, likes,
        (sum(likes) OVER post)::bigint AS running_total,
        rank() OVER (PARTITION BY day ORDER BY likes DESC) AS rank_of_day,
        likes - CASE lag(day) OVER post WHEN day - 1 THEN lag(likes) OVER post ELSE 0 END AS change_from_day_before
    FROM (
        SELECT (hour AT TIME ZONE 'UTC')::date AS day, post_id, sum(count)::bigint AS likes
        FROM post_hourly WHERE kind = 'like' GROUP BY 1, 2
    ) AS days
    WINDOW post AS (PARTITION BY post_id ORDER BY day);

-- The posts ranked by likes within each month (UTC).
CREATE VIEW top_posts_month AS
    SELECT month, rank() OVER (PARTITION BY month ORDER BY likes DESC) AS rank, post_id, likes
    FROM (
        SELECT date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month, post_id, sum(count)::bigint AS likes
        FROM post_hourly WHERE kind = 'like' GROUP BY 1, 2
    ) AS months
    WHERE likes > 0;

-- The least UUIDv7 of a time.
CREATE FUNCTION feedkit_uuid_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Adds the partition of a month (202611) or a day (20261124) if it does not exist. It is attached
-- rather than created in place, because that needs no lock for which readers and writers would
-- wait. The two functions below have their owner's rights, so that a program that may not create
-- tables can work across the turn of a month.
CREATE FUNCTION feedkit_add_partition(parent text, leaf text, low text, high text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('feedkit partitions'));
    IF to_regclass(quote_ident(leaf)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)',
            leaf, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, leaf, low, high);
    END IF;
END $$;

CREATE FUNCTION feedkit_add_events_month(month integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    low timestamptz := make_timestamptz(month / 100, month % 100, 1, 0, 0, 0, 'UTC');
    high timestamptz := ((low AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    PERFORM feedkit_add_partition('events', 'events_' || month,
        feedkit_uuid_at(low)::text, feedkit_uuid_at(high)::text);
END $$;

CREATE FUNCTION feedkit_add_journal_day(day integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    low timestamptz := make_timestamptz(day / 10000, day / 100 % 100, day % 100, 0, 0, 0, 'UTC');
BEGIN
    PERFORM feedkit_add_partition('journal', 'journal_' || day, low::text, (low + interval '24 hours')::text);
END $$;

DO $$
DECLARE
    name text;
BEGIN
    -- A function with its owner's rights must not use its caller's search path.
    FOREACH name IN ARRAY ARRAY['feedkit_add_events_month(integer)', 'feedkit_add_journal_day(integer)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('ALTER FUNCTION %s SET timezone = ''UTC''', name);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
    EXECUTE 'REVOKE EXECUTE ON FUNCTION feedkit_add_partition(text, text, text, text) FROM PUBLIC';
    -- Servers can be built without LZ4.
    BEGIN
        ALTER TABLE events ALTER COLUMN text SET COMPRESSION lz4;
        ALTER TABLE rejected ALTER COLUMN value SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN NULL;
    END;
END $$;
