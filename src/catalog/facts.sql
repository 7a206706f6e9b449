-- What answers depend on in one database, as one JSON document; for PostgreSQL 13 to 18.
--
-- Runs with search_path = pg_catalog, so that the names of all other types, collations and tables
-- come with their schema. Columns of the catalogs that some versions lack are read with to_jsonb,
-- which gives NULL for them.
WITH RECURSIVE namespaces AS (
    SELECT n.oid, n.nspname, n.nspname IN ('pg_catalog', 'information_schema') AS is_system
    FROM pg_namespace n
    WHERE n.nspname !~ '^pg_(toast|temp)'
), members AS (
    -- What belongs to an extension.
    SELECT d.classid, d.objid
    FROM pg_depend d
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), relations AS (
    SELECT c.*, n.nspname, n.is_system
    FROM pg_class c
    JOIN namespaces n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v', 'S')
), domains AS (
    -- What is below each domain; one over another is followed down.
    SELECT t.oid, t.typbasetype, t.typtypmod
    FROM pg_type t
    WHERE t.typtype = 'd'
    UNION ALL
    SELECT d.oid, t.typbasetype, t.typtypmod
    FROM domains d
    JOIN pg_type t ON t.oid = d.typbasetype AND t.typtype = 'd'
), bases AS (
    SELECT d.*
    FROM domains d
    JOIN pg_type t ON t.oid = d.typbasetype AND t.typtype <> 'd'
), columns AS (
    SELECT a.attrelid, json_agg(json_build_object(
        'name', a.attname,
        'quoted', quote_ident(a.attname),
        'type', format_type(a.atttypid, a.atttypmod),
        'base', format_type(b.oid, -1),
        'base_schema', n.nspname,
        'base_name', b.typname,
        'base_kind', b.typtype,
        'element', CASE WHEN e.oid IS NOT NULL THEN json_build_object(
            'schema', en.nspname, 'name', e.typname, 'kind', e.typtype) END,
        'domain', CASE WHEN t.typtype = 'd' THEN format_type(t.oid, -1) END,
        'modifier', coalesce(d.typtypmod, a.atttypmod),
        'dimensions', CASE WHEN t.typtype = 'd' THEN t.typndims ELSE a.attndims END,
        -- Foreign tables are not held to it; nor are rows that a table inherits, of which each
        -- child has rules of its own; nor the old rows of a constraint not validated yet.
        'not_null', a.attnotnull AND r.relkind <> 'f' AND NOT (r.relkind = 'r' AND r.relhassubclass)
            AND NOT EXISTS (
                SELECT FROM pg_constraint o
                WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND NOT o.convalidated
                  AND a.attnum = ANY (o.conkey)),
        'generated', CASE WHEN a.attgenerated <> '' THEN (
            SELECT pg_get_expr(f.adbin, f.adrelid)
            FROM pg_attrdef f
            WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum) END,
        'collation', CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation::text END)
        ORDER BY a.attnum) AS columns
    FROM relations r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN bases d ON d.oid = t.oid
    JOIN pg_type b ON b.oid = coalesce(d.typbasetype, t.oid)
    JOIN pg_namespace n ON n.oid = b.typnamespace
    LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
    LEFT JOIN pg_namespace en ON en.oid = e.typnamespace
    WHERE NOT r.is_system
    GROUP BY a.attrelid
), keys AS (
    SELECT k.indrelid, json_agg(json_build_object(
        'columns', k.columns,
        'is_primary', k.indisprimary,
        'is_plain', k.is_plain)
        -- The primary key first.
        ORDER BY k.indisprimary DESC, k.columns::text) AS keys
    FROM (
        SELECT i.indrelid, i.indisprimary,
            json_agg(a.attname ORDER BY u.place) AS columns,
            i.indimmediate AND NOT (r.relkind = 'r' AND r.relhassubclass)
                AND bool_and(o.opcdefault AND u.sorting = a.attcollation) AS is_plain
        FROM relations r
        JOIN pg_index i ON i.indrelid = r.oid
        CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[])
            WITH ORDINALITY AS u(attnum, class, sorting, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
        JOIN pg_opclass o ON o.oid = u.class
        WHERE NOT r.is_system AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL AND u.place <= i.indnkeyatts
        GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indimmediate, r.relkind, r.relhassubclass) k
    GROUP BY k.indrelid
), functions AS (
    -- OIDs below 16384 are given by initdb (src/include/access/transam.h); a superuser may add to
    -- pg_catalog.
    SELECT p.*, n.nspname, n.is_system AND (p.oid < 16384 OR m.objid IS NOT NULL) AS is_system,
        m.objid IS NOT NULL AS is_member,
        -- Not rows, nor what an argument decides, and without a name of its own in FROM.
        EXISTS (SELECT FROM pg_type r WHERE r.oid = p.prorettype AND r.typtype IN ('b', 'e', 'r', 'm'))
            AND NOT coalesce(p.proargmodes && '{o,b,t}'::"char"[], false) AS gives_values
    FROM pg_proc p
    JOIN namespaces n ON n.oid = p.pronamespace
    LEFT JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
), names AS (
    -- Functions by OID, as others name them.
    SELECT f.oid, json_build_array(f.nspname, f.proname) AS name
    FROM functions f
), classes AS (
    -- What comparing values of a type calls, where the way to compare them is no part of PostgreSQL.
    SELECT oc.opcintype, ap.amproc::oid AS called
    FROM pg_opclass oc
    JOIN pg_amproc ap ON ap.amprocfamily = oc.opcfamily
        AND oc.opcintype IN (ap.amproclefttype, ap.amprocrighttype)
    WHERE oc.opcdefault AND oc.oid >= 16384
    UNION
    SELECT oc.opcintype, o.oprcode::oid
    FROM pg_opclass oc
    JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily
        AND oc.opcintype IN (ao.amoplefttype, ao.amoprighttype)
    JOIN pg_operator o ON o.oid = ao.amopopr
    WHERE oc.opcdefault AND oc.oid >= 16384
), type_calls AS (
    -- What values of a type call: where they are read, written, made or compared.
    SELECT t.oid, u.called
    FROM pg_type t
    CROSS JOIN unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin]::oid[]) AS u(called)
    WHERE t.typtype = 'b'
    UNION
    SELECT g.rngtypid, u.called
    FROM pg_range g
    CROSS JOIN unnest(ARRAY[g.rngcanonical, g.rngsubdiff]::oid[]) AS u(called)
    UNION
    SELECT c.opcintype, c.called
    FROM classes c
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
            -- That of the library; the recorded one where the server does not tell.
            'version', coalesce(pg_collation_actual_version('default'::regcollation),
                                to_jsonb(d) ->> 'datcollversion'))
        FROM pg_database d
        WHERE d.datname = current_database()),
    'collations', (
        SELECT json_object_agg(co.oid::regcollation::text, json_build_object(
            'schema', n.nspname,
            'name', co.collname,
            'provider', co.collprovider,
            'locale', coalesce(to_jsonb(co) ->> 'colllocale', to_jsonb(co) ->> 'colliculocale', co.collcollate),
            'ctype', co.collctype,
            'rules', to_jsonb(co) ->> 'collicurules',
            'deterministic', co.collisdeterministic,
            'version', coalesce(pg_collation_actual_version(co.oid), co.collversion),
            'is_used', co.oid IN (
                SELECT a.attcollation
                FROM relations r
                JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE NOT r.is_system)))
        FROM pg_collation co
        JOIN namespaces n ON n.oid = co.collnamespace
        JOIN pg_database d ON d.datname = current_database()
        WHERE co.collprovider <> 'd' AND co.collencoding IN (-1, d.encoding)),
    'types', (
        SELECT coalesce(json_object_agg(format_type(t.oid, -1), json_build_object(
            'schema', n.nspname,
            'name', t.typname,
            'kind', t.typtype,
            'calls', (
                SELECT json_agg(n.name ORDER BY n.name::text)
                FROM type_calls c
                JOIN names n ON n.oid = c.called
                WHERE c.oid = t.oid),
            -- The conditions of a domain.
            'check', (
                SELECT string_agg(pg_get_constraintdef(o.oid), ' ' ORDER BY o.conname)
                FROM pg_constraint o WHERE o.contypid = t.oid AND o.contype = 'c'),
            'definition', CASE t.typtype
                WHEN 'e' THEN (
                    SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
                    FROM pg_enum e WHERE e.enumtypid = t.oid)
                WHEN 'd' THEN json_build_array(
                    format_type(t.typbasetype, t.typtypmod)
                    || CASE WHEN t.typcollation NOT IN (0, b.typcollation)
                            THEN ' COLLATE ' || t.typcollation::regcollation ELSE '' END
                    || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
                    || coalesce((
                        SELECT string_agg(' ' || pg_get_constraintdef(o.oid), '' ORDER BY o.conname)
                        FROM pg_constraint o WHERE o.contypid = t.oid AND o.contype = 'c'), ''))
                WHEN 'r' THEN (
                    SELECT json_build_array(
                        format_type(g.rngsubtype, -1)
                        || CASE WHEN g.rngcollation NOT IN (0, s.typcollation)
                                THEN ' COLLATE ' || g.rngcollation::regcollation ELSE '' END)
                    FROM pg_range g
                    JOIN pg_type s ON s.oid = g.rngsubtype
                    WHERE g.rngtypid = t.oid)
                WHEN 'm' THEN (
                    SELECT json_build_array(format_type(g.rngtypid, -1))
                    FROM pg_range g WHERE (to_jsonb(g) ->> 'rngmultitypid')::oid = t.oid)
                WHEN 'c' THEN (
                    SELECT json_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
                                    || CASE WHEN a.attcollation NOT IN (0, s.typcollation)
                                            THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
                                    ORDER BY a.attnum)
                    FROM pg_attribute a
                    JOIN pg_type s ON s.oid = a.atttypid
                    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
                END,
            -- The types that it is made of.
            'parts', CASE t.typtype
                WHEN 'd' THEN json_build_array(format_type(t.typbasetype, -1))
                WHEN 'r' THEN (
                    SELECT json_build_array(format_type(g.rngsubtype, -1))
                    FROM pg_range g WHERE g.rngtypid = t.oid)
                WHEN 'm' THEN (
                    SELECT json_build_array(format_type(g.rngtypid, -1))
                    FROM pg_range g WHERE (to_jsonb(g) ->> 'rngmultitypid')::oid = t.oid)
                WHEN 'c' THEN (
                    SELECT json_agg(format_type(a.atttypid, -1))
                    FROM pg_attribute a
                    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
                END)), '{}')
        FROM pg_type t
        JOIN namespaces n ON n.oid = t.typnamespace AND NOT n.is_system
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        LEFT JOIN pg_type b ON b.oid = t.typbasetype
        WHERE (t.typtype IN ('e', 'd', 'r', 'm') OR t.typtype = 'c' AND c.relkind = 'c'
               OR t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type a WHERE a.typarray = t.oid))
          AND NOT EXISTS (
              SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)),
    'relations', (
        SELECT coalesce(json_agg(json_build_object(
            'schema', r.nspname,
            'name', r.relname,
            'kind', r.relkind,
            'parent', CASE WHEN r.relispartition THEN (
                SELECT json_build_array(prn.nspname, pc.relname)
                FROM pg_inherits h
                JOIN pg_class pc ON pc.oid = h.inhparent
                JOIN pg_namespace prn ON prn.oid = pc.relnamespace
                WHERE h.inhrelid = r.oid) END,
            'has_children', EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = r.oid),
            'row_security', r.relrowsecurity,
            'definition', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
            'columns', coalesce(co.columns, '[]'),
            'keys', coalesce(k.keys, '[]'))
            ORDER BY r.nspname, r.relname), '[]')
        FROM relations r
        LEFT JOIN columns co ON co.attrelid = r.oid
        LEFT JOIN keys k ON k.indrelid = r.oid
        WHERE NOT r.is_system),
    -- Of what every server has, the names.
    'system_relations', (
        SELECT json_object_agg(r.nspname, r.names)
        FROM (
            SELECT nspname, json_agg(relname) AS names
            FROM relations WHERE is_system GROUP BY nspname) r),
    'system_functions', (
        SELECT json_agg(json_build_object(
            'schema', f.nspname, 'kind', f.prokind, 'volatility', f.provolatile,
            'least', f.least, 'most', f.most, 'gives_values', f.gives_values, 'names', f.names))
        FROM (
            SELECT nspname, prokind, provolatile, pronargs - pronargdefaults AS least,
                CASE WHEN provariadic = 0 THEN pronargs END AS most, gives_values,
                json_agg(DISTINCT proname) AS names
            FROM functions WHERE is_system AND NOT is_member
            GROUP BY nspname, prokind, provolatile, least, most, gives_values) f),
    -- What may stand before parentheses as if it were a function.
    'system_types', (
        SELECT json_agg(t.typname)
        FROM pg_type t
        WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')),
    'functions', (
        SELECT coalesce(json_agg(json_build_object(
            'schema', f.nspname, 'name', f.proname, 'kind', f.prokind, 'volatility', f.provolatile,
            'is_member', f.is_member,
            'least', f.pronargs - f.pronargdefaults,
            'most', CASE WHEN f.provariadic = 0 THEN f.pronargs END,
            'language', l.lanname,
            -- What it runs, for those that claim to be a function of their arguments alone, or of these
            -- and of tables and settings. A body in standard SQL is kept parsed.
            'body', CASE WHEN NOT f.is_member AND f.prokind IN ('f', 'w') AND (
                f.provolatile = 'i' OR f.provolatile = 's' AND l.lanname IN ('sql', 'plpgsql')) THEN
                CASE WHEN to_jsonb(f) ->> 'prosqlbody' IS NOT NULL THEN pg_get_functiondef(f.oid)
                     ELSE f.prosrc END
                || coalesce(E'\n' || pg_get_expr(f.proargdefaults, 0), '') END,
            'calls', CASE WHEN f.prokind = 'a' THEN (
                SELECT json_agg(n.name ORDER BY n.name::text)
                FROM pg_aggregate g
                CROSS JOIN unnest(ARRAY[
                    g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn,
                    g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn]::oid[]) AS u(called)
                JOIN names n ON n.oid = u.called
                WHERE g.aggfnoid = f.oid) END,
            -- Those of arguments and results that are not PostgreSQL's own.
            'types', CASE WHEN NOT f.is_member THEN (
                SELECT json_agg(DISTINCT format_type(t.oid, -1))
                FROM unnest(coalesce(f.proallargtypes, f.proargtypes::oid[]) || f.prorettype) AS u(type)
                JOIN pg_type t ON t.oid = u.type
                JOIN namespaces tn ON tn.oid = t.typnamespace AND NOT tn.is_system) END,
            -- The columns that it has in FROM, if they have names of their own.
            'outputs', CASE WHEN r.typrelid <> 0 THEN (
                SELECT json_agg(a.attname ORDER BY a.attnum)
                FROM pg_attribute a
                WHERE a.attrelid = r.typrelid AND a.attnum > 0 AND NOT a.attisdropped) ELSE (
                SELECT json_agg(coalesce(nullif(u.name, ''), 'column' || u.number) ORDER BY u.number)
                FROM (SELECT f.proargnames[i] AS name, row_number() OVER (ORDER BY i) AS number
                      FROM generate_subscripts(f.proargmodes, 1) AS i
                      WHERE f.proargmodes[i] IN ('o', 'b', 't')) AS u) END,
            'gives_rows', r.typrelid <> 0 OR r.oid = 'record'::regtype,
            'gives_values', f.gives_values,
            'signature', CASE WHEN NOT f.is_member THEN
                '(' || pg_get_function_identity_arguments(f.oid) || ')'
                || coalesce(' returns ' || pg_get_function_result(f.oid), '') END,
            -- All on which its results may depend.
            'fingerprint', CASE WHEN NOT f.is_member THEN md5(jsonb_build_array(
                l.lanname, f.proisstrict, f.prosecdef, f.proretset, f.prosrc, f.probin, f.proconfig,
                pg_get_function_arguments(f.oid),
                -- A body in standard SQL is kept parsed.
                CASE WHEN to_jsonb(f) ->> 'prosqlbody' IS NOT NULL THEN pg_get_functiondef(f.oid) END,
                CASE WHEN f.prokind = 'a' THEN (
                    SELECT jsonb_build_array(
                        g.aggkind, g.aggnumdirectargs, g.aggtransfn::regprocedure::text,
                        g.aggfinalfn::regprocedure::text, g.aggcombinefn::regprocedure::text,
                        g.aggserialfn::regprocedure::text, g.aggdeserialfn::regprocedure::text,
                        g.aggmtransfn::regprocedure::text, g.aggminvtransfn::regprocedure::text,
                        g.aggmfinalfn::regprocedure::text, g.aggfinalextra, g.aggfinalmodify,
                        format_type(g.aggtranstype, -1), g.agginitval)
                    FROM pg_aggregate g WHERE g.aggfnoid = f.oid) END)::text) END)
            ORDER BY f.nspname, f.proname, pg_get_function_identity_arguments(f.oid)), '[]')
        FROM functions f
        JOIN pg_language l ON l.oid = f.prolang
        JOIN pg_type r ON r.oid = f.prorettype
        WHERE NOT f.is_system OR f.is_member),
    'operators', (
        SELECT coalesce(json_agg(json_build_object(
            'schema', n.nspname, 'name', o.oprname,
            'operands', concat_ws(', ', nullif(format_type(nullif(o.oprleft, 0), -1), '-'),
                                  format_type(nullif(o.oprright, 0), -1)),
            'is_member', m.objid IS NOT NULL,
            'function', f.name)
            ORDER BY n.nspname, o.oprname, o.oprleft::regtype::text, o.oprright::regtype::text), '[]')
        FROM pg_operator o
        JOIN namespaces n ON n.oid = o.oprnamespace
        JOIN names f ON f.oid = o.oprcode
        LEFT JOIN members m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
        WHERE NOT n.is_system OR m.objid IS NOT NULL OR o.oid >= 16384),
    'casts', (
        SELECT coalesce(json_agg(json_build_object(
            'source', format_type(c.castsource, -1), 'target', format_type(c.casttarget, -1),
            'target_name', t.typname,
            'has_own_type', NOT (sn.is_system AND tn.is_system),
            'is_implicit', c.castcontext = 'i',
            'method', c.castmethod, 'context', c.castcontext,
            'function', coalesce(f.name, json_build_array('', '')))
            ORDER BY c.castsource::regtype::text, c.casttarget::regtype::text), '[]')
        FROM pg_cast c
        LEFT JOIN names f ON f.oid = c.castfunc
        JOIN pg_type s ON s.oid = c.castsource
        JOIN namespaces sn ON sn.oid = s.typnamespace
        JOIN pg_type t ON t.oid = c.casttarget
        JOIN namespaces tn ON tn.oid = t.typnamespace
        WHERE c.oid >= 16384
          AND NOT EXISTS (
              SELECT FROM members m WHERE m.classid = 'pg_cast'::regclass AND m.objid = c.oid)),
    -- Ways to compare values that PostgreSQL's own types, or the rows of tables, were given.
    'classes', (
        SELECT coalesce(json_object_agg(format_type(c.opcintype, -1), c.calls), '{}')
        FROM (
            SELECT c.opcintype, json_agg(n.name ORDER BY n.name::text) AS calls
            FROM classes c
            JOIN names n ON n.oid = c.called
            JOIN pg_type t ON t.oid = c.opcintype
            JOIN namespaces tn ON tn.oid = t.typnamespace AND (tn.is_system OR t.typrelid <> 0)
            GROUP BY c.opcintype) c),
    'role', json_build_array(current_user, session_user),
    -- How each configuration makes words of text: parser, dictionaries in their order, their options.
    'text_search', (
        SELECT coalesce(json_object_agg(c.name, md5(c.definition)), '{}')
        FROM (
            SELECT format('%I.%I', cn.nspname, c.cfgname) AS name,
                format('%I.%I', prn.nspname, p.prsname) || coalesce(string_agg(
                    format('; %s %s %I.%I %I.%I %s', m.maptokentype, m.mapseqno, dn.nspname, d.dictname,
                           tn.nspname, t.tmplname, d.dictinitoption),
                    '' ORDER BY m.maptokentype, m.mapseqno)
                    -- One may have no dictionary yet.
                    FILTER (WHERE m.mapcfg IS NOT NULL), '') AS definition
            FROM pg_ts_config c
            JOIN namespaces cn ON cn.oid = c.cfgnamespace
            JOIN pg_ts_parser p ON p.oid = c.cfgparser
            JOIN pg_namespace prn ON prn.oid = p.prsnamespace
            LEFT JOIN pg_ts_config_map m ON m.mapcfg = c.oid
            LEFT JOIN pg_ts_dict d ON d.oid = m.mapdict
            LEFT JOIN pg_namespace dn ON dn.oid = d.dictnamespace
            LEFT JOIN pg_ts_template t ON t.oid = d.dicttemplate
            LEFT JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
            GROUP BY c.oid, cn.nspname, c.cfgname, prn.nspname, p.prsname
            UNION ALL
            SELECT 'dictionary ' || format('%I.%I', dn.nspname, d.dictname),
                format('%I.%I %s', tn.nspname, t.tmplname, d.dictinitoption)
            FROM pg_ts_dict d
            JOIN namespaces dn ON dn.oid = d.dictnamespace
            JOIN pg_ts_template t ON t.oid = d.dicttemplate
            JOIN pg_namespace tn ON tn.oid = t.tmplnamespace) c)
)::text
