SELECT v::xml AS "xml" FROM (VALUES
    ('<a/>'),
    ('<?xml version="1.0" encoding="UTF-8"?><a b="c">é</a>'),
    ('text <b/>'),
    (NULL)
) AS t(v)
