-- What the connected role may read in one database, and what PostgreSQL adds to its queries, as one JSON
-- document; for PostgreSQL 13 to 18.
--
-- Runs with search_path = pg_catalog, so that expressions come with the schema of every name. Takes no locks
-- on tables. What it reads of catalogs is in fingerprint.sql, but for what is of the moment: see
-- circumstances.sql.
WITH me AS (
    SELECT u.oid FROM pg_roles u WHERE u.rolname = current_user
), relations AS (
    SELECT c.*, n.nspname
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname !~ '^pg_(toast|temp)'
), members AS (
    -- What belongs to an extension.
    SELECT d.classid, d.objid
    FROM pg_depend d
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), policies AS (
    -- Those for SELECT of the roles that the connected one has the privileges of: see
    -- check_role_for_policy in src/backend/rewrite/rowsecurity.c.
    SELECT p.*, pg_get_expr(p.polqual, p.polrelid) AS expression
    FROM pg_policy p
    WHERE p.polcmd IN ('r', '*')
      AND row_security_active(p.polrelid)
      AND (0 = ANY (p.polroles)
           OR EXISTS (SELECT FROM unnest(p.polroles) AS role WHERE pg_has_role(role, 'USAGE')))
), calls AS (
    -- What policies call that neither PostgreSQL has, whose objects no dependency is noted on, nor
    -- an extension brings as IMMUTABLE.
    SELECT d.objid, pg_describe_object(d.refclassid, d.refobjid, 0) AS name
    FROM pg_depend d
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
    LEFT JOIN pg_proc f ON f.oid = CASE d.refclassid
        WHEN 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode END
    LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
    WHERE d.classid = 'pg_policy'::regclass
      AND (f.oid IS NOT NULL OR t.typtype = 'd')
      AND NOT (f.provolatile IS NOT DISTINCT FROM 'i' AND EXISTS (
          SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = f.oid))
), views AS (
    -- As whom a view reads, and what: see RelationBuildRuleLock in
    -- src/backend/utils/cache/relcache.c.
    SELECT v.oid, u.oid AS role, u.rolname, u.rolsuper OR u.rolbypassrls AS bypasses
    FROM relations v
    CROSS JOIN me
    JOIN pg_roles u ON u.oid = CASE WHEN coalesce((
            SELECT o.option_value::bool
            FROM pg_options_to_table(v.reloptions) o
            WHERE o.option_name = 'security_invoker'), false)
        THEN me.oid ELSE v.relowner END
    WHERE v.relkind = 'v'
), reads AS (
    SELECT v.oid, json_agg(json_build_object(
        'schema', r.nspname,
        'name', r.relname,
        -- NULL of a table that has just been dropped.
        'readable', coalesce(has_table_privilege(v.role, r.oid, 'SELECT'), false),
        -- As check_enable_rls has it for a role that is not the connected one
        -- (src/backend/utils/misc/rls.c).
        'row_security', r.relrowsecurity AND NOT v.bypasses
            AND (r.relforcerowsecurity OR NOT pg_has_role(v.role, r.relowner, 'USAGE')))
        ORDER BY r.nspname, r.relname) AS reads
    FROM views v
    JOIN pg_rewrite w ON w.ev_class = v.oid AND w.ev_type = '1'
    JOIN relations r ON r.oid <> v.oid AND r.oid IN (
        SELECT d.refobjid
        FROM pg_depend d
        WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
          AND d.refclassid = 'pg_class'::regclass)
    GROUP BY v.oid
), references_of AS (
    -- Where each row names one of another table.
    SELECT o.conrelid, json_agg(DISTINCT jsonb_build_array(n.nspname, c.relname)) AS targets
    FROM pg_constraint o
    JOIN pg_class c ON c.oid = o.confrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE o.contype = 'f' AND o.convalidated AND NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = o.conrelid AND a.attnum = ANY (o.conkey) AND NOT a.attnotnull)
    GROUP BY o.conrelid
)
SELECT json_build_object(
    -- Settings without a definition that policies ask about.
    'asked', (
        SELECT coalesce(json_agg(DISTINCT lower(m[1])), '[]')
        FROM policies p,
            regexp_matches(p.expression, 'current_setting\(''([^'']+\.[^'']+)''', 'g') AS m),
    'extensions', (SELECT coalesce(json_agg(e.extname), '[]') FROM pg_extension e),
    'relations', (
        SELECT coalesce(json_agg(json_build_object(
            'schema', r.nspname,
            'name', r.relname,
            'readable', coalesce(has_schema_privilege(r.relnamespace, 'USAGE')
                AND has_table_privilege(r.oid, 'SELECT'), false),
            'row_security', r.relrowsecurity AND row_security_active(r.oid),
            'policies', CASE WHEN r.relrowsecurity THEN (
                SELECT json_agg(json_build_object(
                    'name', p.polname,
                    'permissive', p.polpermissive,
                    'expression', p.expression,
                    'calls', (SELECT coalesce(json_agg(c.name ORDER BY c.name), '[]')
                              FROM calls c WHERE c.objid = p.oid))
                    ORDER BY p.polname)
                FROM policies p WHERE p.polrelid = r.oid) END,
            'reads_as', v.rolname,
            'reads', d.reads,
            'references', f.targets)), '[]')
        FROM relations r
        LEFT JOIN views v ON v.oid = r.oid
        LEFT JOIN reads d ON d.oid = r.oid
        LEFT JOIN references_of f ON f.conrelid = r.oid)
)::text
