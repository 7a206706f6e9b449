SELECT v::"char" AS """char""" FROM (VALUES ('a'), ('"'), (' '), (''), (NULL)) AS t(v)
