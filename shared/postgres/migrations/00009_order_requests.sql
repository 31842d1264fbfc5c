-- +goose Up

-- What a client that was answered 202 asks about: one row per queued order, by the digest of caller, operation, key
-- and fingerprint. The order, its stock and the answer are not here but under the key; this row may be written
-- after them, before them, or again, and never decides anything. Rows leave a day after they last changed.
CREATE TABLE order_requests (
    id         uuid        PRIMARY KEY,
    caller     uuid        NOT NULL,
    digest     bytea       NOT NULL CHECK (length(digest) = 32), -- of the key: where the answer will be
    status     text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'placed', 'rejected')),
    order_id   uuid        CHECK ((order_id IS NOT NULL) = (status = 'placed')),
    problem    bytea       CHECK ((problem IS NOT NULL) = (status = 'rejected')),
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_order_requests_changed ON order_requests (changed_at);

-- +goose Down
DROP TABLE order_requests;
