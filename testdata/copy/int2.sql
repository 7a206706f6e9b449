SELECT v::int2 AS "int2" FROM (VALUES
    ('0'),
    ('-1'),
    ('32767'),
    ('-32768'),
    (NULL)
) AS t(v)
