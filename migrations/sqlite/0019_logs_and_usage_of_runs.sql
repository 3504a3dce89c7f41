-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- Lines that workers log for runs. The store removes the first lines of a long log.
CREATE TABLE run_log (
    run_id BLOB NOT NULL REFERENCES runs (id),
    line INTEGER NOT NULL,
    logged_at TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('info', 'warn', 'error')),
    message TEXT NOT NULL,
    CONSTRAINT run_log_one_per_run_and_line PRIMARY KEY (run_id, line)
) STRICT;

-- Measurements of workers while they run. tick counts the measurements of a run, those that are not kept included: the store
-- keeps every one of a short run, every second, fourth, ... of a longer one.
CREATE TABLE run_usage (
    run_id BLOB NOT NULL REFERENCES runs (id),
    tick INTEGER NOT NULL,
    measured_at TEXT NOT NULL,
    cores REAL NOT NULL,
    memory INTEGER NOT NULL,
    host_memory INTEGER NOT NULL,
    device_memory INTEGER,
    CONSTRAINT run_usage_one_per_run_and_tick PRIMARY KEY (run_id, tick)
) STRICT;
