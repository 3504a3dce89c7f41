-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- What the list of runs is searched, filtered and sorted by: copies of fields of the spec. A run can be renamed, which leaves
-- its spec as it is. Sorted by bytes, as in SQLite.
ALTER TABLE runs ADD COLUMN name TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN objective TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN base TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE runs SET
    name = COALESCE((SELECT j.spec::json ->> 'name' FROM jobs j WHERE j.id = runs.job_id), ''),
    objective = COALESCE((SELECT j.spec::json -> 'objective' ->> 'kind' FROM jobs j WHERE j.id = runs.job_id), ''),
    base = COALESCE((SELECT j.spec::json ->> 'base' FROM jobs j WHERE j.id = runs.job_id), '');
CREATE INDEX runs_by_name ON runs (name);

-- What people add to a run.
ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE runs ADD COLUMN archived BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX runs_by_pin ON runs (archived, pinned, id);
CREATE TABLE run_tags (
    run_id UUID NOT NULL REFERENCES runs (id),
    tag TEXT COLLATE "C" NOT NULL,
    CONSTRAINT run_tags_one_per_run_and_tag PRIMARY KEY (run_id, tag)
);
CREATE INDEX run_tags_by_tag ON run_tags (tag, run_id);

-- Workers claim jobs of a higher priority first.
ALTER TABLE jobs ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
-- When the job was put into the queue again; null: when it was submitted.
ALTER TABLE jobs ADD COLUMN queued_at TIMESTAMPTZ;
-- Milliseconds between claims and ends, over all times that the job was in the queue.
ALTER TABLE jobs ADD COLUMN worked_ms BIGINT NOT NULL DEFAULT 0;
UPDATE jobs SET worked_ms = GREATEST(0, ROUND(EXTRACT(EPOCH FROM finished_at - started_at) * 1000))::BIGINT
    WHERE started_at IS NOT NULL AND finished_at IS NOT NULL;
