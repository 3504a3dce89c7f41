-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- What the list of runs is searched, filtered and sorted by: copies of fields of the spec. A run can be renamed, which leaves
-- its spec as it is.
ALTER TABLE runs ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN objective TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN base TEXT NOT NULL DEFAULT '';
UPDATE runs SET
    name = COALESCE((SELECT json_extract(j.spec, '$.name') FROM jobs j WHERE j.id = runs.job_id), ''),
    objective = COALESCE((SELECT json_extract(j.spec, '$.objective.kind') FROM jobs j WHERE j.id = runs.job_id), ''),
    base = COALESCE((SELECT json_extract(j.spec, '$.base') FROM jobs j WHERE j.id = runs.job_id), '');
CREATE INDEX runs_by_name ON runs (name);

-- What people add to a run.
ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
ALTER TABLE runs ADD COLUMN archived INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1));
CREATE INDEX runs_by_pin ON runs (archived, pinned, id);
CREATE TABLE run_tags (
    run_id BLOB NOT NULL REFERENCES runs (id),
    tag TEXT NOT NULL,
    CONSTRAINT run_tags_one_per_run_and_tag PRIMARY KEY (run_id, tag)
) STRICT;
CREATE INDEX run_tags_by_tag ON run_tags (tag, run_id);

-- Workers claim jobs of a higher priority first.
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- When the job was put into the queue again; null: when it was submitted.
ALTER TABLE jobs ADD COLUMN queued_at TEXT;
-- Milliseconds between claims and ends, over all times that the job was in the queue.
ALTER TABLE jobs ADD COLUMN worked_ms INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET worked_ms = MAX(0, CAST(ROUND((julianday(finished_at) - julianday(started_at)) * 86400000.0) AS INTEGER))
    WHERE started_at IS NOT NULL AND finished_at IS NOT NULL;
