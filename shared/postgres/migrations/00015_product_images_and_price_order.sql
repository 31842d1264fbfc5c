-- +goose Up

-- Where pictures of a product are: absolute URLs, the first one the main one. The service never fetches them.
ALTER TABLE products ADD COLUMN images text[] NOT NULL DEFAULT '{}' CHECK (cardinality(images) <= 20);

-- Lists by price, in both directions. Amounts of two currencies can't be compared, so the currency comes first.
CREATE INDEX idx_products_price ON products (currency, price_minor, id);

-- +goose Down
DROP INDEX idx_products_price;
ALTER TABLE products DROP COLUMN images;
