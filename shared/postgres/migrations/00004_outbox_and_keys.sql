-- +goose Up

-- Events, written in the transaction of what they tell. Partitioned by day of the event's id (UUIDv7 by the
-- database's clock), so that published days leave by DROP.
CREATE TABLE outbox (
    id             uuid        NOT NULL PRIMARY KEY,
    shard          smallint    NOT NULL CHECK (shard >= 0),
    aggregate_type text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    type           text        NOT NULL CHECK (type ~ '^[a-z0-9_.]+$'),
    -- The CloudEvent as it will be sent, byte for byte: receivers verify signatures over these bytes.
    payload        bytea       NOT NULL,
    traceparent    text,
    occurred_at    timestamptz NOT NULL,
    processed_at   timestamptz
) PARTITION BY RANGE (id);

-- The drain's reading order: per shard, per aggregate, in sequence. Rows leave the index when they are sent.
CREATE INDEX idx_outbox_unprocessed ON outbox (shard, aggregate_id, sequence) WHERE processed_at IS NULL;

-- Answers to keyed writes, in the transaction of their effect. digest is SHA-256 over caller, operation and key,
-- each with its length; fingerprint is SHA-256 over method, path and canonical body.
-- Not partitioned by time: uniqueness would then hold per partition only, and a retry across midnight would
-- order twice. Expired rows leave in small batches instead, by the index on expires_at.
CREATE TABLE idempotency_keys (
    digest      bytea       PRIMARY KEY CHECK (length(digest) = 32),
    fingerprint bytea       NOT NULL CHECK (length(fingerprint) = 32),
    status      smallint    NOT NULL CHECK (status BETWEEN 200 AND 499),
    header      jsonb       NOT NULL,
    body        bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL DEFAULT now() + interval '24 hours'
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE INDEX idx_idempotency_keys_expires ON idempotency_keys (expires_at);

-- +goose Down
DROP TABLE idempotency_keys;
DROP TABLE outbox;
