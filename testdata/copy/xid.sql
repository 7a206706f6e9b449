SELECT v::xid AS "xid" FROM (VALUES
    ('3'),
    ('4294967295'),
    (NULL)
) AS t(v)
