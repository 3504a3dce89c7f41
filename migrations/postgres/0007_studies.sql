-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Methods, data sets and seeds that are compared.
CREATE TABLE studies (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'cancelled')),
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    CONSTRAINT studies_name_unique UNIQUE (name)
);

-- The job of each cell that was submitted.
CREATE TABLE study_jobs (
    study_id UUID NOT NULL REFERENCES studies (id),
    cell TEXT NOT NULL,
    job_id UUID NOT NULL REFERENCES jobs (id),
    CONSTRAINT study_jobs_one_per_cell PRIMARY KEY (study_id, cell),
    CONSTRAINT study_jobs_one_cell_per_job UNIQUE (job_id)
);
