-- +goose Up

-- Events whose aggregate is parked: the broker refused one of them for what it is, and the aggregate's later ones
-- wait behind it, so that nobody hears them out of order. They leave outbox, whose days can then be dropped.
-- released_at: an operator let them go; the drain sends them before anything newer of the aggregate.
-- sent_at: the broker has them; the row goes when the feed has numbered it.
CREATE TABLE outbox_parked (
    id             uuid        PRIMARY KEY,
    shard          smallint    NOT NULL CHECK (shard >= 0),
    aggregate_type text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    type           text        NOT NULL,
    payload        bytea       NOT NULL,
    traceparent    text,
    occurred_at    timestamptz NOT NULL,
    reason         text        NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT now(),
    released_at    timestamptz,
    sent_at        timestamptz
);

CREATE INDEX idx_outbox_parked_waiting ON outbox_parked (shard, aggregate_id, sequence) WHERE sent_at IS NULL;
CREATE INDEX idx_outbox_parked_sent ON outbox_parked (id) WHERE sent_at IS NOT NULL;

-- Sent events that the feed has not numbered yet. Filled in the transaction that marks them, emptied by the one
-- that numbers them, in the key's order, which keeps each aggregate's. Nearly always empty.
CREATE TABLE outbox_sent (
    aggregate_id uuid   NOT NULL,
    sequence     bigint NOT NULL,
    id           uuid   NOT NULL,
    PRIMARY KEY (aggregate_id, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What GET /events reads: every event once, numbered so that whoever has seen number N has seen every number
-- below it. Numbers grow with gaps allowed. Its own table, and not a column of outbox, as it outlives it.
CREATE TABLE feed (
    number       bigint      NOT NULL PRIMARY KEY,
    id           uuid        NOT NULL,
    type         text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    payload      bytea       NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (number);

-- The last number given. Its row lock is what keeps a smaller number from becoming visible after a larger one.
CREATE TABLE feed_counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last     bigint  NOT NULL CHECK (last >= 0)
);

INSERT INTO feed_counter (last) VALUES (0);

-- Keeps ten million numbers of partitions ahead of the counter, a million each. One row per partition made.
-- +goose StatementBegin
CREATE FUNCTION ensure_feed_partitions() RETURNS SETOF text
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

-- Drops at most one partition that is done with, and names it: a day of outbox that is two days old and holds
-- nothing unsent or unnumbered, or a million of the feed whose newest event is older than feed_age.
--
-- "Done" is decided twice: cheaply without a lock, then again under the lock that no late writer can pass, in a
-- new statement, since the first count can't see what a writer committed meanwhile.
-- +goose StatementBegin
CREATE FUNCTION drop_published(feed_age interval DEFAULT '30 days') RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    child text;
    busy boolean;
    newest timestamptz;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 1) THEN
        RETURN;
    END IF;
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'outbox'::regclass AND c.relname ~ '^outbox_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - 2
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %1$I WHERE processed_at IS NULL)
                            OR EXISTS (SELECT FROM outbox_sent s JOIN %1$I o USING (id))', child) INTO busy;
        CONTINUE WHEN busy;
        LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM %1$I WHERE processed_at IS NULL)
                            OR EXISTS (SELECT FROM outbox_sent s JOIN %1$I o USING (id))', child) INTO busy;
        CONTINUE WHEN busy;
        EXECUTE format('DROP TABLE %I', child);
        RETURN NEXT child;
        RETURN;
    END LOOP;
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'feed'::regclass AND c.relname ~ '^feed_[0-9]+$'
          AND right(c.relname, 6)::bigint < (SELECT last / 1000000 FROM feed_counter)
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT published_at FROM %I ORDER BY number DESC LIMIT 1', child) INTO newest;
        EXIT WHEN newest > now() - feed_age;
        LOCK TABLE feed IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('DROP TABLE %I', child);
        RETURN NEXT child;
        RETURN;
    END LOOP;
END
$$;
-- +goose StatementEnd

SELECT ensure_feed_partitions();

-- +goose Down
DROP FUNCTION drop_published(interval);
DROP FUNCTION ensure_feed_partitions();
DROP TABLE feed_counter;
DROP TABLE feed;
DROP TABLE outbox_sent;
DROP TABLE outbox_parked;
