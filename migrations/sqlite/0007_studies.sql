-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- Methods, data sets and seeds that are compared.
CREATE TABLE studies (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'cancelled')),
    created_at TEXT NOT NULL,
    finished_at TEXT,
    CONSTRAINT studies_name_unique UNIQUE (name)
) STRICT;

-- The job of each cell that was submitted.
CREATE TABLE study_jobs (
    study_id BLOB NOT NULL REFERENCES studies (id),
    cell TEXT NOT NULL,
    job_id BLOB NOT NULL REFERENCES jobs (id),
    CONSTRAINT study_jobs_one_per_cell PRIMARY KEY (study_id, cell),
    CONSTRAINT study_jobs_one_cell_per_job UNIQUE (job_id)
) STRICT;
