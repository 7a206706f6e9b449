-- Functions whose value depends on when and where they run.

-- trap 20
select count(*), count(distinct now()), count(distinct current_date) from sale;

-- trap 20
select count(*) from sale where at < now() and day < current_date and at < current_timestamp and day < localtimestamp;

-- trap 20
select bool_and(now() = current_timestamp), bool_and(now()::date = current_date), bool_and(transaction_timestamp() = now()) from sale;

-- trap 20: one instant in all parts of the query
select count(*) from (select now() as t from sale union select now() from item union select now() from region) x;

-- trap 20
select count(distinct t) from (select n, now() as t from visit union all select id, current_timestamp from sale) x;

-- trap 20
select count(*) from sale where at between now() - interval '100 years' and now();

-- trap 20
select count(*) from sale where day < 'now'::date and at < 'today'::timestamptz;

-- trap 20: literals that the columns beside them make dates
select count(*) from sale where day < 'now' and 'today' > at and day not in ('today', 'tomorrow') and day + 1 < 'tomorrow';

-- trap 20
select current_setting('TimeZone'), current_setting('DateStyle'), count(*) from sale;

-- trap 20
select current_setting('TimeZone') = 'Europe/Vienna' as here, count(*) from sale group by 1;

select count(*) from sale where current_user is not null and session_user = current_user;

select count(*) from sale where current_schema() = 'public' and 'public' = any (current_schemas(false));

-- may be refused: random
-- trap 20
select count(*) from sale where random() < 2;

-- may be refused: random
-- trap 20
select count(*), count(distinct r) > 900 from (select random() as r from sale) x;

-- may be refused: random
-- subset of: select id from sale
select id from sale order by random() limit 0;

-- may be refused: clock_timestamp
-- trap 20
select count(*) from sale where clock_timestamp() > at;

-- may be refused: gen_random_uuid
-- trap 20
select count(distinct gen_random_uuid()) from sale;

-- arm: single
-- may be refused: random
select random() < 2, gen_random_uuid() is not null, clock_timestamp() is not null;

-- may be refused: random
select count(*) from region where random() < 2;

-- a STABLE function of the user's that reads nothing
-- arm: combine
select sum(tax(price)) from sale;

-- arm: union | ordered
select id, tax(price) from sale where id < 30;

-- refused: sale_count
-- trap 14: a STABLE function may read a table of which the shard has a part
select id, sale_count() from sale where id < 3;

-- refused: sale_count
select sale_count() from region limit 1;

-- refused: noisy
-- trap 20
select noisy(qty) from sale;

-- refused: noisy
select count(*) from sale where noisy(qty) > 3;

-- may be refused: noisy
select noisy(id) from region;

-- refused: nextval
-- trap 20
select nextval('ticket') from sale;

-- IMMUTABLE functions of the user's
-- arm: union
select id, twice(qty), slug(city) from sale;

select sum(twice(qty)), max(slug(note)) from sale;

select id from sale where ratio ~~~ 0.15;

select s.id, p from sale s, parts(s.qty) p where s.id < 20;

-- refused: version
select version() is not null, count(*) from sale;

select pg_typeof(now()), pg_typeof(current_date), pg_typeof(localtime), pg_typeof(current_timestamp(2)), count(*) from sale;

select age(timestamp '2024-01-01', day::timestamp), id from sale where id < 9;

select count(*) from sale where age(day) > interval '1 day';

-- trap 21
select id, to_char(at, 'HH24:MI TZ'), at::text, at::timestamp, extract(hour from at), at::time from sale where id < 20;

-- trap 21
select count(*) from sale where at::date = '2024-01-05' or at < '2024-01-02 03:00';

-- trap 21
select id, timestamptz '2024-07-01 12:00', '2024-07-01'::timestamptz, at at time zone 'Asia/Tokyo' from sale where id < 5;
