-- +goose Up

-- A UUIDv7 of this moment. Its order within a millisecond is by chance.
-- +goose StatementBegin
CREATE FUNCTION uuidv7_now() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT overlay(uuidv7_floor(clock_timestamp())::text PLACING '7' || substr(gen_random_uuid()::text, 16) FROM 15)::uuid
$$;
-- +goose StatementEnd

-- Who did what, to what, when: one row in the transaction of each act, so that there is none without its act and no
-- act without one. Partitioned by the month of the id, like orders.
-- issuer and subject are the token's; issuer is the alias, '' the issuer without one, 'command' somebody at a shell.
CREATE TABLE audit_log (
    id      uuid        NOT NULL DEFAULT uuidv7_now() PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    issuer  text        NOT NULL,
    subject text        NOT NULL CHECK (subject <> ''),
    action  text        NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    target  text        NOT NULL CHECK (target <> ''),
    request text        NOT NULL DEFAULT '',
    trace   text        CHECK (trace ~ '^[0-9a-f]{32}$'),
    details jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
) PARTITION BY RANGE (id);

CREATE INDEX idx_audit_log_subject ON audit_log (subject, id);
CREATE INDEX idx_audit_log_target ON audit_log (target, id);
CREATE INDEX idx_audit_log_action ON audit_log (action, id);

-- Nobody changes it, its owner included. The trigger is on every partition as well, as ATTACH copies it.
-- +goose StatementBegin
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- Takes rights on a table of the log from everybody but its owner: what default privileges gave the role that serves
-- requests is more than it needs. Of a partition it needs none, since the parent's count.
-- +goose StatementBegin
CREATE FUNCTION revoke_audit_rights(target text, rights text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN
        SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = target::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE %s ON %I FROM %s', rights, target,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END);
    END LOOP;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION revoke_audit_rights(text, text) FROM PUBLIC;
SELECT revoke_audit_rights('audit_log', 'UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');

-- As in 00011, and what this table wants.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION storage_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE parent
        WHEN 'outbox' THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
        WHEN 'orders' THEN 'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05'
        WHEN 'order_lines' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'feed' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_events' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_attempts' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_deliveries' THEN 'fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
        -- Written once, never changed.
        WHEN 'audit_log' THEN 'autovacuum_freeze_min_age = 0'
    END
$$;
-- +goose StatementEnd

-- Keeps partitions for this month and the next two. Its clock is the server's alone: who calls it can't make it act
-- as of another day.
-- +goose StatementBegin
CREATE FUNCTION ensure_audit_partitions() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    start timestamptz;
    child text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 7) THEN
        RETURN;
    END IF;
    FOR start IN SELECT generate_series(date_trunc('month', now() - interval '1 day'), date_trunc('month', now()) + interval '2 months', '1 month') LOOP
        child := to_char(start, 'YYYYMM');
        IF ensure_partition('audit_log', start, start + interval '1 month', child) THEN
            PERFORM revoke_audit_rights('audit_log_' || child, 'ALL');
            RETURN NEXT 'audit_log_' || child;
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Drops at most one month that ended more than 400 days ago, and names it. How long is said here and not by the
-- caller: else whoever may call it could shorten the log.
-- +goose StatementBegin
CREATE FUNCTION drop_audit_history() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET lock_timeout = '50ms'
SET timezone = 'UTC'
AS $$
DECLARE
    child text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7071, 8) THEN
        RETURN;
    END IF;
    SELECT c.relname INTO child FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'audit_log'::regclass AND c.relname ~ '^audit_log_[0-9]{6}$'
      AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' < now() - interval '400 days'
    ORDER BY c.relname LIMIT 1;
    IF child IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I', child);
        RETURN NEXT child;
    END IF;
END
$$;
-- +goose StatementEnd

SELECT ensure_audit_partitions();

-- +goose Down
DROP FUNCTION drop_audit_history();
DROP FUNCTION ensure_audit_partitions();
DROP TABLE audit_log;
DROP FUNCTION revoke_audit_rights(text, text);
DROP FUNCTION refuse_audit_change();
DROP FUNCTION uuidv7_now();
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION storage_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT CASE parent
        WHEN 'outbox' THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
        WHEN 'orders' THEN 'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05'
        WHEN 'order_lines' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'feed' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_events' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_attempts' THEN 'autovacuum_freeze_min_age = 0'
        WHEN 'webhook_deliveries' THEN 'fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0'
    END
$$;
-- +goose StatementEnd
