SELECT v::jsonb AS "jsonb" FROM (VALUES
    ('{"b" : 1,  "a":2, "b": 3}'),
    ('null'),
    ('[1.10, "\u00e9", 1e400]'),
    ('""'),
    (NULL)
) AS t(v)
