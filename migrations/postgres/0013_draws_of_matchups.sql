-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- How the models of a matchup were drawn, unless it was by the number of votes: evenly, or by what a vote tells. The
-- propensity is the probability of the pair of models at that moment.
CREATE TABLE draws (
    matchup_id UUID NOT NULL PRIMARY KEY REFERENCES matchups (id) ON DELETE CASCADE,
    way TEXT NOT NULL CHECK (way IN ('even', 'informative')),
    propensity DOUBLE PRECISION NOT NULL CHECK (propensity > 0 AND propensity <= 1)
);
