-- What only the inspection asks of one database, as one JSON document; for PostgreSQL 13 to 18.
--
-- Runs with search_path = pg_catalog. The catalog's facts, which this adds to, are in
-- src/catalog/facts.sql.
WITH relations AS (
    -- What belongs to an extension is left to it, and partitions are read through their table.
    SELECT c.*, n.nspname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')
      AND NOT c.relispartition
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT json_build_object(
    'identity', {identity},
    'settings', (
        -- Settings that change answers, and that queries do not pin.
        SELECT json_object_agg(s.name, current_setting(s.name, true))
        FROM unnest(ARRAY['TimeZone', 'array_nulls', 'backslash_quote', 'default_text_search_config',
                          'lc_monetary', 'lc_numeric', 'lc_time', 'timezone_abbreviations',
                          'transform_null_equals', 'xmlbinary', 'xmloption']) AS s(name)),
    'extensions', (
        SELECT coalesce(json_object_agg(e.extname, e.extversion), '{}')
        FROM pg_extension e),
    'relations', (
        SELECT coalesce(json_object_agg(s.nspname, s.relations), '{}')
        FROM (
            SELECT r.nspname, json_object_agg(r.relname, json_build_object(
                'readable', coalesce(
                    has_schema_privilege(r.relnamespace, 'USAGE') AND has_table_privilege(r.oid, 'SELECT'), false),
                'hides_rows', row_security_active(r.oid),
                'policies', (
                    SELECT coalesce(json_agg(
                        p.polname || CASE WHEN p.polpermissive THEN '' ELSE ' (restrictive)' END
                        || ' for ' || (
                            SELECT string_agg(CASE u.role WHEN 0 THEN 'public' ELSE pg_get_userbyid(u.role) END,
                                              ', ' ORDER BY u.role <> 0, pg_get_userbyid(u.role))
                            FROM unnest(p.polroles) AS u(role))
                        || ' using ' || coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') ORDER BY p.polname), '[]')
                    FROM pg_policy p
                    -- Those for reading.
                    WHERE p.polrelid = r.oid AND p.polcmd IN ('r', '*')),
                -- A table that was never analyzed says -1, before PostgreSQL 14 it says 0.
                'estimate', CASE r.relkind
                    WHEN 'v' THEN 0
                    WHEN 'p' THEN (
                        SELECT coalesce(sum(CASE WHEN l.reltuples > 0 THEN l.reltuples::float8
                                                 ELSE pg_relation_size(l.oid) / 64.0 END), 0)
                        FROM pg_partition_tree(r.oid) p
                        JOIN pg_class l ON l.oid = p.relid
                        WHERE p.isleaf)
                    ELSE CASE WHEN r.reltuples > 0 THEN r.reltuples::float8
                              ELSE coalesce(pg_relation_size(r.oid), 0) / 64.0 END
                    END,
                'foreign_keys', (
                    SELECT coalesce(json_agg(json_build_object(
                        'column', a.attname,
                        'schema', fn.nspname,
                        'table', fc.relname,
                        'target', fa.attname) ORDER BY a.attname, fn.nspname, fc.relname, fa.attname), '[]')
                    FROM pg_constraint o
                    JOIN pg_class fc ON fc.oid = o.confrelid
                    JOIN pg_namespace fn ON fn.oid = fc.relnamespace
                    CROSS JOIN unnest(o.conkey, o.confkey) AS u(attnum, target)
                    JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = u.attnum
                    JOIN pg_attribute fa ON fa.attrelid = o.confrelid AND fa.attnum = u.target
                    -- What a constraint does not hold to is no evidence.
                    WHERE o.conrelid = r.oid AND o.contype = 'f' AND o.convalidated
                      AND coalesce((to_jsonb(o) ->> 'conenforced')::bool, true)))) AS relations
            FROM relations r
            GROUP BY r.nspname) s)
)::text
