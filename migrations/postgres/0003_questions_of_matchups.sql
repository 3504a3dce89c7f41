-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- What raters are asked of the two pictures. All that was judged before was asked of the whole.
ALTER TABLE matchups ADD COLUMN question TEXT NOT NULL DEFAULT 'overall'
    CHECK (question IN ('overall', 'appeal', 'alignment'));
