-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.
-- Ids, times and defaults come from the program. Every unique constraint has a name, and the store turns it
-- into a conflict beside its insert.

-- The queue. A running job is held by whoever knows its token, until the lease lapses.
CREATE TABLE jobs (
    id UUID NOT NULL PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt BIGINT NOT NULL,
    cancel_requested BOOLEAN NOT NULL,
    worker TEXT,
    token UUID,
    lease_until TIMESTAMPTZ,
    progress BIGINT NOT NULL,
    total BIGINT NOT NULL,
    error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    CONSTRAINT jobs_running_is_held CHECK ((state = 'running') = (token IS NOT NULL)),
    CONSTRAINT jobs_held_has_lease CHECK ((token IS NULL) = (lease_until IS NULL))
);
CREATE INDEX jobs_by_state ON jobs (state, id);

-- One execution of a training job. Its state, error and times are the job's.
CREATE TABLE runs (
    id UUID NOT NULL PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id),
    step BIGINT NOT NULL,
    CONSTRAINT runs_one_per_job UNIQUE (job_id)
);

-- Curves.
CREATE TABLE metrics (
    run_id UUID NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    step BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT metrics_one_per_run_name_step PRIMARY KEY (run_id, name, step)
);
CREATE INDEX metrics_by_run_and_step ON metrics (run_id, step, name);

-- Checkpoints that can generate.
CREATE TABLE models (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    base_id UUID REFERENCES models (id),
    run_id UUID REFERENCES runs (id),
    step BIGINT,
    objective TEXT,
    description TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT models_name_unique UNIQUE (name)
);
CREATE INDEX models_by_run ON models (run_id, id);

-- Pictures. params_sha256 stands for everything that decides one besides the weights, so that "same prompt, seed,
-- steps, guidance, size and sampler" is one short comparison (and a prompt may be longer than an index row).
CREATE TABLE images (
    id UUID NOT NULL PRIMARY KEY,
    model_id UUID REFERENCES models (id),
    run_id UUID REFERENCES runs (id),
    step BIGINT,
    purpose TEXT NOT NULL CHECK (purpose IN ('generation', 'evaluation', 'sample')),
    prompt TEXT NOT NULL,
    negative_prompt TEXT NOT NULL,
    seed BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    guidance_scale DOUBLE PRECISION NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    sampler TEXT NOT NULL,
    params_sha256 TEXT NOT NULL,
    artifact TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT images_evaluation_has_model CHECK (purpose <> 'evaluation' OR model_id IS NOT NULL),
    CONSTRAINT images_sample_has_run_and_step CHECK (purpose <> 'sample' OR (run_id IS NOT NULL AND step IS NOT NULL))
);
CREATE INDEX images_by_model ON images (model_id, purpose, id);
CREATE INDEX images_by_run ON images (run_id, purpose, step, id);
CREATE INDEX images_by_model_and_params ON images (model_id, purpose, params_sha256, id);
CREATE INDEX images_by_params ON images (params_sha256, purpose, model_id, id);

-- What metrics say of pictures.
CREATE TABLE image_scores (
    image_id UUID NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT image_scores_one_per_image_and_metric PRIMARY KEY (image_id, metric)
);

-- Pairs of models with at least one evaluation picture of equal params: an index kept by hand, because the draw of a
-- matchup must not compare all pictures with all pictures. model_a < model_b.
CREATE TABLE comparable_models (
    model_a UUID NOT NULL REFERENCES models (id),
    model_b UUID NOT NULL REFERENCES models (id),
    CONSTRAINT comparable_models_one_per_pair PRIMARY KEY (model_a, model_b),
    CONSTRAINT comparable_models_ordered CHECK (model_a < model_b)
);

-- People (or browsers) who vote.
CREATE TABLE raters (
    id UUID NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

-- Two pictures shown to a rater; to anybody when rater_id is null.
CREATE TABLE matchups (
    id UUID NOT NULL PRIMARY KEY,
    prompt TEXT NOT NULL,
    left_image UUID NOT NULL REFERENCES images (id),
    right_image UUID NOT NULL REFERENCES images (id),
    rater_id UUID REFERENCES raters (id),
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX matchups_by_rater ON matchups (rater_id, id);

-- Answers.
CREATE TABLE votes (
    id UUID NOT NULL PRIMARY KEY,
    matchup_id UUID NOT NULL REFERENCES matchups (id),
    rater_id UUID NOT NULL REFERENCES raters (id),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'both_bad')),
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT votes_one_per_rater_and_matchup UNIQUE (matchup_id, rater_id)
);
CREATE INDEX votes_by_rater ON votes (rater_id);
