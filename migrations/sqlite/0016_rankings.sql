-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- Three or four images of a campaign, of which a rater picks the best or ranks several. `places` has the images' numbers from 1, the
-- best first, separated by commas; it is null while the set is open, and if it was skipped, which has a time and no places.
CREATE TABLE rankings (
    id BLOB NOT NULL PRIMARY KEY,
    campaign_id BLOB NOT NULL REFERENCES campaigns (id),
    rater_id BLOB NOT NULL,
    prompt TEXT NOT NULL,
    question TEXT NOT NULL CHECK (question IN ('overall', 'appeal', 'alignment')),
    first_image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    second_image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    third_image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    fourth_image BLOB REFERENCES images (id) ON DELETE CASCADE,
    places TEXT,
    created_at TEXT NOT NULL,
    answered_at TEXT,
    CONSTRAINT rankings_answered_has_time CHECK (places IS NULL OR answered_at IS NOT NULL)
) STRICT;
CREATE INDEX rankings_by_rater ON rankings (campaign_id, rater_id, id);
CREATE INDEX rankings_by_first_image ON rankings (first_image);
CREATE INDEX rankings_by_second_image ON rankings (second_image);
CREATE INDEX rankings_by_third_image ON rankings (third_image);
CREATE INDEX rankings_by_fourth_image ON rankings (fourth_image);

-- A pair that a ranking decides is a matchup with a vote, so that exports and tallies hold it. Ratings read the ranking in its place.
ALTER TABLE matchups ADD COLUMN ranking_id BLOB REFERENCES rankings (id) ON DELETE SET NULL;
CREATE INDEX matchups_by_ranking ON matchups (ranking_id);
