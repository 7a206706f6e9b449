SELECT v::oid AS "oid" FROM (VALUES
    ('0'),
    ('4294967295'),
    (NULL)
) AS t(v)
