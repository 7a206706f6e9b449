-- The key pinned to constants: fewer shards are asked, and none of the rows is lost.

-- arm: single | union | ordered
select * from sale where id = 17;

select * from sale where id = 17 and kind = 'ok';

-- shipped 10
select id, note from sale where id in (1, 2, 3, 5, 8, 13, 21);

-- shipped 10
select count(*), sum(price) from sale where id in (10, 20, 30, 40, 50, 60);

-- trap 6
select count(*), sum(price), max(note) from sale where id = 99999;

-- trap 6
select count(*), sum(price) from sale where id in (99998, 99999);

-- trap 6
select kind, count(*) from sale where id = 99999 group by kind;

select count(*) from sale where id = 5 and id = 6;

select count(*) from sale where id in (4, 5) and id in (5, 6);

select count(*) from sale where id = null;

select id from sale where id in (7, null);

select id from sale where id in (3, 3, 3);

select id from sale where 11 = id;

select id from sale where id = 3 or id = 9;

select id from sale where id = 3 or qty = 12;

select id from sale where id = 3 or (id = 9 and paid is not null);

select id from sale where not (id <> 12);

select id from sale where id = 5 + 7;

select id from sale where id = -7;

select id from sale where id = '12';

select id from sale where id = 12.0;

select id from sale where id = 12.5;

select id from sale where id = 1e1;

select id from sale where id = 12::int2;

select id from sale where id = 9223372036854775807;

select id from sale where id = 99999999999999999999;

select id from sale where id = any (array[5, 6, 7]);

select id from sale where id = any ('{5,6,7,5}'::int8[]);

select id from sale where id = any ('{ 5 , NULL,"7" }');

select id from sale where id = any ('{5,6}'::int2[]) and kind is not null;

select id from sale where id = any ('{}');

select id from sale where id = any (null::int8[]);

select id from sale where id = any ('{{5,6},{7,8}}'::int8[]);

select id from sale where id = any ('[3:4]={5,6}'::int8[]);

select id from sale where id = any (array[array[5, 6], array[7, 8]]);

select id from sale where not id = any ('{5,6}') and id < 9;

select id from sale where id <> any ('{5,5}') and id < 9;

select id from sale where id = all ('{5,5}');

select count(*) from sale where id = any ('{5,6}'::numeric[]);

select count(*) from sale s join item i on i.sale_id = s.id where i.sale_id = any (array[1, 2, 3]);

select id from sale where id = (select 33);

select id from sale where id = (select max(id) from region);

select id from sale where id between 5 and 5;

select s.id, i.line from sale s join item i on i.sale_id = s.id where s.id = 44;

select s.id, i.line from sale s join item i on i.sale_id = s.id where i.sale_id = 44;

select s.id, i.line from sale s left join item i on i.sale_id = s.id where s.id = 40;

select s.id, i.line from sale s left join item i on i.sale_id = s.id and i.sale_id = 44 where s.id < 50;

select i.sale_id, c.name from item i join sale s on s.id = i.sale_id join customer c on c.id = s.customer_id where i.sale_id in (3, 4);

-- two tables that do not live together, each pinned
select s.id, v.n from sale s, visit v where s.id = 8 and v.visitor = 'v12';

select a.id, b.id from sale a, sale b where a.id = 3 and b.id = 4;

select n, page from visit where visitor = 'v12';

select count(*) from visit where visitor in ('v2', 'v6', 'v12', 'none');

-- trap 7: the key is NULL
select count(*) from visit where visitor is null;

select count(*) from visit where visitor is not distinct from null;

select count(*) from visit where visitor = 'v2' or visitor is null;

select n from visit where visitor is not distinct from 'v12';

select n from visit where visitor like 'v1_';

select n from visit where lower(visitor) = 'v12';

select n from visit where visitor = 'V12';

select v.n from visit v where visitor = 'v12'::varchar(10);

select v.n from visit v where visitor = 'v12'::bpchar;

select v.n from visit v where visitor = 'v12 ';

-- another collation of the comparison finds keys that have another hash
select count(*) from visit where visitor = 'V12' collate nocase;

select count(*) from visit where visitor::citext = 'V12';

select device, count(*) from reading where device = 'dev-7' group by device;

select device, max(seq) from reading where device in ('dev-7', 'dev-2') group by device order by device;

select k, tx from zoo where k = 55 or k = 56;

select count(*) from zoo where k = 5 and g = 5;

select count(*) from (select * from sale where id = 12) a;

with s as (select * from sale) select id from s where id = 12;

select id from paid_sale where id in (14, 16, 18);

select total from sale_total where id = 44;

select id from sale where id = 3 union all select id from sale where id = 4;

select id from sale where id in (select sale_id from item where sale_id = 44);

select id, row_number() over (order by price) from sale where id in (3, 30, 300);

-- trap 8: the same number in another scale or sign is the same key
select count(*) from sale where id::numeric = 12.00;

select id from sale where (id, kind) = (13, 'Angry');

select id from sale where (id, kind) in ((12, 'sad'), (13, 'Angry'), (14, 'happy'));

select id from sale where row(id) = row(12);

select count(*) from sale where id = 12 and random() >= 0;

-- error: 22P02
select id from sale where id = 'twelve';

select id from sale where case when id = 12 then true else qty = 19 end;

select id from sale where coalesce(id = 12, false);

select id from sale where (id = 12) is true;

select id from sale where (id = 12) is not false and true;

select id from sale where false and id = 12;
