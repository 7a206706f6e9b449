SELECT v::bytea AS "bytea" FROM (VALUES
    (''),
    ('\x00'),
    ('\xdeadbeef'),
    ('abc'),
    (NULL)
) AS t(v)
