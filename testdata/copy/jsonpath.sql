SELECT v::jsonpath AS "jsonpath" FROM (VALUES
    ('$.a[*] ? (@ > 1)'),
    ('strict $'),
    (NULL)
) AS t(v)
