-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Workers as they describe themselves, for the page that lists them. The queue does not read this table: who holds a job is
-- in its row. A worker that starts again under its name replaces its row.
CREATE TABLE workers (
    name TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL,
    version TEXT NOT NULL,
    threads BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    peak_memory BIGINT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    stopped_at TIMESTAMPTZ
);
-- The job of each worker.
CREATE INDEX jobs_by_worker ON jobs (worker, state);
