-- +goose Up

-- What the broker gave up on, one row per message of a dead-letter queue: the broker's copy is completed when its
-- row is here. The broker hands a message out at least once, so its sequence number in its entity is the key.
-- Rows stay until an operator has sent them again, and 90 days after that.
CREATE TABLE dead_letters (
    id              uuid        PRIMARY KEY,
    entity          text        NOT NULL,
    sequence_number bigint      NOT NULL,
    message_id      text        NOT NULL,
    subject         text        NOT NULL DEFAULT '',
    content_type    text        NOT NULL DEFAULT '',
    body            bytea       NOT NULL,
    properties      jsonb       NOT NULL DEFAULT '{}',
    reason          text        NOT NULL DEFAULT '',
    description     text        NOT NULL DEFAULT '',
    delivery_count  bigint      NOT NULL,
    enqueued_at     timestamptz,
    received_at     timestamptz NOT NULL DEFAULT now(),
    redriven_at     timestamptz,
    UNIQUE (entity, sequence_number, message_id)
);

CREATE INDEX idx_dead_letters_waiting ON dead_letters (id DESC) WHERE redriven_at IS NULL;

-- +goose Down
DROP TABLE dead_letters;
