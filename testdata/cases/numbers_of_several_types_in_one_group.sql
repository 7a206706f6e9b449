-- symptom: IN and set operations took keys of different types in one colocation group for colocated: 8 rows of 30
-- shard: a4=k a8=k af=k an=k
-- colocation: all
-- setup
CREATE TABLE a4 (id int, k int NOT NULL);
CREATE TABLE a8 (id int, k bigint NOT NULL);
CREATE TABLE af (id int, k float8 NOT NULL);
CREATE TABLE an (id int, k numeric NOT NULL);
INSERT INTO a4 SELECT i, i FROM generate_series(1, 30) i;
INSERT INTO a8 SELECT i, i FROM generate_series(1, 30) i;
INSERT INTO af SELECT i, i + CASE WHEN i % 2 = 0 THEN 0.5 ELSE 0 END FROM generate_series(1, 30) i;
INSERT INTO an SELECT i, i + 0.00 FROM generate_series(1, 30) i;
-- query
-- answered
select count(*) from a8 x join af y using (k)
-- query
-- answered
select count(*) from a8 where k in (select k from af)
-- query
-- answered
select count(*) from a8 where (k, id) in (select k, id from af)
-- query
-- answered
select count(*) from a8 where k not in (select k from af)
-- query
-- answered
select count(*) from a8 x where exists (select from af y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from a8 intersect select k from af) s
-- query
-- answered
select count(*) from (select k from a8 except select k from af) s
-- query
-- answered
select count(*) from a8 x where k = any (select k from af)
-- query
-- answered
select count(distinct k) from (select k from a8 union all select k from af) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from a8 union all select k from af) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from a8 union select k from af) s
-- query
-- answered
select count(*) from a8 x join an y using (k)
-- query
-- answered
select count(*) from a8 where k in (select k from an)
-- query
-- answered
select count(*) from a8 where (k, id) in (select k, id from an)
-- query
-- answered
select count(*) from a8 where k not in (select k from an)
-- query
-- answered
select count(*) from a8 x where exists (select from an y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from a8 intersect select k from an) s
-- query
-- answered
select count(*) from (select k from a8 except select k from an) s
-- query
-- answered
select count(*) from a8 x where k = any (select k from an)
-- query
-- answered
select count(distinct k) from (select k from a8 union all select k from an) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from a8 union all select k from an) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from a8 union select k from an) s
-- query
-- answered
select count(*) from af x join an y using (k)
-- query
-- answered
select count(*) from af where k in (select k from an)
-- query
-- answered
select count(*) from af where (k, id) in (select k, id from an)
-- query
-- answered
select count(*) from af where k not in (select k from an)
-- query
-- answered
select count(*) from af x where exists (select from an y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from af intersect select k from an) s
-- query
-- answered
select count(*) from (select k from af except select k from an) s
-- query
-- answered
select count(*) from af x where k = any (select k from an)
-- query
-- answered
select count(distinct k) from (select k from af union all select k from an) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from af union all select k from an) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from af union select k from an) s
-- query
-- answered
select count(*) from a8 x join a4 y using (k)
-- query
-- answered
select count(*) from a8 where k in (select k from a4)
-- query
-- answered
select count(*) from a8 where (k, id) in (select k, id from a4)
-- query
-- answered
select count(*) from a8 where k not in (select k from a4)
-- query
-- answered
select count(*) from a8 x where exists (select from a4 y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from a8 intersect select k from a4) s
-- query
-- answered
select count(*) from (select k from a8 except select k from a4) s
-- query
-- answered
select count(*) from a8 x where k = any (select k from a4)
-- query
-- answered
select count(distinct k) from (select k from a8 union all select k from a4) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from a8 union all select k from a4) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from a8 union select k from a4) s
