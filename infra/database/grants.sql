-- Step two, in database orders, which belongs to orders_owner: the identities may use, not change, what that makes.
DO $$
DECLARE
    who text;
BEGIN
    FOREACH who IN ARRAY string_to_array(current_setting('orders.identities'), ',') LOOP
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), who);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', who);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', who);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE orders_owner GRANT USAGE, SELECT ON SEQUENCES TO %I', who);
    END LOOP;
END $$;
