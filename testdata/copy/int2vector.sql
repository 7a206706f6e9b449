SELECT v::int2vector AS "int2vector" FROM (VALUES
    (''),
    ('1'),
    ('1 -2 32767'),
    (NULL)
) AS t(v)
