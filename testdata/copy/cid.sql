SELECT v::cid AS "cid" FROM (VALUES
    ('0'),
    ('4294967295'),
    (NULL)
) AS t(v)
