-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- The votes on one model's images are counted from the images, not from all votes; the models of a base, from the base.
CREATE INDEX matchups_by_left_image ON matchups (left_image);
CREATE INDEX matchups_by_right_image ON matchups (right_image);
CREATE INDEX models_by_base ON models (base_id);
