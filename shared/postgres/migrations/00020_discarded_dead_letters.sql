-- +goose Up

-- A message that nobody will ever be able to read is not sent again: it would only come back. An operator says that it
-- is of no use, and why is in the audit log.
ALTER TABLE dead_letters ADD COLUMN discarded_at timestamptz;

DROP INDEX idx_dead_letters_waiting;
CREATE INDEX idx_dead_letters_waiting ON dead_letters (id DESC) WHERE redriven_at IS NULL AND discarded_at IS NULL;

-- +goose Down
DROP INDEX idx_dead_letters_waiting;
CREATE INDEX idx_dead_letters_waiting ON dead_letters (id DESC) WHERE redriven_at IS NULL;
ALTER TABLE dead_letters DROP COLUMN discarded_at;
