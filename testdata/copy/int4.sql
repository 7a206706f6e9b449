SELECT v::int4 AS "int4" FROM (VALUES
    ('0'),
    ('-1'),
    ('2147483647'),
    ('-2147483648'),
    (NULL)
) AS t(v)
