-- WITH RECURSIVE.

-- arm: single
with recursive up as (select id, name, parent, 0 as depth from region where id = 9 union all select r.id, r.name, r.parent, depth + 1 from region r join up on up.parent = r.id) select * from up;

with recursive n (i) as (select 1 union all select i + 1 from n where i < 10) select sum(i), count(*) from n;

with recursive n (i) as (select 1 union all select i + 1 from n where i < 5) select s.id, n.i from sale s join n on n.i = s.qty where s.id < 60;

-- a sharded table in the part that repeats: sales linked by number
with recursive chain as (select id, qty, 1 as step from sale where id = 1 union all select s.id, s.qty, step + 1 from sale s join chain c on s.id = c.id + abs(c.qty) + 1 where step < 20) select * from chain;

-- in the part that begins
with recursive chain as (select id, id as at from sale where qty = 19 union all select id, at - 400 from chain where at > 400) select id, min(at), count(*) from chain group by id;

with recursive down as (select id, name, array[name] as path from region where parent is null union all select r.id, r.name, path || r.name from region r join down d on d.id = r.parent) select d.id, d.path, count(s.id) from down d left join customer c on c.region_id = d.id left join sale s on s.customer_id = c.id group by d.id, d.path;

with recursive down as (select id as root, id from region union all select d.root, r.id from region r join down d on d.id = r.parent) select r.name, count(s.id), sum(s.price) from region r join down d on d.root = r.id join customer c on c.region_id = d.id join sale s on s.customer_id = c.id group by r.name;

with recursive t as (select distinct customer_id as c from sale where id < 10 union select s.customer_id + 1 from sale s join t on t.c = s.customer_id where s.id < 20) select count(*), sum(c) from t;

with recursive days (day) as (select min(day) from sale union all select day + 30 from days where day < (select max(day) from sale)) select days.day, count(s.id) from days left join sale s on s.day = days.day group by days.day order by days.day;

with recursive r (id, parent) as (select id, parent from region where id = 12 union select g.id, g.parent from region g, r where g.id = r.parent) search depth first by id set o select id, parent from r order by o;
