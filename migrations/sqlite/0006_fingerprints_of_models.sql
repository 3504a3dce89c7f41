-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- What decided the evaluation images of a model: the SHA-256 of each part, as JSON. No row: none was drawn since this table exists.
CREATE TABLE model_fingerprints (
    model_id BLOB NOT NULL PRIMARY KEY REFERENCES models (id) ON DELETE CASCADE,
    parts TEXT NOT NULL
) STRICT;
