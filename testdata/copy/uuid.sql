SELECT v::uuid AS "uuid" FROM (VALUES
    ('00000000-0000-0000-0000-000000000000'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff'),
    (NULL)
) AS t(v)
