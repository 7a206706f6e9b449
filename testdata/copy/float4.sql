SELECT v::float4 AS "float4" FROM (VALUES
    ('0'),
    ('-0'),
    ('1.5'),
    ('3.4028235e38'),
    ('1e-45'),
    ('1.1754944e-38'),
    ('NaN'),
    ('Infinity'),
    ('-Infinity'),
    ('16777216'),
    (NULL)
) AS t(v)
