-- Clauses that few write: what merges columns under an alias, leaves rows out of a frame, or makes XML.

-- The alias of what USING merges.
select x.sale_id, s.qty, i.line from (select id as sale_id, qty from sale) s join item i using (sale_id) as x where x.sale_id < 9 order by 1, 3;

select x.*, count(*) from (select id as sale_id, qty from sale) s join item using (sale_id) as x where x.sale_id < 40 group by x.sale_id order by 1;

select x.id, x.id + 1 as y, r.name from region r left join (select id, name as n from customer) c using (id) as x order by x.id;

select x.id, a.id as b, c.id as d from (values (1), (2)) a(id) full join (values (2), (3)) c(id) using (id) as x order by x.id;

select count(x.id), sum(x.id) from region r right join customer c using (id) as x;

select y.id from region r join customer c using (id) as x join product p using (id) as y where x.id = y.id order by 1;

-- It hides no name, and is seen where its join is.
select r.name, x.id, (select count(*) from product p where p.id = x.id) from region r join customer c using (id) as x where exists (select from product where id = x.id) order by 2;

-- The same name means the nearest one.
select x.id from region x where exists (select from customer a join product b using (id) as x where x.id = 3) order by 1;

-- refused: the row of x
select row(x.*) from region r join customer c using (id) as x;

-- refused: the row of x
select x from region r join customer c using (id) as x;

-- Frames that leave rows out.
select id, sum(qty) over (order by id rows between 2 preceding and 2 following exclude current row) from sale where id < 30 order by id;

select id, qty, sum(id) over (order by qty range between 1 preceding and 1 following exclude group) from sale where id < 60 order by id;

select id, count(*) over (partition by status order by qty range between unbounded preceding and current row exclude ties) from sale order by id limit 40;

select id, array_agg(id) over w, sum(qty) over (w groups between 1 preceding and current row exclude ties) from sale where id < 20 window w as (order by qty, id) order by id;

select id, count(*) over (order by day range between '10 days'::interval preceding and interval '1 day' following exclude current row) from sale where id < 50 order by id;

select sale_id, line, sum(quantity) over w, max(quantity) over (partition by sale_id) from item where sale_id < 20 window w as (partition by sale_id order by line rows unbounded preceding exclude ties) order by 1, 2;

select status, sum(c) from (select status, count(*) over (partition by id order by qty rows 1 preceding exclude group) as c from sale) x group by status order by 1;

with w as (select id, count(*) over (order by id rows between unbounded preceding and unbounded following exclude current row) as c from region) select min(c), max(c), count(*) from w;

select r.name, (select sum(x) from (select count(*) over (order by line rows 3 preceding exclude ties) as x from item i where i.sale_id = r.id) y) from region r order by 1;

-- error: 42P10
select id, sum(qty) over (order by id rows between id % 2 preceding and 2 following exclude ties) from sale;

-- refused: cannot read
select id, sum(qty) over (order by id rows between (select 1) preceding and 2 following exclude ties) from sale;

-- An escape character that is no literal.
select count(*) from sale where note like 'note#_' || '1%' escape '#'::text or note not like 'note$ 2%' escape lower('$');

select id from sale where (note ilike 'NOTE x 4_' escape (select 'x')) = true and note like 'note%' escape coalesce(null, '#') order by id;

select note like '%9' escape '', count(*) from sale group by 1 order by 1;

-- A set operation as an operand.
select count(*), 1 + ((select 2) union select 2) as x from sale;

select id from region where id = ((select max(id) from region) except select null::int) or ((select true) intersect select true) order by id;

select id from sale where id < 9 and qty < ((select max(quantity) from item) union (select max(quantity) from item)) order by id;

-- GROUP BY ALL is GROUP BY.
select status, paid, count(*) from sale group by all rollup (status), paid order by 1, 2, 3;

select status, count(*) from sale group by all status order by 1;

-- Nothing selected.
select;

select count(*) from (select union all select) x;

select id from region where exists (select) and exists (select where id = 3);

select (select count(*) from (select) x) from sale where id < 4;

-- Functions side by side.
select * from rows from (generate_series(1, 3), unnest(array['a', 'b'])) as f(n, t) order by n;

select s.id, f.n, f.k from sale s, rows from (generate_series(1, 2), unnest(array[s.qty, s.qty + 1, null])) with ordinality as f(n, m, k) where s.id < 5 order by 1, 3;

select f.n, count(*) from sale s join rows from (generate_series(1, 9), generate_series(2, 4)) f(n, m) on f.n = s.qty group by f.n order by 1;

select count(*) from region r, lateral rows from (generate_series(1, r.id), generate_series(1, 2)) as f(a, b) where b is null;

select count(*), count(f.f) from rows from (generate_series(1, 3)) f;

select * from region r, rows from (jsonb_to_recordset(jsonb_build_array(jsonb_build_object('a', r.id, 'b', r.name))) as (a int, b text), generate_series(1, 2)) as x(a, b) where r.id < 4 order by r.id, x.a;

select s.id, x.* from sale s, rows from (json_to_recordset('[{"q": 1}, {"q": 2}]') as (q int)) x where x.q = s.qty order by s.id;

-- refused: ROWS FROM
select count(*) from rows from (unnest(array[1], array['a']), generate_series(1, 2));

-- refused: sale_count
select * from rows from (sale_count(), generate_series(1, 2)) as f(a, b);

-- Lists that begin with a subquery, and rows before a cast or an operator.
select id from sale where qty in ((select max(quantity) from item), 2) and id < 300 order by id;

select status, count(*) filter (where customer_id in ((select min(id) from customer), (select 7), 8)) from sale group by status order by 1, 2;

select id, md5(r.*::text), r.*::text from region r order by r.*::text collate "C";

select count(distinct i.*::text), md5(string_agg(i.*::text, '' order by sale_id, line)) from item i where sale_id < 50;

select s.id, r.* is null as lone from sale s left join region r on r.id = s.qty where s.id < 60 order by s.id;

-- Operators before their only operand.
select id, @ qty + 1 as a, ~ qty * 2 as b, |/ (qty ^ 2) as c from sale where @ qty - 1 > ~ -3 order by id;

select @ qty as a, count(*), sum(@ (qty - 5)) from sale group by @ qty order by a;

-- The order of an operator.
select id, note from sale order by note using ~<~ nulls first, id using operator(pg_catalog.>) limit 40;

select status, string_agg(note, ',' order by note using ~>~, id) from sale where id < 90 group by status order by status;

-- XML: names of elements are those that the columns have, whoever computes.
select id, xmlelement(name sale, xmlattributes(id, status as "St", qty + 1 as q), note, '<')::text as x from sale where id < 9 order by id;

select xmlforest(id, name as "Name", parent)::text as x from region order by id;

select xmlforest(status, count(*) as n)::text as x, xmlelement(name s, xmlattributes(status))::text as y from sale group by status order by status;

select xmlforest(s.status)::text as x, xmlforest(max(s.qty) as most)::text as m from sale s group by s.status, s.paid order by s.status, s.paid;

select xmlagg(xmlelement(name r, xmlattributes(id), name) order by id)::text as x from region;

select xmlagg(xmlelement(name s, id) order by id)::text as x from sale where id between 3 and 7;

select xmlpi(name php, 'x ' || id)::text as x, xmlconcat(xmlelement(name "a b"), xmlcomment(name))::text as y from region order by id;

select xmlroot(xmlparse(document '<a>' || id || '</a>'), version '1.0', standalone yes)::text as x, xmlroot(xmlelement(name b), version no value, standalone no value)::text as y from region order by id;

select xmlserialize(content xmlelement(name a, id) as text) as x, xmlserialize(content xmlelement(name b, name) as character varying(90)) as y from region order by id;

select id from region where xmlexists('//a[text() = "3"]' passing by ref xmlelement(name r, xmlelement(name a, id)));

select xmlelement(name a, id) is document as d, xml 'a<b/>' is not document and id > 1 as e, count(*) from region group by id order by id;

select count(*) from sale where (xmlelement(name a, note) is document) = paid;

with recursive r as (select id, parent from region where id = 1 union all select c.id, c.parent from region c join r on c.parent = r.id) search depth first by id set path select id from r order by path;

with recursive r(id) as (select 1 union all select c.id from region c join r on c.parent = r.id) cycle id set again using path select id from r;

select s.id, x.a, x.n from sale s, xmltable('/r/a' passing xmlelement(name r, xmlelement(name a, coalesce(s.qty, 0)), xmlelement(name a, s.id)) columns n for ordinality, a int path '.' not null) x where s.id < 9 order by 1, 3;

select x.b, count(*), max(s.id) from sale s cross join lateral xmltable('/a' passing xmlelement(name a, xmlattributes(s.qty % 3 as b)) columns b int path '@b' default 9) as x group by x.b order by 1;
