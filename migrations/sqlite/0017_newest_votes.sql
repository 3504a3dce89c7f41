-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- The newest matchups of a question, from which ratings and agreement are computed without reading all votes. Of an expression, so that
-- no other query takes the index: a third of all matchups or more have one question.
CREATE INDEX matchups_newest ON matchups ((question || ''), id);

-- Categories of prompts, as evaluations name them; the key is the SHA-256 of the prompt.
CREATE TABLE prompt_categories (
    prompt_sha256 TEXT NOT NULL PRIMARY KEY,
    category TEXT NOT NULL
) STRICT;

-- Raters of votes that were made elsewhere, by the SHA-256 of their names there.
CREATE TABLE imported_raters (
    name_sha256 TEXT NOT NULL PRIMARY KEY,
    rater_id BLOB NOT NULL REFERENCES raters (id)
) STRICT;
