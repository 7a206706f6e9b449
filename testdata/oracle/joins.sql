-- Inner joins: colocated, with replicated tables, and between what does not live together.

-- arm: union
select s.id, i.line, i.amount from sale s join item i on i.sale_id = s.id;

-- arm: union
select id, line from sale, item where sale_id = id and qty > 10;

-- arm: union
select * from sale join item on id = sale_id where id between 10 and 20;

-- arm: union
select s.id, c.name from sale s join customer c on c.id = s.customer_id;

-- arm: union
select s.id, c.name, r.name, p.name from sale s join customer c on c.id = s.customer_id join region r on r.id = c.region_id join region p on p.id = r.parent where s.id < 300;

-- arm: combine
select count(*), sum(i.amount), count(distinct s.id) from sale s join item i on i.sale_id = s.id join product p on p.id = i.product_id where p.category = 'tool';

-- arm: union
-- trap 16
select a.id, b.id from sale a join sale b on a.id = b.id where a.qty > 15;

-- trap 16: a self-join that is not on the key crosses shards
select count(*), sum(a.id), sum(b.id) from sale a join sale b on a.customer_id = b.customer_id;

-- trap 16
select a.id, b.id from sale a join sale b on a.id = b.id + 1 where a.id < 100;

-- trap 16
select a.id, b.id from sale a join sale b on a.note = b.note and a.id < b.id where a.id < 200;

-- trap 16: another group
select count(*), sum(v.score), sum(s.qty) from visit v join sale s on s.id = v.sale_id;

-- trap 16
select v.n, s.id, s.price from visit v join sale s on s.id = v.sale_id where v.n < 60;

-- arm: union
select v.n, p.name, p.age from visit v join profile p on p.visitor = v.visitor;

-- arm: union
select v.n, p.age from visit v join profile p using (visitor) where v.score > 50;

-- arm: union
select * from profile natural join (select visitor, n from visit) v;

select visitor, n, sale_id, line from visit join item using (sale_id) where n < 100;

-- three groups at once
select count(*), sum(r.seq) from visit v join sale s on s.id = v.sale_id join reading r on r.seq = s.qty;

select z.k, s.id, s.qty from zoo z join sale s on s.qty = z.k where s.id < 200;

-- no key at all
select count(*) from sale cross join region;

-- arm: combine
select r.name, count(*) from sale s, region r where r.id <= 3 group by r.name;

select count(*) from (select id from sale where id < 30) a cross join (select n from visit where n < 20) b;

select count(*) from (select id from sale where id < 30) a, (select id from sale where id < 20) b;

-- inequality
select count(*) from sale s join item i on i.sale_id < s.id where s.id < 40 and i.sale_id < 40;

select s.id, c.day from sale s join calendar c on c.day between s.day - 1 and s.day and c.weekday = 1 where s.id < 150;

select i.sale_id, i.line, p.name from item i join product p on p.id = i.product_id and p.price > i.amount;

-- the key through an expression is no longer the key
select count(*), sum(s.id) from sale s join item i on i.sale_id = s.id + 0;

select count(*), sum(s.id) from sale s join item i on i.sale_id::int4 = s.id::int4;

-- the key through another column
select count(*) from sale s join item i on i.sale_id = s.id join item j on j.sale_id = i.sale_id and j.line < i.line;

select count(*) from item i join item j on i.sale_id = j.sale_id join sale s on s.id = j.sale_id where s.paid;

select count(*) from sale s join item i on i.product_id = s.customer_id;

select count(*) from item i join item j on i.product_id = j.product_id and i.line = j.line where i.sale_id < 100;

-- equal only together with a constant
select s.id, i.line from sale s join item i on s.id = 7 and i.sale_id = 7;

-- equal only in one branch
select count(*) from sale s join item i on s.id = i.sale_id or s.qty = i.line where s.id < 30;

-- not the same as equal where both are NULL
select count(*) from visit a join visit b on a.visitor is not distinct from b.visitor where a.n < 60 and b.n < 60;

select count(*), count(distinct a.visitor) from visit a join visit b on a.visitor = b.visitor and a.n < b.n;

-- USING and NATURAL make one column of two
select sale_id, count(*) from item join (select id as sale_id, qty from sale) s using (sale_id) where qty > 12 group by sale_id;

select * from (select id as sale_id, kind from sale where id < 40) s join item using (sale_id);

select j.sale_id from (sale join item on id = sale_id) j where j.qty = 4;

select x.a, x.b from (select id, qty from sale) as x (a, b) join item on sale_id = a where b > 15;

-- joined tables in parentheses, and aliases that hide
select count(*) from (sale s join (item i join product p on p.id = i.product_id) on i.sale_id = s.id);

select sale.id from item as sale_id_, sale where sale_id_.sale_id = sale.id and sale.id between 1 and 50;

select item.id from sale as item join item as sale on sale.sale_id = item.id where item.id < 60;

-- VALUES and functions as tables
select s.id, v.label from sale s join (values ('ok'::mood, 'fine'), ('sad', 'bad')) v (kind, label) on v.kind = s.kind where s.id < 90;

select s.id, g from sale s join generate_series(1, 5) g on g = s.qty;

select s.id, u.x, u.o from sale s, unnest(array[s.qty, s.qty * 2]) with ordinality u (x, o) where s.id < 20;

-- trap 8: values are equal and not the same
select a.k, b.k from zoo a join zoo b on a.num = b.num where a.k < 30 and b.k < 30;

-- trap 8
select count(*) from zoo a join zoo b on a.bp = b.bp where a.k < 60;

-- trap 8
select count(*) from zoo a join zoo b on a.tn = b.tn and a.ci = b.ci;

-- trap 8, trap 9
select count(*) from zoo a join zoo b on a.f8 = b.f8 and a.iv = b.iv;

select count(*) from sale s join profile p on p.name = s.tag;

select s.city, count(*) from sale s join customer c on c.nick::text = s.tag collate "C" group by s.city;

-- arm: ordered
select s.id, i.line, i.amount from sale s join item i on i.sale_id = s.id order by s.id, i.line limit 20;

select s.*, i.* from sale s join item i on i.sale_id = s.id where s.id = 44;

-- error: 42P01
select s.id from sale s join item i on x.sale_id = s.id;
