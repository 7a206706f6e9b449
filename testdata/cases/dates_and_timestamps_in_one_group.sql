-- symptom: IN and set operations took keys of different types in one colocation group for colocated: 8 rows of 30
-- shard: days=k ev=k
-- colocation: all
-- setup
CREATE TABLE days (id int, k date NOT NULL);
CREATE TABLE ev (id int, k timestamp NOT NULL);
INSERT INTO days SELECT i, date '2024-01-01' + i FROM generate_series(1, 30) i;
INSERT INTO ev SELECT i, timestamp '2024-01-01' + i * interval '1 day' FROM generate_series(1, 30) i;
-- query
-- answered
select count(*) from days x join ev y using (k)
-- query
-- answered
select count(*) from days where k in (select k from ev)
-- query
-- answered
select count(*) from days where (k, id) in (select k, id from ev)
-- query
-- answered
select count(*) from days where k not in (select k from ev)
-- query
-- answered
select count(*) from days x where exists (select from ev y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from days intersect select k from ev) s
-- query
-- answered
select count(*) from (select k from days except select k from ev) s
-- query
-- answered
select count(*) from days x where k = any (select k from ev)
-- query
-- answered
select count(distinct k) from (select k from days union all select k from ev) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from days union all select k from ev) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from days union select k from ev) s
-- query
-- answered
select count(*) from ev x join days y using (k)
-- query
-- answered
select count(*) from ev where k in (select k from days)
-- query
-- answered
select count(*) from ev where (k, id) in (select k, id from days)
-- query
-- answered
select count(*) from ev where k not in (select k from days)
-- query
-- answered
select count(*) from ev x where exists (select from days y where y.k = x.k)
-- query
-- answered
select count(*) from (select k from ev intersect select k from days) s
-- query
-- answered
select count(*) from (select k from ev except select k from days) s
-- query
-- answered
select count(*) from ev x where k = any (select k from days)
-- query
-- answered
select count(distinct k) from (select k from ev union all select k from days) s
-- query
-- answered
select count(*), sum(n) from (select k, count(*) as n from (select k from ev union all select k from days) s group by k) s
-- query
-- answered
select count(*) from (select distinct k from ev union select k from days) s
