SELECT v AS "int4", 'x'::text AS "text" FROM generate_series(1, 0) AS t(v)
