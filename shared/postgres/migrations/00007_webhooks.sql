-- +goose Up

-- Where deliveries go. A deleted endpoint stays as a row without secrets, so that what is pending for it can be
-- ended in small batches, and what was delivered keeps its name.
-- version is raised by every change of url, secret or status: an attempt's verdict counts only for the version that
-- was attempted, so an old URL's failure can't disable the new one. It also numbers the endpoint's own events.
-- secret and previous_secret are sealed under a key that the database doesn't have.
CREATE TABLE webhook_endpoints (
    id                   uuid        PRIMARY KEY,
    owner_key            uuid        NOT NULL,
    owner                text        NOT NULL,
    url                  text        NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    events               text[]      NOT NULL CHECK (cardinality(events) BETWEEN 1 AND 50),
    description          text        NOT NULL DEFAULT '' CHECK (length(description) <= 500),
    customer_id          text        CHECK (customer_id <> ''),
    signature            text        NOT NULL CHECK (signature IN ('hmac', 'ed25519')),
    secret               bytea,
    public_key           text,
    previous_secret      bytea,
    previous_expires_at  timestamptz,
    status               text        NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'disabled', 'deleted')),
    disabled_reason      text,
    version              bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    -- The circuit. paused_until: no attempt before it. probe_at: a disabled endpoint is asked again then; null when
    -- only a person may enable it.
    consecutive_failures integer     NOT NULL DEFAULT 0 CHECK (consecutive_failures >= 0),
    failing_since        timestamptz,
    paused_until         timestamptz,
    probe_at             timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    CHECK ((secret IS NULL) = (status = 'deleted')),
    CHECK ((previous_secret IS NULL) = (previous_expires_at IS NULL)),
    CHECK ((failing_since IS NULL) = (consecutive_failures = 0)),
    CHECK (probe_at IS NULL OR status = 'disabled')
);

CREATE INDEX idx_webhook_endpoints_owner ON webhook_endpoints (owner_key, id) WHERE status <> 'deleted';
CREATE INDEX idx_webhook_endpoints_probe ON webhook_endpoints (probe_at) WHERE probe_at IS NOT NULL;

-- The events that somebody is to hear of, byte for byte as they were published: each attempt sends these bytes.
-- This table and the next two are partitioned by the week of the event's id (UUIDv7), so that they leave by DROP.
CREATE TABLE webhook_events (
    event_id     uuid        NOT NULL PRIMARY KEY,
    type         text        NOT NULL,
    aggregate_id uuid        NOT NULL,
    customer_id  text,
    payload      bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (event_id);

-- One event for one endpoint: queue, schedule and state in one row. Its key is the pair, as a unique key must hold
-- the column that partitions: a redelivered event meets its row and adds none.
-- lease and leased_until: who is attempting it, until when; a verdict counts only under its own lease.
-- attempts_before: attempts of earlier rounds. A replay starts the schedule again and goes on counting.
CREATE TABLE webhook_deliveries (
    event_id        uuid        NOT NULL,
    endpoint_id     uuid        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'succeeded', 'dead')),
    reason          text,
    attempts        integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempts_before integer     NOT NULL DEFAULT 0 CHECK (attempts_before BETWEEN 0 AND attempts),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease           uuid,
    leased_until    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, endpoint_id),
    CHECK ((lease IS NULL) = (leased_until IS NULL)),
    CHECK (lease IS NULL OR status = 'pending')
) PARTITION BY RANGE (event_id);

-- The queue of an endpoint, the pages of its history, and what it never got.
CREATE INDEX idx_webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX idx_webhook_deliveries_list ON webhook_deliveries (endpoint_id, event_id);
CREATE INDEX idx_webhook_deliveries_dead ON webhook_deliveries (endpoint_id, event_id) WHERE status = 'dead';

-- What each attempt met.
CREATE TABLE webhook_attempts (
    event_id         uuid        NOT NULL,
    endpoint_id      uuid        NOT NULL,
    n                integer     NOT NULL CHECK (n > 0),
    at               timestamptz NOT NULL,
    status           smallint,
    latency_ms       integer     NOT NULL CHECK (latency_ms >= 0),
    error            text,
    response_excerpt text,
    PRIMARY KEY (event_id, endpoint_id, n)
) PARTITION BY RANGE (event_id);

-- A replay of many deliveries, worked off in small steps: events from after_id (excluded) to to_id. It is a row, so
-- that a process that dies in the middle leaves the rest to the next one.
CREATE TABLE webhook_replays (
    id          uuid        PRIMARY KEY,
    endpoint_id uuid        NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    only_dead   boolean     NOT NULL,
    after_id    uuid        NOT NULL,
    to_id       uuid        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- A replay of a range finds what an endpoint never heard of in the feed, by the time in the id.
CREATE INDEX idx_feed_id ON feed (id);

-- Keeps partitions for the events of the last 31 days (a replay may bring any of them back) and two weeks ahead.
-- One row per partition made.
-- +goose StatementBegin
CREATE FUNCTION ensure_webhook_partitions(at timestamptz DEFAULT now()) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    start timestamptz;
    parent text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 6) THEN
        RETURN;
    END IF;
    FOREACH parent IN ARRAY ARRAY['webhook_events', 'webhook_deliveries', 'webhook_attempts'] LOOP
        FOR start IN SELECT generate_series(date_trunc('week', at - interval '31 days'), date_trunc('week', at) + interval '2 weeks', '1 week') LOOP
            IF ensure_partition(parent, start, start + interval '1 week', to_char(start, 'YYYYMMDD')) THEN
                RETURN NEXT parent || '_' || to_char(start, 'YYYYMMDD');
            END IF;
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Drops at most one week that ended more than 31 days ago and in which nothing is pending, and names its tables.
-- Pending is counted twice, the second time under the lock that no late writer can pass. Deleted endpoints go once
-- nothing can refer to them any more.
-- +goose StatementBegin
CREATE FUNCTION drop_webhook_history(at timestamptz DEFAULT now()) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    week text;
    parent text;
    busy boolean;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 6) THEN
        RETURN;
    END IF;
    DELETE FROM webhook_endpoints WHERE status = 'deleted' AND updated_at < at - interval '60 days';
    FOR week IN
        SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'webhook_deliveries'::regclass AND c.relname ~ '^webhook_deliveries_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') + interval '1 week' < at - interval '31 days'
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status = ''pending'')', 'webhook_deliveries_' || week) INTO busy;
        CONTINUE WHEN busy;
        LOCK TABLE webhook_events, webhook_deliveries, webhook_attempts IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status = ''pending'')', 'webhook_deliveries_' || week) INTO busy;
        CONTINUE WHEN busy;
        FOREACH parent IN ARRAY ARRAY['webhook_events', 'webhook_deliveries', 'webhook_attempts'] LOOP
            EXECUTE format('DROP TABLE %I', parent || '_' || week);
            RETURN NEXT parent || '_' || week;
        END LOOP;
        RETURN;
    END LOOP;
END
$$;
-- +goose StatementEnd

SELECT ensure_webhook_partitions();

-- +goose Down
DROP FUNCTION drop_webhook_history(timestamptz);
DROP FUNCTION ensure_webhook_partitions(timestamptz);
DROP INDEX idx_feed_id;
DROP TABLE webhook_replays;
DROP TABLE webhook_attempts;
DROP TABLE webhook_deliveries;
DROP TABLE webhook_events;
DROP TABLE webhook_endpoints;
