-- +goose Up

-- What is sold. Rarely written, read all day; nothing here changes when an order is placed, so the wide rows,
-- their text and their search index stay out of the order path.
CREATE TABLE products (
    id          uuid        PRIMARY KEY,
    sku         text        NOT NULL UNIQUE CHECK (sku <> '' AND length(sku) <= 64),
    name        text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    description text        NOT NULL DEFAULT '' CHECK (length(description) <= 4000),
    category    text        NOT NULL CHECK (category <> '' AND length(category) <= 80),
    price_minor bigint      NOT NULL CHECK (price_minor >= 0),
    currency    char(3)     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    search      tsvector    NOT NULL GENERATED ALWAYS AS (
                    setweight(to_tsvector('english', name), 'A') ||
                    setweight(to_tsvector('english', category), 'B') ||
                    setweight(to_tsvector('simple', sku), 'B') ||
                    setweight(to_tsvector('english', description), 'C')) STORED,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_products_name ON products (name, id);
CREATE INDEX idx_products_category_name ON products (category, name, id);
CREATE INDEX idx_products_search ON products USING gin (search);

-- How many units there are. Its own narrow table: the hot row of Black Friday. No index but the key and room on
-- each page (fillfactor), so that every update is a heap-only tuple and the index never grows with sales.
--
-- initial counts every unit ever put in (opening stock plus adjustments), so that at every commit
-- initial = available + units on orders that are not cancelled (view stock_ledger).
--
-- sequence is the product's one counter: it moves with every change of what a reader sees (price, text,
-- availability) and under this row's lock only, so it numbers the product's events and versions its cache entry.
CREATE TABLE inventory (
    product_id uuid   PRIMARY KEY REFERENCES products (id),
    initial    bigint NOT NULL CHECK (initial >= 0),
    available  bigint NOT NULL CHECK (available >= 0),
    sequence   bigint NOT NULL DEFAULT 1 CHECK (sequence > 0),
    CHECK (available <= initial)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- +goose Down
DROP TABLE inventory;
DROP TABLE products;
