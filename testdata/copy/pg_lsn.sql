SELECT v::pg_lsn AS "pg_lsn" FROM (VALUES
    ('0/0'),
    ('16/B374D848'),
    ('FFFFFFFF/FFFFFFFF'),
    (NULL)
) AS t(v)
