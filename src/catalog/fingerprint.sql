-- Tells whether the facts of one database and the rights in it are what they were, as one short text; for
-- PostgreSQL 13 to 18.
--
-- Runs with search_path = pg_catalog, over every catalog that facts.sql and rights.sql read, by themselves or
-- by a function such as pg_get_viewdef.
--
-- What a transaction inserts or updates has its number as xmin, which stays, also when the row is frozen
-- (src/include/access/htup_details.h) or moved by VACUUM FULL. So a row that was not there has a number that
-- none had, and one that is gone leaves a number less often: where each number is there as often as it was,
-- all rows are those that were there. Numbers come again after four thousand million transactions, and after
-- a crash or a restore; see what follows them here, and what the fingerprint is kept with.
SELECT md5(concat_ws(' ',
    (SELECT string_agg(concat_ws(' ', r.tableoid, r.xmin, r.times), ',' ORDER BY r.tableoid, r.xmin::text)
     FROM (
        SELECT a.tableoid, a.xmin, count(*) AS times
        FROM (
            SELECT tableoid, xmin FROM pg_aggregate
            UNION ALL SELECT tableoid, xmin FROM pg_amop
            UNION ALL SELECT tableoid, xmin FROM pg_amproc
            UNION ALL SELECT tableoid, xmin FROM pg_attrdef
            UNION ALL SELECT tableoid, xmin FROM pg_attribute
            UNION ALL SELECT tableoid, xmin FROM pg_auth_members
            UNION ALL SELECT tableoid, xmin FROM pg_cast
            UNION ALL SELECT tableoid, xmin FROM pg_class
            UNION ALL SELECT tableoid, xmin FROM pg_collation
            UNION ALL SELECT tableoid, xmin FROM pg_constraint
            UNION ALL SELECT tableoid, xmin FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT tableoid, xmin FROM pg_depend
            UNION ALL SELECT tableoid, xmin FROM pg_enum
            UNION ALL SELECT tableoid, xmin FROM pg_extension
            UNION ALL SELECT tableoid, xmin FROM pg_index
            UNION ALL SELECT tableoid, xmin FROM pg_inherits
            UNION ALL SELECT tableoid, xmin FROM pg_language
            UNION ALL SELECT tableoid, xmin FROM pg_namespace
            UNION ALL SELECT tableoid, xmin FROM pg_opclass
            UNION ALL SELECT tableoid, xmin FROM pg_operator
            UNION ALL SELECT tableoid, xmin FROM pg_policy
            UNION ALL SELECT tableoid, xmin FROM pg_proc
            UNION ALL SELECT tableoid, xmin FROM pg_range
            UNION ALL SELECT tableoid, xmin FROM pg_rewrite
            UNION ALL SELECT tableoid, xmin FROM pg_ts_config
            UNION ALL SELECT tableoid, xmin FROM pg_ts_config_map
            UNION ALL SELECT tableoid, xmin FROM pg_ts_dict
            UNION ALL SELECT tableoid, xmin FROM pg_ts_parser
            UNION ALL SELECT tableoid, xmin FROM pg_ts_template
            UNION ALL SELECT tableoid, xmin FROM pg_type) a
        GROUP BY a.tableoid, a.xmin) r),
    -- Before version 14 an index becomes valid, and ceases to be, without a new row
    -- (index_set_state_flags in src/backend/catalog/index.c).
    'invalid', (SELECT string_agg(i.indexrelid::text, ',' ORDER BY i.indexrelid)
                FROM pg_index i WHERE NOT i.indisvalid),
    -- Of roles, which constants in views may name, too, this one cannot read the rows.
    'roles', (SELECT json_agg(json_build_array(u.oid, u.rolsuper, u.rolinherit, u.rolbypassrls, u.rolname)
                              ORDER BY u.oid)
              FROM pg_roles u),
    -- A crash may take back what was committed and not yet written (synchronous_commit), and give its
    -- numbers to others. All counters begin anew then.
    'recovered', extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())))
