-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Values that are NaN or infinite, which a REAL column of SQLite cannot all hold.
CREATE TABLE metrics_not_finite (
    run_id UUID NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    step BIGINT NOT NULL,
    value TEXT NOT NULL CHECK (value IN ('nan', 'infinity', '-infinity')),
    CONSTRAINT metrics_not_finite_one_per_run_name_step PRIMARY KEY (run_id, name, step)
);
CREATE INDEX metrics_not_finite_by_run_and_step ON metrics_not_finite (run_id, step);

-- Copies of points, 512 steps of a curve in one row, so that a chart of a long run reads hundreds of rows and not
-- millions. Chunk k has the steps from 512 k to 512 k + 511.
CREATE TABLE metric_chunks (
    run_id UUID NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    chunk BIGINT NOT NULL,
    points BYTEA NOT NULL,
    CONSTRAINT metric_chunks_one_per_run_name_chunk PRIMARY KEY (run_id, name, chunk)
);

-- All points of earlier steps are in chunks too.
ALTER TABLE runs ADD COLUMN packed_to BIGINT NOT NULL DEFAULT 0;
