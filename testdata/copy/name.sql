SELECT v::name AS "name" FROM (VALUES
    (''),
    ('a'),
    ('with "quote"'),
    ('a name of sixty-three bytes, which is as long as a name can be..'),
    (NULL)
) AS t(v)
