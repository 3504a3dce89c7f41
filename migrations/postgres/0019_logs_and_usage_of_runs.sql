-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Lines that workers log for runs. The store removes the first lines of a long log.
CREATE TABLE run_log (
    run_id UUID NOT NULL REFERENCES runs (id),
    line BIGINT NOT NULL,
    logged_at TIMESTAMPTZ NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('info', 'warn', 'error')),
    message TEXT NOT NULL,
    CONSTRAINT run_log_one_per_run_and_line PRIMARY KEY (run_id, line)
);

-- Measurements of workers while they run. tick counts the measurements of a run, those that are not kept included: the store
-- keeps every one of a short run, every second, fourth, ... of a longer one.
CREATE TABLE run_usage (
    run_id UUID NOT NULL REFERENCES runs (id),
    tick BIGINT NOT NULL,
    measured_at TIMESTAMPTZ NOT NULL,
    cores DOUBLE PRECISION NOT NULL,
    memory BIGINT NOT NULL,
    host_memory BIGINT NOT NULL,
    device_memory BIGINT,
    CONSTRAINT run_usage_one_per_run_and_tick PRIMARY KEY (run_id, tick)
);
