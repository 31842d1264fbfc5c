-- +goose Up

-- The smallest UUID whose UUIDv7 timestamp is ts: the bound between two partitions.
-- +goose StatementBegin
CREATE FUNCTION uuidv7_floor(ts timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT (lpad(to_hex((extract(epoch FROM ts) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;
-- +goose StatementEnd

-- Makes the partition of parent for [from_ts, to_ts) when it is missing. The table is made alone and then
-- attached: ATTACH takes SHARE UPDATE EXCLUSIVE on the parent, which inserts and reads don't notice, where
-- CREATE TABLE ... PARTITION OF would queue every order behind it.
-- +goose StatementBegin
CREATE FUNCTION ensure_partition(parent text, from_ts timestamptz, to_ts timestamptz, suffix text) RETURNS boolean
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

-- Keeps partitions ahead of the clock: outbox by day for eight days, orders and their lines by month for three.
-- One row per partition made. SECURITY DEFINER, so that the role that serves requests needs no right to create
-- tables. The caller's role gives up after 50 ms on a lock rather than let orders queue behind it, and the
-- next housekeeping run tries again: there are days of room.
-- +goose StatementBegin
CREATE FUNCTION ensure_partitions(at timestamptz DEFAULT now()) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    start timestamptz;
    parent text;
BEGIN
    -- One at a time; who comes second has nothing to do.
    IF NOT pg_try_advisory_xact_lock(7071, 1) THEN
        RETURN;
    END IF;
    FOR start IN SELECT generate_series(date_trunc('day', at) - interval '1 day', date_trunc('day', at) + interval '7 days', '1 day') LOOP
        IF ensure_partition('outbox', start, start + interval '1 day', to_char(start, 'YYYYMMDD')) THEN
            RETURN NEXT 'outbox_' || to_char(start, 'YYYYMMDD');
        END IF;
    END LOOP;
    FOREACH parent IN ARRAY ARRAY['orders', 'order_lines'] LOOP
        FOR start IN SELECT generate_series(date_trunc('month', at - interval '1 day'), date_trunc('month', at) + interval '2 months', '1 month') LOOP
            IF ensure_partition(parent, start, start + interval '1 month', to_char(start, 'YYYYMM')) THEN
                RETURN NEXT parent || '_' || to_char(start, 'YYYYMM');
            END IF;
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION ensure_partition(text, timestamptz, timestamptz, text) FROM PUBLIC;

SELECT ensure_partitions();

-- +goose Down
DROP FUNCTION ensure_partitions(timestamptz);
DROP FUNCTION ensure_partition(text, timestamptz, timestamptz, text);
DROP FUNCTION uuidv7_floor(timestamptz);
