-- Expressions: PostgreSQL's own meaning, wherever they run.

-- trap 25
select id, qty / 4, qty % 4, -qty / 4, qty::numeric / 4, qty / 4.0, qty::float8 / 4 from sale where id < 30;

-- trap 25
select 7 / 2, -7 / 2, -7 % 3, 7.0 / 2, 2 ^ 10, 2 ^ 0.5 from sale where id = 1;

-- trap 25
select id, note || '-' || code, note || null, concat(note, '-', code), concat_ws('-', note, code) from sale where id < 30;

-- trap 25
select id from sale where note like 'note 1%' and note ~ '[0-5]$' and note !~* 'NOTE 13';

select id from sale where city ilike '%OSL%' or city similar to '(z|Z)%';

select id from sale where code between 'a' and 'b' or code > 'z';

select id from sale where city > 'oslo' and city < 'zagreb';

select id from sale where not qty > 3 and not paid is true or kind = 'ok' and id < 10;

select id from sale where paid is distinct from true and qty is not null and (paid or qty > 5) is unknown;

select id, qty between symmetric 9 and 2, qty not in (1, null), qty in (3, null), null = qty from sale where id < 20;

select id, case qty when 1 then 'one' when 2 then 'two' end, case when paid then 1 when kind = 'ok' then 2.5 end from sale where id < 30;

select id, coalesce(qty, id), nullif(kind, 'ok'), greatest(qty, 3, null), least(day, '2024-06-01') from sale where id < 30;

select id, day + 1, day - interval '1 month', day - date '2024-01-01', extract(doy from day), date_part('week', day) from sale where id < 30;

select id, at + interval '1 mon', at - timestamptz '2024-01-01', date_trunc('month', at, 'UTC'), age(at, '2023-01-01') from sale where id < 20;

select id, substring(note from 1 for 4), substring(note from '[0-9]+'), position('1' in note), overlay(note placing 'X' from 1 for 2), trim(both 'n' from note), left(note, 3) from sale where id < 30;

select id, upper(city), initcap(city), length(city), reverse(city), lpad(code, 3, '*'), translate(city, 'oe', '01'), md5(note) from sale where id < 30;

select id, round(price, 1), round(price), trunc(price / 7, 3), ceil(price), floor(price), abs(price), sign(price), mod(qty, 4), power(qty, 2), sqrt(abs(qty)) from sale where id < 40;

-- trap 3
select id, ratio * 3, ratio + factor, factor * 2.5, factor / 3, exp(factor), ln(abs(factor) + 1) from sale where id < 60;

select id, price * rate, price / nullif(rate, 0), rate + 1, -rate, rate * 1.00 from sale where id < 60;

select id, price::int4, price::text, qty::text::int2, day::text, paid::int4, kind::text, ratio::numeric, factor::float8 from sale where id < 30;

select id, status || '|', status = 'new', status = 'new  ', status::text = 'new ', length(status), status like 'new%' from sale where id < 12;

select id, tag = 'RED', tag <> 'blue', tag collate "C" = 'Red', tag || '' from sale where id < 12;

select id, kind < 'happy', kind = any (enum_range('ok'::mood, 'happy'::mood)), enum_first(kind) from sale where id < 12;

select id, array[qty, 1], array[qty] || 5, (array[3, 4, qty])[3], array_length(array[id, qty], 1), array[[1, qty], [2, 3]] from sale where id < 12;

select id, row(qty, kind), (row(id, qty)) = row(3, 18), row(qty, note) < row(5, 'x'), (id, qty) is null from sale where id < 12;

select id, qty is null, qty isnull, (qty > 3) is true, (paid) is not false, not paid, paid and null, paid or null from sale where id < 20;

select doc ->> 'k', doc -> 'l' -> 0, doc #>> '{l,1}', doc ? 'k', doc @> '{"k": 1}', jsonb_typeof(doc), doc || '{"z": 1}' from reading where jsonb_typeof(doc) = 'object' and device = 'dev-7';

select device, seq, tags[1], 'x' = any (tags), tags @> '{x}', array_to_string(tags, '+', 'null'), cardinality(tags) from reading where device in ('dev-1', 'dev-2');

select n, ip, host(ip), masklen(ip), network(ip), ip <<= '10.0.1.0/24', fee * 2, fee / '$1.00', span * 2, justify_days(span) from visit where n < 40;

select id, extract(epoch from at), to_char(price, '9990.99'), to_char(day, 'Mon DD'), to_date('2024' || lpad(qty::text, 3, '0'), 'YYYYDDD') from sale where id < 20 and qty > 0;

select operator(pg_catalog.-) id, id operator(pg_catalog.+) 1, @ qty, |/ 4.0, qty << 2, qty # 5, ~qty, qty & 3 | 8 from sale where id < 12;

select id, not qty = 3 is null, 2 + qty * 3 ^ 2 - -1, -2 ^ 2, (-2) ^ 2, 'a' || 1 + 1, qty <> all (array[1, 2]) and true or false from sale where id < 12;

select id, e'tab\there', $$dollar 'quoted'$$, $t$a $$ b$t$, u&'\00e9', b'101', x'1F', N'x', 'two '
'parts' from sale where id = 1;

select id, 'it''s', "sale"."note", sale.note as "A ""b""", 1e3, .5, 5., 1.50, 00012, 12345678901234567890 from sale where id < 3;

select interval '1 day 2:03', interval '1' month, interval '1-2' year to month, date '2024-02-29' - 1 from sale where id = 1;

select id::int4 % 3 = 0 as third, count(*), count(*) filter (where qty is null) from sale group by 1;

select coalesce(max(qty), 0) + coalesce(min(qty), 0), sum(qty) > 5 and count(*) > 3, not bool_or(paid), -sum(qty), sum(qty)::text || '%' from sale;

select kind, extract(days from max(day) - min(day)::timestamp), date_trunc('month', min(day)), to_char(avg(price), 'FM9990.00'), md5(string_agg(id::text, ',' order by id)) from sale group by kind;

-- error: 22012
select id, 1 / (qty - qty) from sale where id = 5;

-- error: 22012
-- trap 28, shipped 15
select id, 100 / (id - 500) from sale;

-- error: 22P02
-- trap 28
select note::int4 from sale;

-- error: 22003
select (id * 1000000000000000000)::int8 from sale;

-- error: 42883
select price + note from sale;

select count(*) from sale where id > 0 and 100 / nullif(id - 500, 0) is null;

select id from sale where true;

select id from sale where false;

select id from sale where null;

select count(*) from sale where 1 = 1 and 'a' < 'b';

select id is not null, sale is null, sale.* is not null from sale where id < 5;

select (sale).id, (s).note from sale, (select note from sale where id = 3) s where id < 3;

select s from (select id, qty from sale where id < 5) s;

select s.s from (select id as s, qty from sale where id < 5) s;

select to_jsonb(s) from (select id, kind, price, at from sale where id < 5) s;

select row_to_json(c) from customer c where id < 4;

select jsonb_build_object('a', sum(qty), 'b', array_agg(distinct kind order by kind)) from sale;

select count(s), count(s.*), count((s.id, s.qty)) from sale s;

select make_interval(days => qty), make_date(2024, month => 1, day => greatest(qty, 1)) from sale where id < 12 and qty < 28;

select format('%2$s %1$s', id, kind), variadic_is_fine from sale, lateral (select concat_ws(',', variadic array[note, code])) v (variadic_is_fine) where id < 12;

select unnest(array[id, qty]), generate_series(1, 2) from sale where id < 6;

select id, unnest(array[qty, 2]) as u from sale where id < 9 order by id, u;

select count(*), generate_series(1, 3) from sale;

select regexp_replace(note, '(\d)(\d)', '\2\1', 'g'), string_to_array(note, ' '), split_part(note, ' ', 2) from sale where id < 20;

select width_bucket(price, 0, 1000, 4) as bucket, count(*) from sale group by bucket order by bucket;

select num_nulls(qty, price, note), count(*) from sale group by 1 order by 1;
