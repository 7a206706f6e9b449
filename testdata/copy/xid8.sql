SELECT v::xid8 AS "xid8" FROM (VALUES
    ('0'),
    ('18446744073709551615'),
    (NULL)
) AS t(v)
