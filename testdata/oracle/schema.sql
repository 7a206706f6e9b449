-- What one PostgreSQL holds, and what shards hold parts of.
--
-- Deterministic: every value is arithmetic over a row number. Sharded: sale and item (by the id of
-- the sale), visit and profile (by visitor), reading (by device), zoo (by k). Replicated: region,
-- customer, product, calendar. `ledger` is in no topology. A default collation other than "C" is
-- assumed: the databases are made with ICU's en-US. Sharded tables fill a tenth of their blocks, so that
-- the few rows of a shard lie in several, for those who read ranges of blocks.

create extension citext;
create type mood as enum ('sad', 'ok', 'happy', 'Angry');
create type pair as (x int4, y text);
create domain amount as numeric(12,3) check (value > -1000000);
create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

------------------------------------------------------------------------------------ replicated

create table region (
    id int4 primary key,
    name text not null unique,
    parent int4,
    code bpchar(4)
);
insert into region values
    (1, 'World', null, 'W'), (2, 'Europe', 1, 'EU'), (3, 'Asia', 1, 'AS'), (4, 'America', 1, 'AM'),
    (5, 'France', 2, 'FR'), (6, 'Österreich', 2, 'AT'), (7, 'Japan', 3, 'JP'), (8, 'Peru', 4, 'PE'),
    (9, 'Paris', 5, 'P'), (10, 'Wien', 6, 'W'), (11, 'atlantis', null, null), (12, 'Éire', 2, 'IE');

create table customer (
    id int4 primary key,
    name varchar(30) not null,
    nick citext,
    region_id int4,
    joined date,
    vip bool,
    credit numeric(15,2) not null
);
insert into customer
select n, 'Customer ' || n,
       (array['Ann', 'ann', 'BOB', 'bob', 'Zoë', null])[1 + n % 6]::citext,
       case when n % 13 <> 0 then 5 + n % 8 end,
       date '2020-01-01' + n * 11,
       (array[true, false, null])[1 + n % 3],
       n * 97 % 1000 / 4.0
from generate_series(1, 150) n;

create table product (
    id int4 primary key,
    name text not null,
    category text,
    price numeric(10,2),
    weight float8
);
insert into product
select n, (array['Anvil', 'anvil', 'Bolt', 'Écrou', 'zip', 'Zip'])[1 + n % 6] || ' ' || n,
       (array['tool', 'Tool', 'part', 'toy', null])[1 + n % 5],
       case when n % 11 <> 0 then n * 31 % 200 + n / 100.0 end,
       n * 0.37
from generate_series(1, 40) n;

create table calendar (
    day date primary key,
    month int2 not null,
    weekday int2 not null,
    holiday text
);
insert into calendar
select d, extract(month from d), extract(isodow from d),
       case when extract(doy from d)::int4 % 50 = 1 then 'Holiday ' || extract(doy from d) end
from generate_series(timestamp '2024-01-01', timestamp '2024-12-31', interval '1 day') d;

------------------------------------------------------------------------- sharded by sale

create table sale (
    id int8 primary key,
    customer_id int4,
    day date not null,
    at timestamptz(3),
    status bpchar(4),
    kind mood,
    qty int4,
    price numeric(15,2),
    rate numeric,
    ratio float8,
    factor float4,
    paid bool,
    note text,
    code text collate "C",
    city text collate "en-x-icu",
    tag text collate nocase
) with (fillfactor = 10);
insert into sale
select n,
       case when n % 17 <> 0 then 1 + n * 53 % 160 end,
       date '2024-01-01' + n * 37 % 366,
       case when n % 29 <> 0 then timestamptz '2024-01-01 00:00:00.125+00' + n * interval '7919 seconds' end,
       (array['new', 'paid', 'sent', 'new ', '', null])[1 + n % 6]::bpchar(4),
       (array['ok', 'sad', 'happy', null, 'ok', 'Angry', 'happy'])[1 + n % 7]::mood,
       case when n % 10 <> 3 then n * 7 % 23 - 3 end,
       case when n % 14 <> 5 then (n * 7919 % 100000) / 100.0 - 50 end,
       (array[1.0, 1.00, 2.5, 2.50, 0.125, 1, null, 1e10])[1 + n % 8],
       (array[0.0, -0.0, 0.1, 0.2, 0.30000000000000004, null, 1.5, 2.5])[1 + n % 8]::float8,
       n % 50 / 8.0,
       (array[true, false, true, null])[1 + n % 4],
       case when n % 9 <> 0 then 'note ' || n * 31 % 97 end,
       (array['a', 'B', 'b', 'A', '_', 'é', '', 'Z', null])[1 + n % 9],
       (array['Oslo', 'oslo', 'Ålesund', 'zagreb', 'Zagreb', 'Aachen', 'éze', null, 'co-op', 'coop'])[1 + n % 10],
       (array['Red', 'red', 'RED', 'blue', 'Blue', null])[1 + n % 6]
from generate_series(-19, 980) n;

create table item (
    sale_id int8 not null,
    line int2 not null,
    product_id int4,
    quantity int4 not null,
    amount numeric(15,2),
    discount numeric(4,2) not null,
    remark varchar(12),
    primary key (sale_id, line)
) with (fillfactor = 10);
insert into item
select n, line,
       case when (n + line) % 19 <> 0 then 1 + (n * 3 + line * 7 + 60) % 45 end,
       1 + (n * 5 + line + 100) % 9,
       case when (n + line) % 23 <> 0 then ((n + 20) * 613 + line * 101) % 50000 / 100.0 end,
       (n + 20 + line) % 11 / 100.0,
       (array['ok', 'late', 'OK', null, 'late  '])[1 + (n + 20 + line) % 5]
from generate_series(-19, 985) n, generate_series(1, 4) line
-- Sales without items, and items without a sale (981 to 985).
where line <= (n + 19) % 5;

------------------------------------------------------------------------- sharded by visitor

-- The key may be NULL, and rows without one are on every shard.
create table visit (
    n int8 primary key,
    visitor text,
    page varchar(20) not null,
    started timestamp,
    seconds float8,
    score int4,
    ip inet,
    fee money,
    span interval,
    sale_id int8
) with (fillfactor = 10);
insert into visit
select n,
       case when n % 8 <> 0 then 'v' || (n * n + n) % 91 end,
       (array['/', '/home', '/Home', '/cart', '/a-b', '/ab'])[1 + n % 6],
       case when n % 31 <> 0 then timestamp '2024-02-28 20:00' + n * interval '611 seconds' end,
       case when n % 12 <> 0 then n % 40 * 1.25 end,
       case when n % 5 <> 0 then n * 13 % 101 end,
       ('10.0.' || n % 3 || '.' || n % 5 || case when n % 2 = 0 then '/24' else '' end)::inet,
       (n * 37 % 1000 / 100.0)::numeric::money,
       (array['1 mon', '30 days', '720:00:00', '1 day', '24:00:00', '-1 mon +30 days', null, '1.5 sec'])[1 + n % 8]::interval,
       case when n % 3 = 0 then n * 11 % 1010 end
from generate_series(1, 800) n;

create table profile (
    visitor text primary key,
    name text collate nocase,
    age int2,
    customer_id int4
) with (fillfactor = 10);
insert into profile
select 'v' || n, (array['Ann', 'ANN', 'Bob', 'Zoë', null])[1 + n % 5],
       case when n % 7 <> 0 then 15 + n % 60 end, 1 + n % 160
from generate_series(0, 119) n;

------------------------------------------------------------------------- sharded by device

create table reading (
    device text not null,
    seq int4 not null,
    taken timestamptz not null,
    value float8,
    temp numeric(6,2),
    drift numeric,
    state mood not null,
    doc jsonb,
    tags text[],
    primary key (device, seq)
) with (fillfactor = 10);
insert into reading
select 'dev-' || d, s,
       timestamptz '2024-03-30 22:00+00' + (s * 13 + d) * interval '10 minutes',
       case when d = 3 and s % 20 = 0 then 'NaN' when d = 4 and s % 15 = 0 then 'Infinity'
            when d = 5 and s % 15 = 0 then '-Infinity' when s % 9 = 0 then null
            else d * 10 + s % 17 * 0.1 end::float8,
       case when s % 6 <> 0 then d + s % 30 / 4.0 end,
       (array['1', '1.0', '1.50', '-2.125', '1e20', '1e-20', null])[1 + (s + d) % 7]::numeric,
       (array['ok', 'sad', 'happy', 'ok'])[1 + (s + d) % 4]::mood,
       case s % 5 when 0 then null when 1 then jsonb_build_object('k', s % 3, 'd', 'dev-' || d)
            when 2 then '{"k": 1.0, "l": [1, 2]}' when 3 then '[1, "a", null]' else '1.00' end,
       case s % 4 when 0 then null when 1 then array['x', 'dev-' || d % 3] when 2 then '{}'
            else array['x', null, 'y z', '"q"'] end
from generate_series(1, 15) d, generate_series(1, 40) s
-- Skew: one device has most of the rows.
where d = 7 or s <= 5 + d * 2;

------------------------------------------------------------------------- every type, sharded by k

create table zoo (
    k int4 primary key,
    g int4 not null,
    i2 int2, i4 int4, i8 int8,
    f4 float4, f8 float8,
    num numeric, dec numeric(15,2), wide numeric(50,10), dom amount,
    bo bool, cash money,
    bp bpchar(5), ch bpchar, vc varchar(10), tx text, tc text collate "C", ti text collate "en-x-icu",
    tn text collate nocase, ci citext, nm name, ec "char",
    en mood, ens mood[],
    ia int4[], ta text[], na numeric[], grid int4[],
    js json, jb jsonb,
    iv interval, d date, tm time, tz timetz, ts timestamp, tt timestamptz, t0 timestamp(0),
    uu uuid, by bytea, bi bit(4), vb varbit,
    ip inet, ci4 cidr, mac macaddr,
    comp pair, comps pair[],
    r4 int4range, rd daterange, rn numrange, mr int4multirange,
    pt point, oi oid
) with (fillfactor = 10);
insert into zoo
select n, n % 7,
       (array[32767, -32768, 0, 1, null, 1])[1 + n % 6],
       (array[2147483647, -2147483648, 0, null, 5, 5, -5])[1 + n % 7],
       (array['9223372036854775807', '-9223372036854775808', '0', '1', null])[1 + n % 5]::int8,
       (array['NaN', 'Infinity', '-Infinity', '-0', '0', '1.5', '3.4e38', '1e-40', null])[1 + n % 9]::float4,
       (array['NaN', 'Infinity', '-Infinity', '-0', '0', '1.5', '1e308', '5e-324', null, '0.1'])[1 + n % 10]::float8,
       (array['1', '1.0', '1.00', 'NaN', 'Infinity', '-Infinity', '-0.0001', '123456789012345678901234567890.5', '1e-30', null, '0', '0.00'])[1 + n % 12]::numeric,
       (array[1.5, 1.50, -99.99, null, 9999999999999.99, 0])[1 + n % 6],
       (array['1234567890123456789012345678901234567890.0000000001', '-1', '1.0000000000', null])[1 + n % 4]::numeric,
       (array[1, 1.5, null, -3.125])[1 + n % 4],
       (array[true, false, null])[1 + n % 3],
       (array['12.34', '-12.34', '92233720368547758.07', null])[1 + n % 4]::money,
       (array['a', 'a  ', 'A', 'b', '', null, 'é', '  '])[1 + n % 8],
       (array['x', 'x ', 'X', null])[1 + n % 4]::bpchar,
       (array['one', 'One', 'two', null, '', 'two '])[1 + n % 6],
       (array['apple', 'Apple', 'äpple', 'zebra', 'Zebra', null, '', 'a b', 'ab', 'a-b', E'tab\t', 'quo"te', 'ba\ck', ','])[1 + n % 14],
       (array['apple', 'Apple', 'äpple', 'zebra', 'Zebra', null, ''])[1 + n % 7],
       (array['apple', 'Apple', 'äpple', 'zebra', 'Zebra', null, '', 'a b', 'ab', 'a-b'])[1 + n % 10],
       (array['apple', 'Apple', 'APPLE', 'pear', null])[1 + n % 5],
       (array['one', 'ONE', 'two', null])[1 + n % 4],
       (array['pg', 'Pg', null])[1 + n % 3],
       (array['a', 'Z', null])[1 + n % 3]::"char",
       (array['sad', 'ok', 'happy', 'Angry', null])[1 + n % 5]::mood,
       (array['{sad,ok}', '{Angry}', '{}', null, '{happy,NULL}'])[1 + n % 5]::mood[],
       (array['{1,2}', '{1,2,3}', '{}', null, '{NULL}', '{2}', '{1,NULL}'])[1 + n % 7]::int4[],
       (array['{a,b}', '{A}', '{}', null, '{NULL,"NULL"}', '{"x,y","{}"}'])[1 + n % 6]::text[],
       (array['{1.0}', '{1.00}', '{1,NaN}', null])[1 + n % 4]::numeric[],
       (array['{{1,2},{3,4}}', '{{5,6}}', null])[1 + n % 3]::int4[],
       (array['{"a":1}', '{"a": 1}', '[1,2]', 'null', null])[1 + n % 5]::json,
       (array['{"a":1}', '{"a": 1.0}', '{"b":2,"a":1}', '[1,2]', 'null', '"s"', null])[1 + n % 7]::jsonb,
       (array['1 mon', '30 days', '720:00:00', '1 year -1 day', '-00:00:01', null, '0'])[1 + n % 7]::interval,
       (array['2024-02-29', 'infinity', '-infinity', '0044-03-15 BC', '1999-12-31', null, '5874897-12-31'])[1 + n % 7]::date,
       (array['24:00', '00:00', '12:34:56.789012', null])[1 + n % 4]::time,
       (array['12:00+02', '10:00+00', '24:00-15:59', null])[1 + n % 4]::timetz,
       (array['infinity', '-infinity', '294276-12-31 23:59:59.999999', '4713-01-01 00:00 BC', '2024-02-29 12:00:00.5', null])[1 + n % 6]::timestamp,
       (array['infinity', '-infinity', '2024-03-31 01:30:00+00', '2024-03-31 03:30:00.000001+02', '1890-01-01 00:00+00', null])[1 + n % 6]::timestamptz,
       timestamp '2024-01-01 00:00:00.5' + n * interval '1 hour',
       md5((n % 9)::text)::uuid,
       (array['\x', '\x00', '\xff00', '\x41', null])[1 + n % 5]::bytea,
       (array[b'1010', b'0101', b'1111', null])[1 + n % 4]::bit(4),
       (array[b'1', b'10', b'', null, b'0'])[1 + n % 5]::varbit,
       (array['10.0.0.1', '10.0.0.1/24', '::1', '10.0.0.0/8', null])[1 + n % 5]::inet,
       (array['10.0.0.0/8', '10.0.0.0/24', '::/0', null])[1 + n % 4]::cidr,
       (array['08:00:2b:01:02:03', '08-00-2b-01-02-04', null])[1 + n % 3]::macaddr,
       (array['(1,a)', '(1,)', '(,a)', '(1,A)', null, '(,)'])[1 + n % 6]::pair,
       (array['{"(1,a)","(2,b)"}', '{}', null])[1 + n % 3]::pair[],
       (array['[1,5)', '[1,4]', 'empty', '(,3)', null, '[2,)'])[1 + n % 6]::int4range,
       (array['[2024-01-01,2024-02-01)', '(,)', 'empty', null, '[2024-01-01,infinity]'])[1 + n % 5]::daterange,
       (array['[1.0,2)', '[1.00,2)', '(1,2)', null])[1 + n % 4]::numrange,
       (array['{[1,3),[5,6)}', '{}', null, '{[5,6),[1,3)}'])[1 + n % 4]::int4multirange,
       (array['(1,2)', '(-0,0)', null])[1 + n % 3]::point,
       (array['0', '4294967295', null])[1 + n % 3]::oid
from generate_series(1, 260) n;

------------------------------------------------------------------------- in no topology

create table ledger (id int4 primary key, amount numeric);
insert into ledger values (1, 1.5), (2, null);
create sequence ticket;
create materialized view sale_days as select day, count(*) from sale group by day;

------------------------------------------------------------------------- functions

create function twice(n int4) returns int4 language sql immutable strict as 'select n * 2';
create function slug(t text) returns text language sql immutable as
    $$select lower(replace(coalesce(t, '?'), ' ', '-'))$$;
create function parts(n int4) returns setof int4 language sql immutable as 'select generate_series(1, n)';
create function tax(p numeric) returns numeric language sql stable as 'select round(p * 0.19, 2)';
create function noisy(n int4) returns int4 language plpgsql volatile as 'begin return n + 1; end';
-- Reads a sharded table: as a part of shard SQL it sees the rows of that shard only.
create function sale_count() returns int8 language sql stable as 'select count(*) from public.sale';
create function longer(a text, b text) returns text language sql immutable strict as
    $$select case when length(a) > length(b) or length(a) = length(b) and a collate "C" <= b collate "C" then a else b end$$;
create aggregate longest(text) (sfunc = longer, stype = text);
create function add_square(s numeric, n int8) returns numeric language sql immutable strict as 'select s + n::numeric * n';
create aggregate sum_of_squares(int8) (sfunc = add_square, stype = numeric, initcond = '0', combinefunc = numeric_add);
create function near(a float8, b float8) returns bool language sql immutable as 'select abs(a - b) < 0.15';
create operator ~~~ (leftarg = float8, rightarg = float8, function = near);

------------------------------------------------------------------------- views

create view customer_region as
    select c.id, c.name, c.vip, r.name as region, p.name as parent
    from customer c left join region r on r.id = c.region_id left join region p on p.id = r.parent;
create view paid_sale as
    select id, customer_id, day, qty, price, city from sale where paid;
create view sale_item as
    select s.id, s.day, s.status, i.line, i.product_id, i.quantity, i.amount * (1 - i.discount) as net
    from sale s join item i on i.sale_id = s.id;
create view sale_total (id, lines, total) as
    select sale_id, count(*), sum(amount) from item group by sale_id;
create view status_total as
    select status, count(*) as sales, sum(price) as revenue, avg(qty) as mean_qty from sale group by status;
create view top_status as
    select status, revenue, rank() over (order by revenue desc nulls last, status) from status_total;
create view paid_big as select id, price from paid_sale where price > 800;
create view customer_sale as
    select c.name, c.region, s.id, s.price from sale s join customer_region c on c.id = s.customer_id;
create view customer_history as
    select c.id, c.name, count(s.id) as sales, max(s.day) as latest
    from customer c left join sale s on s.customer_id = c.id group by c.id;
create view first_sale as select id, day, price from sale order by day, id limit 10;
create view any_name as
    select name::text from customer union select city from sale union all select name from region;
create view ranked_sale as
    select id, kind, row_number() over (partition by kind order by price desc nulls last, id) as place from sale;
create view "Odd View" as select id as "Id", qty as "qty qty", price as "select" from sale;
