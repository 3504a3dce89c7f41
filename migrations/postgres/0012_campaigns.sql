-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Judging of these models by these rules. `spec` is the campaign as it was requested; `owner_sha256` is the hash of the key that
-- its owner got. It is closed at `ends_at`, and when it has `wanted_votes`.
CREATE TABLE campaigns (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'paused', 'closed')),
    owner_sha256 TEXT NOT NULL,
    wanted_votes BIGINT,
    ends_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    CONSTRAINT campaigns_name_unique UNIQUE (name),
    CONSTRAINT campaigns_closed_has_time CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE INDEX campaigns_by_state ON campaigns (state, id);

-- The models of a campaign: while it is not closed, their evaluation images are withheld.
CREATE TABLE campaign_models (
    campaign_id UUID NOT NULL REFERENCES campaigns (id),
    model_id UUID NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    CONSTRAINT campaign_models_one_per_pair PRIMARY KEY (campaign_id, model_id)
);
CREATE INDEX campaign_models_by_model ON campaign_models (model_id, campaign_id);

-- A matchup outside campaigns has no campaign.
ALTER TABLE matchups ADD COLUMN campaign_id UUID REFERENCES campaigns (id);
CREATE INDEX matchups_by_campaign ON matchups (campaign_id, rater_id);

-- Votes that their raters took back, as they were. They stand in a table of their own, so that no query of votes counts one.
CREATE TABLE undone_votes (
    id UUID NOT NULL PRIMARY KEY,
    matchup_id UUID NOT NULL REFERENCES matchups (id) ON DELETE CASCADE,
    rater_id UUID NOT NULL REFERENCES raters (id),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'both_bad')),
    created_at TIMESTAMPTZ NOT NULL,
    undone_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX undone_votes_by_matchup ON undone_votes (matchup_id);
CREATE INDEX undone_votes_by_rater ON undone_votes (rater_id);

-- Matchups that a rater does not want to judge.
CREATE TABLE skips (
    matchup_id UUID NOT NULL REFERENCES matchups (id) ON DELETE CASCADE,
    rater_id UUID NOT NULL REFERENCES raters (id),
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT skips_one_per_rater_and_matchup PRIMARY KEY (matchup_id, rater_id)
);
CREATE INDEX skips_by_rater ON skips (rater_id);

-- Pairs that measure a rater: with a known answer (exam, gold), or one that the rater has judged before (repeat). They are no
-- matchups, so that no query of votes counts one. A check that was skipped has a time and no choice.
CREATE TABLE campaign_checks (
    id UUID NOT NULL PRIMARY KEY,
    campaign_id UUID NOT NULL REFERENCES campaigns (id),
    rater_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('exam', 'gold', 'repeat')),
    prompt TEXT NOT NULL,
    question TEXT NOT NULL CHECK (question IN ('overall', 'appeal', 'alignment')),
    left_image UUID NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    right_image UUID NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    expected TEXT NOT NULL CHECK (expected IN ('left', 'right', 'tie', 'both_bad')),
    choice TEXT CHECK (choice IN ('left', 'right', 'tie', 'both_bad')),
    created_at TIMESTAMPTZ NOT NULL,
    answered_at TIMESTAMPTZ,
    CONSTRAINT campaign_checks_answered_has_time CHECK (choice IS NULL OR answered_at IS NOT NULL)
);
CREATE INDEX campaign_checks_by_rater ON campaign_checks (campaign_id, rater_id, id);
CREATE INDEX campaign_checks_by_left_image ON campaign_checks (left_image);
CREATE INDEX campaign_checks_by_right_image ON campaign_checks (right_image);

-- Links that open one campaign's desk to who has no access to the rest. The token itself is not stored.
CREATE TABLE campaign_invitations (
    id UUID NOT NULL PRIMARY KEY,
    campaign_id UUID NOT NULL REFERENCES campaigns (id),
    token_sha256 TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    CONSTRAINT campaign_invitations_token_unique UNIQUE (token_sha256)
);
CREATE INDEX campaign_invitations_by_campaign ON campaign_invitations (campaign_id, id);

-- Raters who have read a campaign's instructions and agreed. `external_id` is what a panel calls the rater.
CREATE TABLE campaign_raters (
    campaign_id UUID NOT NULL REFERENCES campaigns (id),
    rater_id UUID NOT NULL,
    external_id TEXT,
    consented_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT campaign_raters_one_per_pair PRIMARY KEY (campaign_id, rater_id)
);
