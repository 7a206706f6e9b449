SELECT "int4[]", "text[]", "bool[]", "float8[]", "bytea[]", "uuid[]", "jsonb[]", "timestamptz[]",
    n::numeric(5,2)[] AS "numeric(5,2)[]", """char""[]"
FROM (VALUES
    ('{}'::int4[], '{}'::text[], '{}'::bool[], '{}'::float8[], '{}'::bytea[], '{}'::uuid[], '{}'::jsonb[], '{}'::timestamptz[], '{}'::numeric(5,2)[], '{}'::"char"[]),
    ('{1,NULL,-3}', '{NULL,"NULL",null,"",a b,"a,b","{}","\"","\\",é}', '{t,f,NULL}', '{NaN,-0,1e300}', '{"\\x","\\x01ff",NULL}',
     '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}', '{"{\"a\": [1, 2]}","null",NULL}', '{2024-01-01 00:00:00+00,NULL}', '{1.5,NULL,-999.99}', '{a,"",NULL}'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('{NULL}', '{" "}', '{f}', '{Infinity}', '{""}', '{NULL}', '{"\"\""}', '{NULL,NULL}', '{0}', '{","}')
) AS t("int4[]", "text[]", "bool[]", "float8[]", "bytea[]", "uuid[]", "jsonb[]", "timestamptz[]", n, """char""[]")
