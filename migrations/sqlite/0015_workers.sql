-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- Workers as they describe themselves, for the page that lists them. The queue does not read this table: who holds a job is
-- in its row. A worker that starts again under its name replaces its row.
CREATE TABLE workers (
    name TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL,
    version TEXT NOT NULL,
    threads INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    peak_memory INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    stopped_at TEXT
) STRICT;
-- The job of each worker.
CREATE INDEX jobs_by_worker ON jobs (worker, state);
