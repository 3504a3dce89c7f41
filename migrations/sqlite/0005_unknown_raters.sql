-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- A matchup may be drawn for a browser that has not voted yet: such a rater has an id and no row. So the column loses its
-- reference to raters.
ALTER TABLE matchups ADD COLUMN drawn_for BLOB;
UPDATE matchups SET drawn_for = rater_id;
DROP INDEX matchups_by_rater;
ALTER TABLE matchups DROP COLUMN rater_id;
ALTER TABLE matchups RENAME COLUMN drawn_for TO rater_id;
CREATE INDEX matchups_by_rater ON matchups (rater_id, id);
