-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- A model with LoRA adapters, as matchups, votes and ratings know it. `lora` holds the adapters that change an image, as
-- JSON. A model without adapters has no row here: it is known by its own id. The id is that of the first image.
CREATE TABLE contestants (
    id BLOB NOT NULL PRIMARY KEY,
    model_id BLOB NOT NULL REFERENCES models (id),
    lora TEXT NOT NULL,
    CONSTRAINT contestants_one_per_model_and_adapters UNIQUE (model_id, lora)
) STRICT;

-- Null for an image of the model itself.
ALTER TABLE images ADD COLUMN contestant_id BLOB REFERENCES contestants (id);

-- Images drawn with adapters before, which counted for the model itself.
INSERT INTO contestants (id, model_id, lora)
    SELECT MIN(id), model_id, lora FROM images
    WHERE lora IS NOT NULL AND model_id IS NOT NULL GROUP BY model_id, lora;
UPDATE images SET contestant_id = (
        SELECT c.id FROM contestants c WHERE c.model_id = images.model_id AND c.lora = images.lora)
    WHERE lora IS NOT NULL AND model_id IS NOT NULL;
