-- +goose Up

-- How tables are stored and vacuumed, and why each value. `LIKE ... INCLUDING ALL` copies no storage parameters and a
-- partitioned table can have none, so what makes partitions asks here. docs/performance.md has the measurements.
--
-- Vacuum's default is to wait until a fifth of a table is dead: hours of a day's events. 5 % is above the 2 % of pages
-- below which it leaves the indexes alone, and the dead entries in the indexes are what the queues' readers stumble over.
-- freeze_min_age 0 where rows are never changed: vacuum then visits each page once in its life.
-- +goose StatementBegin
CREATE FUNCTION storage_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE parent
        -- Each row is changed once, when it is sent. It can't be a heap-only update: the index that the row leaves has
        -- processed_at in its condition. On a half-empty page the new version lies beside the old one, and then the log
        -- holds only the bytes that differ instead of the whole event.
        WHEN 'outbox' THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
        -- Each order is changed once or twice, and never as a heap-only update: idx_orders_status has status in its
        -- condition. Vacuum's room for new orders is worth more than room beside each row for ever.
        WHEN 'orders' THEN 'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05'
        WHEN 'order_lines' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'feed' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_events' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_attempts' THEN 'autovacuum_freeze_min_age = 0'
        -- Leased, then decided: a lease changes no indexed column and stays on its page where there is room.
        WHEN 'webhook_deliveries' THEN 'fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
    END
$$;
-- +goose StatementEnd

-- As before, and the new table gets its parent's settings.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_partition(parent text, from_ts timestamptz, to_ts timestamptz, suffix text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    child text := parent || '_' || suffix;
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
    EXECUTE format('ALTER TABLE %I SET (%s)', child, storage_settings(parent));
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, uuidv7_floor(from_ts), uuidv7_floor(to_ts));
    RETURN true;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_feed_partitions() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
AS $$
DECLARE
    size CONSTANT bigint := 1000000;
    n bigint;
    child text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 4) THEN
        RETURN;
    END IF;
    FOR n IN SELECT generate_series(last / size, last / size + 9) FROM feed_counter LOOP
        child := 'feed_' || lpad(n::text, 6, '0');
        CONTINUE WHEN to_regclass(child) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE feed INCLUDING ALL)', child);
        EXECUTE format('ALTER TABLE %I SET (%s)', child, storage_settings('feed'));
        EXECUTE format('ALTER TABLE feed ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', child, n * size, (n + 1) * size);
        RETURN NEXT child;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- What exists already. The lock lets orders go on; the pages that are there stay as they are.
-- +goose StatementBegin
DO $$
DECLARE
    child regclass;
    parent text;
BEGIN
    FOR child, parent IN
        SELECT i.inhrelid::regclass, p.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.relkind = 'p' AND p.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s SET (%s)', child, storage_settings(parent));
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Emptied and filled all day: vacuum is not to give the empty end back under a lock that every mark would wait for.
ALTER TABLE outbox_sent SET (vacuum_truncate = off);

-- A day's keys leave by DELETE, the oldest first: what they leave is to be filled again.
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.05, vacuum_truncate = off);

-- A new quantity changes no indexed column; a touched cart does (idx_carts_updated), and leaves an entry behind.
ALTER TABLE cart_items SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE carts SET (autovacuum_vacuum_scale_factor = 0.05);

-- A queued order's row changes once and goes after a day.
ALTER TABLE order_requests SET (autovacuum_vacuum_scale_factor = 0.05);

-- +goose Down
ALTER TABLE order_requests RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE carts RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE cart_items RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE idempotency_keys RESET (vacuum_truncate);
ALTER TABLE outbox_sent RESET (vacuum_truncate);
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.02);

-- +goose StatementBegin
DO $$
DECLARE
    child regclass;
BEGIN
    FOR child IN
        SELECT i.inhrelid::regclass FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.relkind = 'p' AND p.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay,
                                              autovacuum_analyze_scale_factor, autovacuum_freeze_min_age)', child);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_feed_partitions() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
AS $$
DECLARE
    size CONSTANT bigint := 1000000;
    n bigint;
    child text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 4) THEN
        RETURN;
    END IF;
    FOR n IN SELECT generate_series(last / size, last / size + 9) FROM feed_counter LOOP
        child := 'feed_' || lpad(n::text, 6, '0');
        CONTINUE WHEN to_regclass(child) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE feed INCLUDING ALL)', child);
        EXECUTE format('ALTER TABLE feed ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', child, n * size, (n + 1) * size);
        RETURN NEXT child;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_partition(parent text, from_ts timestamptz, to_ts timestamptz, suffix text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    child text := parent || '_' || suffix;
BEGIN
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, uuidv7_floor(from_ts), uuidv7_floor(to_ts));
    RETURN true;
END
$$;
-- +goose StatementEnd

DROP FUNCTION storage_settings(text);
