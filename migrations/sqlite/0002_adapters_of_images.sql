-- The SQLite twin of the file of the same name in migrations/postgres: change both or neither.

-- The LoRA adapters that a picture was drawn with, as JSON; null for none.
ALTER TABLE images ADD COLUMN lora TEXT;
