SELECT v::json AS "json" FROM (VALUES
    ('{"a" : 1,  "a":2}'),
    ('null'),
    ('[1.10, "\u00e9"]'),
    ('""'),
    (NULL)
) AS t(v)
