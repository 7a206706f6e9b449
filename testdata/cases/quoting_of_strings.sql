-- symptom: a dollar-quoted string that holds another dollar sign was read as unterminated
-- shard: t=k
-- setup
CREATE TABLE t (k text PRIMARY KEY, n int);
INSERT INTO t VALUES ('$a$', 1), ('it''s', 2), (E'back\\slash', 3), (E'new\nline', 4), ('é', 5), ('', 6), (' ', 7), ('$$', 8), ('a''b"c', 9), (E'tab\t', 10), ('--x', 11), ('/* y */', 12), ('NULL', 13), (E'\x01', 14), ('😀', 15);
-- query
SELECT n, $foo$the $bar$ content$foo$ AS s, $$it's$$ AS t FROM t WHERE k = $q$$a$$q$ OR k = $$it's$$ ORDER BY n
-- query
SELECT n FROM t WHERE k IN (E'back\\slash', E'new\nline', U&'\00e9', 'a''b"c', E'\t', e'tab\x09', U&'!+01F600' UESCAPE '!') ORDER BY n
-- query
SELECT n FROM t WHERE k = 'back\slash' OR k = '--x' OR k = '/* y */' OR k = 'NULL' OR k = '' ORDER BY n
-- query
SELECT 'a'
  'b' AS joined
-- query
SELECT B'101' AS bits, X'1F' AS hex, 1.5e3 AS e, .5 AS d, 5. AS five, 00012 AS z, 123456789012 AS big, 1e400 IS NOT NULL AS huge FROM t WHERE k = ' '
-- query
SELECT k, count(*) FROM t GROUP BY k ORDER BY k COLLATE "C"
-- query
SELECT quote_literal(k), quote_ident(k), length(k), k || E'\\' FROM t WHERE n IN (2, 3, 9, 14) ORDER BY n
-- query
SELECT string_agg(k, E'\n' ORDER BY n), max(k), json_agg(k ORDER BY n) FROM t
