SELECT v::bool AS "bool" FROM (VALUES
    ('t'),
    ('f'),
    (NULL)
) AS t(v)
