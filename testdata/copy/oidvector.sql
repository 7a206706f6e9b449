SELECT v::oidvector AS "oidvector" FROM (VALUES
    (''),
    ('0'),
    ('1 4294967295'),
    (NULL)
) AS t(v)
