-- +goose Up

-- Orders and their lines grow for ever, so both are partitioned by month. The key is the order's UUIDv7, whose
-- first 48 bits are the database's clock in milliseconds: a range of ids IS a range of time, the primary key
-- holds over all partitions (a key on created_at could not), and a lookup by id prunes to one partition.
CREATE TABLE orders (
    id               uuid        NOT NULL PRIMARY KEY,
    order_number     text        NOT NULL,
    customer_key     uuid        NOT NULL,
    customer_id      text        NOT NULL CHECK (customer_id <> ''),
    status           text        NOT NULL CHECK (status IN ('Pending', 'Confirmed', 'Cancelled')),
    shipping_address jsonb       NOT NULL,
    currency         char(3)     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_minor      bigint      NOT NULL CHECK (total_minor >= 0),
    cancel_reason    text        CHECK (length(cancel_reason) <= 500),
    -- Optimistic row version; every state change raises it by one and emits one event, so it is the sequence of
    -- the order's events too.
    version          bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CHECK ((status = 'Cancelled') = (cancel_reason IS NOT NULL))
) PARTITION BY RANGE (id);

-- A customer's orders, newest first: ids are time-ordered, so this is customer + created desc, and PostgreSQL
-- reads the partitions newest first and stops when the page is full.
CREATE INDEX idx_orders_customer_created ON orders (customer_key, id DESC);

-- Orders that still wait for payment: what housekeeping confirms. A whole-table index on status would be one
-- page of three values; this one stays as small as the work that is left.
CREATE INDEX idx_orders_status ON orders (id) WHERE status = 'Pending';

-- What was bought at which price. No foreign keys from here to products or orders: each would take a row lock
-- per line in the hot path (and one on the partitioned parent for every new partition); a line is only ever
-- written in its order's own transaction, after its product was read under lock there.
CREATE TABLE order_lines (
    order_id         uuid    NOT NULL,
    line             integer NOT NULL CHECK (line > 0),
    product_id       uuid    NOT NULL,
    sku              text    NOT NULL,
    name             text    NOT NULL,
    quantity         integer NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint  NOT NULL CHECK (unit_price_minor >= 0),
    PRIMARY KEY (order_id, line)
) PARTITION BY RANGE (order_id);

-- Order numbers: a sequence through a keyed bijection of 40 bits. Unique by construction over all partitions,
-- and they tell nobody how many orders there are. The key is made once, here; it must never change.
CREATE SEQUENCE order_number_seq MINVALUE 0 START 1 MAXVALUE 1099511627775;

CREATE TABLE order_number_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key      bytea   NOT NULL CHECK (length(key) = 32)
);

INSERT INTO order_number_key (key)
VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- The promise in one query: SELECT * FROM stock_ledger WHERE initial <> available + sold.
CREATE VIEW stock_ledger AS
SELECT i.product_id, i.initial, i.available, COALESCE(l.sold, 0)::bigint AS sold
FROM inventory i
LEFT JOIN (
    SELECT l.product_id, sum(l.quantity) AS sold
    FROM order_lines l
    JOIN orders o ON o.id = l.order_id
    WHERE o.status <> 'Cancelled'
    GROUP BY l.product_id
) l ON l.product_id = i.product_id;

-- +goose Down
DROP VIEW stock_ledger;
DROP TABLE order_number_key;
DROP SEQUENCE order_number_seq;
DROP TABLE order_lines;
DROP TABLE orders;
