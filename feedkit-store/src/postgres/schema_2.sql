-- A rebuild of post_totals and post_hourly that is under way or was interrupted: one row, or none.
-- While there is one, no follower changes the totals.
CREATE TABLE rollup_rebuild (
    shard integer PRIMARY KEY,
    incarnation text NOT NULL,          -- the history's when it began
    dropped_until text NOT NULL,        -- up to when raw events had been dropped; empty if never
    cut jsonb NOT NULL,                 -- {"0":10}: the positions up to which events are summed up
    events uuid,                        -- events up to this id are summed up,
    baseline_hour timestamptz,          -- then the baseline, up to this key
    baseline_post text COLLATE "C",
    baseline_kind text COLLATE "C",
    summed bigint NOT NULL,             -- how many rows have been read
    begun timestamptz NOT NULL
);

-- The sums so far. At the end they replace those of the tables of the same form.
CREATE TABLE rebuilt_totals (LIKE post_totals INCLUDING ALL);
CREATE TABLE rebuilt_hourly (LIKE post_hourly INCLUDING ALL);
