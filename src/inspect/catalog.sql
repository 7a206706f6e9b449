-- All that is compared of one database, as one JSON document; for PostgreSQL 13 to 18.
--
-- Runs with search_path = pg_catalog, so that the names of all other types, collations and tables
-- come with their schema. Columns of the catalogs that some versions lack are read with to_jsonb,
-- which gives NULL for them.
WITH namespaces AS (
    SELECT n.oid, n.nspname
    FROM pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname !~ '^pg_(toast|temp)'
), relations AS (
    -- Partitions are read through their table; what belongs to an extension is left to it.
    SELECT c.*, n.nspname
    FROM pg_class c
    JOIN namespaces n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')
      AND NOT c.relispartition
      AND NOT EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT json_build_object(
    'version', current_setting('server_version_num')::int,
    'database', (
        SELECT json_build_object(
            'encoding', pg_encoding_to_char(d.encoding),
            'collate', d.datcollate,
            'ctype', d.datctype,
            'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
            'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
            'version', to_jsonb(d) ->> 'datcollversion')
        FROM pg_database d
        WHERE d.datname = current_database()),
    'settings', (
        -- Settings that change answers, and that queries do not pin.
        SELECT json_object_agg(s.name, current_setting(s.name, true))
        FROM unnest(ARRAY['TimeZone', 'array_nulls', 'backslash_quote', 'default_text_search_config',
                          'lc_monetary', 'lc_numeric', 'lc_time', 'timezone_abbreviations',
                          'transform_null_equals', 'xmlbinary', 'xmloption']) AS s(name)),
    'extensions', (
        SELECT coalesce(json_object_agg(e.extname, e.extversion), '{}')
        FROM pg_extension e),
    'collations', (
        SELECT coalesce(json_object_agg(co.oid::regcollation::text, json_build_object(
            'provider', co.collprovider,
            'locale', coalesce(to_jsonb(co) ->> 'colllocale', to_jsonb(co) ->> 'colliculocale', co.collcollate),
            'deterministic', co.collisdeterministic,
            'version', coalesce(pg_collation_actual_version(co.oid), co.collversion))), '{}')
        FROM pg_collation co
        WHERE co.collprovider <> 'd' AND co.oid IN (
            SELECT a.attcollation
            FROM relations r
            JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped)),
    'types', (
        SELECT coalesce(json_object_agg(format_type(t.oid, -1), json_build_object(
            'kind', t.typtype,
            'definition', CASE t.typtype
                WHEN 'e' THEN (
                    SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
                    FROM pg_enum e WHERE e.enumtypid = t.oid)
                WHEN 'd' THEN json_build_array(
                    format_type(t.typbasetype, t.typtypmod)
                    || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END)
                WHEN 'r' THEN (
                    SELECT json_build_array(format_type(g.rngsubtype, -1))
                    FROM pg_range g WHERE g.rngtypid = t.oid)
                WHEN 'c' THEN (
                    SELECT json_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                                    ORDER BY a.attnum)
                    FROM pg_attribute a
                    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
                END)), '{}')
        FROM pg_type t
        JOIN namespaces n ON n.oid = t.typnamespace
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
          AND NOT EXISTS (
              SELECT FROM pg_depend d
              WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')),
    'relations', (
        SELECT coalesce(json_agg(json_build_object(
            'schema', r.nspname,
            'name', r.relname,
            'kind', r.relkind,
            'readable', has_schema_privilege(r.relnamespace, 'USAGE') AND has_table_privilege(r.oid, 'SELECT'),
            'row_security', r.relrowsecurity,
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
            'definition', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
            'columns', (
                SELECT coalesce(json_agg(json_build_object(
                    'name', a.attname,
                    'quoted', quote_ident(a.attname),
                    'type', format_type(a.atttypid, a.atttypmod),
                    -- The type below a domain, without modifiers: what a value can be cast to.
                    'base', format_type(CASE WHEN t.typbasetype <> 0 THEN t.typbasetype ELSE a.atttypid END, -1),
                    'enum', t.typtype = 'e',
                    'not_null', a.attnotnull,
                    'generated', CASE WHEN a.attgenerated <> '' THEN (
                        SELECT pg_get_expr(f.adbin, f.adrelid)
                        FROM pg_attrdef f
                        WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum) END,
                    'collation', CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation::text END)
                    ORDER BY a.attnum), '[]')
                FROM pg_attribute a
                JOIN pg_type t ON t.oid = a.atttypid
                WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped),
            'keys', (
                -- The primary key first.
                SELECT coalesce(json_agg(k.columns ORDER BY k.indisprimary DESC, k.columns::text), '[]')
                FROM (
                    SELECT i.indisprimary, (
                        SELECT json_agg(a.attname ORDER BY u.place)
                        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(attnum, place)
                        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
                        WHERE u.place <= i.indnkeyatts) AS columns
                    FROM pg_index i
                    WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid
                      AND i.indpred IS NULL AND i.indexprs IS NULL) k),
            'has_primary_key', EXISTS (
                SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary),
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
                WHERE o.conrelid = r.oid AND o.contype = 'f'))
            ORDER BY r.nspname, r.relname), '[]')
        FROM relations r)
)::text
