-- What tells one database from all others, as an expression of a larger query.
json_build_object(
    -- As a query of its own: the right to a function is asked about where it is named, whether or not
    -- it is called.
    'system', CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') THEN substring(
        query_to_xml('SELECT system_identifier FROM pg_catalog.pg_control_system()',
                     false, false, '')::text
        FROM '<system_identifier>([0-9]+)<') END,
    'database', (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database()),
    'started', extract(epoch FROM pg_postmaster_start_time())::text,
    'in_recovery', pg_is_in_recovery())
