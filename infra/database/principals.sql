-- Step one, in database postgres: a role for each identity that the service runs as, with the limits that it must carry.
-- Run as the server's Entra administrator, as often as you like. orders.identities is a list with commas.
DO $$
DECLARE
    who text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orders_owner') THEN
        CREATE ROLE orders_owner NOLOGIN;
    END IF;
    EXECUTE format('GRANT orders_owner TO %I', current_user);
    FOREACH who IN ARRAY string_to_array(current_setting('orders.identities'), ',') LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = who) THEN
            PERFORM pgaadauth_create_principal(who, false, false);
        END IF;
        -- What the owner may do, such as dropping a table, is not what a request may do: only SET ROLE gets there, and
        -- migrations are all that says it (options=-c role=orders_owner in MIGRATIONS_DATABASE_URL).
        EXECUTE format('ALTER ROLE %I NOINHERIT', who);
        EXECUTE format('GRANT orders_owner TO %I', who);
        -- As settings of the role they hold through PgBouncer too.
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', who, '5s');
        EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', who, '2s');
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', who, '10s');
        EXECUTE format('ALTER ROLE %I SET jit = off', who);
    END LOOP;
END $$;
