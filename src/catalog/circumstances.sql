-- What one database does around a query of the connected role at this moment, as one JSON document; for
-- PostgreSQL 13 to 18. What changes with the catalogs alone is in rights.sql.
--
-- Runs in the session of a query, after its pinned settings, with search_path = pg_catalog.
WITH stored AS (
    -- Settings without a definition, which pg_settings does not show: those of role and database
    -- before those of the role, then of the database, then of all.
    SELECT DISTINCT ON (s.name) s.name, s.value
    FROM (
        SELECT lower(split_part(c, '=', 1)) AS name, substr(c, strpos(c, '=') + 1) AS value,
               s.setrole <> 0 AS of_role, s.setdatabase <> 0 AS of_database
        FROM pg_db_role_setting s, unnest(s.setconfig) AS c
        WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
          AND s.setrole IN (0, (SELECT u.oid FROM pg_roles u WHERE u.rolname = session_user))) s
    WHERE strpos(s.name, '.') > 0
    ORDER BY s.name, s.of_role DESC, s.of_database DESC
), configured AS MATERIALIZED (
    SELECT lower(s.name) AS name, s.setting, s.context FROM pg_settings s
)
SELECT json_build_object(
    'identity', {identity},
    'role', current_user,
    'session_role', session_user,
    'settings', (SELECT json_object_agg(s.name, s.setting) FROM configured s),
    -- Those that a session may have other than its server.
    'session_settings', (
        SELECT json_agg(s.name) FROM configured s WHERE s.context IN ('user', 'superuser')),
    'stored', (SELECT coalesce(json_object_agg(s.name, s.value), '{}') FROM stored s),
    'asked', (
        SELECT coalesce(json_object_agg(a.name, current_setting(a.name, true)), '{}')
        FROM (SELECT DISTINCT lower(name) AS name FROM unnest({names}::text[]) AS name) a),
    -- What ANALYZE and what the counters of changes say, where both are recorded; neither is sure alone.
    'sizes', (
        SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname, c.reltuples::float8,
            CASE WHEN c.relkind = 'r' THEN pg_stat_get_live_tuples(c.oid) END)), '[]')
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.reltuples > 0
          AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND n.nspname !~ '^pg_(toast|temp)')
)::text
