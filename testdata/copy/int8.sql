SELECT v::int8 AS "int8" FROM (VALUES
    ('0'),
    ('-1'),
    ('9223372036854775807'),
    ('-9223372036854775808'),
    (NULL)
) AS t(v)
