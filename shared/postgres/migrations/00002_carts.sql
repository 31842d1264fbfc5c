-- +goose Up

-- A customer's basket. customer_key is the digest of (issuer, subject) that ownership is checked by.
CREATE TABLE carts (
    id           uuid        PRIMARY KEY,
    customer_key uuid        NOT NULL,
    session_id   text        NOT NULL CHECK (session_id <> '' AND length(session_id) <= 128),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_carts_updated ON carts (updated_at);

-- The price is not stored: a cart shows what its products cost now, an order what they cost then.
CREATE TABLE cart_items (
    cart_id    uuid        NOT NULL REFERENCES carts (id) ON DELETE CASCADE,
    product_id uuid        NOT NULL REFERENCES products (id),
    quantity   integer     NOT NULL CHECK (quantity BETWEEN 1 AND 999),
    added_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cart_id, product_id)
);

-- +goose Down
DROP TABLE cart_items;
DROP TABLE carts;
