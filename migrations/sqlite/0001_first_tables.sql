-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.
-- Ids, times and defaults come from the program. Every unique constraint has a name, and the store turns it
-- into a conflict beside its insert.

-- The queue. A running job is held by whoever knows its token, until the lease lapses.
CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    worker TEXT,
    token BLOB,
    lease_until TEXT,
    progress INTEGER NOT NULL,
    total INTEGER NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    CONSTRAINT jobs_running_is_held CHECK ((state = 'running') = (token IS NOT NULL)),
    CONSTRAINT jobs_held_has_lease CHECK ((token IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, id);

-- One execution of a training job. Its state, error and times are the job's.
CREATE TABLE runs (
    id BLOB NOT NULL PRIMARY KEY,
    job_id BLOB NOT NULL REFERENCES jobs (id),
    step INTEGER NOT NULL,
    CONSTRAINT runs_one_per_job UNIQUE (job_id)
) STRICT;

-- Curves.
CREATE TABLE metrics (
    run_id BLOB NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL NOT NULL,
    CONSTRAINT metrics_one_per_run_name_step PRIMARY KEY (run_id, name, step)
) STRICT;
CREATE INDEX metrics_by_run_and_step ON metrics (run_id, step, name);

-- Checkpoints that can generate.
CREATE TABLE models (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    base_id BLOB REFERENCES models (id),
    run_id BLOB REFERENCES runs (id),
    step INTEGER,
    objective TEXT,
    description TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT models_name_unique UNIQUE (name)
) STRICT;
CREATE INDEX models_by_run ON models (run_id, id);

-- Pictures. params_sha256 stands for everything that decides one besides the weights, so that "same prompt, seed,
-- steps, guidance, size and sampler" is one short comparison (and a prompt may be longer than an index row).
CREATE TABLE images (
    id BLOB NOT NULL PRIMARY KEY,
    model_id BLOB REFERENCES models (id),
    run_id BLOB REFERENCES runs (id),
    step INTEGER,
    purpose TEXT NOT NULL CHECK (purpose IN ('generation', 'evaluation', 'sample')),
    prompt TEXT NOT NULL,
    negative_prompt TEXT NOT NULL,
    seed INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    guidance_scale REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    sampler TEXT NOT NULL,
    params_sha256 TEXT NOT NULL,
    artifact TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT images_evaluation_has_model CHECK (purpose <> 'evaluation' OR model_id IS NOT NULL),
    CONSTRAINT images_sample_has_run_and_step CHECK (purpose <> 'sample' OR (run_id IS NOT NULL AND step IS NOT NULL))
) STRICT;
CREATE INDEX images_by_model ON images (model_id, purpose, id);
CREATE INDEX images_by_run ON images (run_id, purpose, step, id);
CREATE INDEX images_by_model_and_params ON images (model_id, purpose, params_sha256, id);
CREATE INDEX images_by_params ON images (params_sha256, purpose, model_id, id);

-- What metrics say of pictures.
CREATE TABLE image_scores (
    image_id BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    CONSTRAINT image_scores_one_per_image_and_metric PRIMARY KEY (image_id, metric)
) STRICT;

-- Pairs of models with at least one evaluation picture of equal params: an index kept by hand, because the draw of a
-- matchup must not compare all pictures with all pictures. model_a < model_b.
CREATE TABLE comparable_models (
    model_a BLOB NOT NULL REFERENCES models (id),
    model_b BLOB NOT NULL REFERENCES models (id),
    CONSTRAINT comparable_models_one_per_pair PRIMARY KEY (model_a, model_b),
    CONSTRAINT comparable_models_ordered CHECK (model_a < model_b)
) STRICT;

-- People (or browsers) who vote.
CREATE TABLE raters (
    id BLOB NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

-- Two pictures shown to a rater; to anybody when rater_id is null.
CREATE TABLE matchups (
    id BLOB NOT NULL PRIMARY KEY,
    prompt TEXT NOT NULL,
    left_image BLOB NOT NULL REFERENCES images (id),
    right_image BLOB NOT NULL REFERENCES images (id),
    rater_id BLOB REFERENCES raters (id),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX matchups_by_rater ON matchups (rater_id, id);

-- Answers.
CREATE TABLE votes (
    id BLOB NOT NULL PRIMARY KEY,
    matchup_id BLOB NOT NULL REFERENCES matchups (id),
    rater_id BLOB NOT NULL REFERENCES raters (id),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'both_bad')),
    created_at TEXT NOT NULL,
    CONSTRAINT votes_one_per_rater_and_matchup UNIQUE (matchup_id, rater_id)
) STRICT;
CREATE INDEX votes_by_rater ON votes (rater_id);
