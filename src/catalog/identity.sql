-- What tells one database from all others, as an expression of a larger query, whatever its search path.
pg_catalog.json_build_object(
    -- As a query of its own: the right to a function is asked about where it is named, whether or not
    -- it is called.
    'system', CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
        THEN substring(
            pg_catalog.query_to_xml('SELECT system_identifier FROM pg_catalog.pg_control_system()',
                                    false, false, '')::pg_catalog.text
            FROM '<system_identifier>([0-9]+)<') END,
    'database', (SELECT d.oid::pg_catalog.text FROM pg_catalog.pg_database d
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),
    'started', extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text,
    'in_recovery', pg_catalog.pg_is_in_recovery())
