"""Rows of Python objects: of every type, next to what psycopg makes of the same value."""

import datetime
import math
import pickle
import threading
import uuid
from datetime import date, time, timedelta, timezone
from decimal import Decimal

import psycopg
import pytest

import merganser
from merganser import Range

UTC = timezone.utc


@pytest.fixture(scope="module")
def row_of(topology):
    """What a row holds for an expression."""
    with merganser.connect(topology) as con:

        def of(expression, **options):
            return con.cursor().execute(f"select {expression}", **options).fetchone()[0]

        yield of


@pytest.fixture(scope="module")
def psycopg_row_of(one_url):
    with psycopg.connect(one_url, autocommit=True) as other:
        other.execute("set timezone = 'UTC'")

        def of(expression):
            return other.execute(f"select {expression}").fetchone()[0]

        yield of


# --- as psycopg 3 ---------------------------------------------------------------------------------

SAME = [
    "true", "false", "null::bool",
    "(-32768)::int2", "32767::int2", "(-2147483648)::int4", "9223372036854775807", "(-9223372036854775808)::int8",
    "4294967295::oid",
    "0.1::float8", "'-0'::float8", "'infinity'::float8", "'-infinity'::float8", "1e300::float8", "5e-324::float8",
    "0.1::float4", "16777217::float4", "3.4e38::float4", "1e-45::float4", "'infinity'::float4", "1e23::float8",
    "0::numeric", "1.50", "-0.00012300", "1e50::numeric", "'-infinity'::numeric", "'infinity'::numeric",
    "1.5::numeric(10,3)", "12345678901234567890123456789012345678901234567890.5::numeric(60,2)", "120::numeric(3,-1)",
    "0.00012::numeric(3,5)", "repeat('9', 1000)::numeric",
    "''", "'Ärger \"x\" \\'", "'a'::varchar(3)", "'ab'::char(5)", "'n'::name", "'🦆'", "'x'::\"char\"",
    "'<a/>'::xml",
    "'\\x'::bytea", "'\\x00ff'::bytea",
    "date '0001-01-01'", "date '1969-12-31'", "date '2024-02-29'", "date '9999-12-31'",
    "time '00:00'", "time '23:59:59.999999'",
    "timetz '12:34:56.5+02'", "timetz '00:00-15:59:59'", "timetz '12:00+05:30'",
    "timestamp '0001-01-01'", "timestamp '1969-12-31 23:59:59.999999'", "timestamp '9999-12-31 23:59:59.999999'",
    "timestamptz '2024-02-29 12:34:56.789012+02'", "timestamptz '0001-01-01 00:00+00'",
    "timestamptz '9999-12-31 23:59:59.999999+00'",
    "interval '0'", "interval '3 days 04:05:06.000007'", "interval '-1 day +2 hours'", "interval '-00:00:00.000001'",
    "interval '100000 days'",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "'{\"a\": [1, -2.5, null, true, \"x\\u00e9\"], \"b\": {}}'::json", "'null'::jsonb", "'1e3'::jsonb", "'[]'::json",
    "'\"text\"'::jsonb", "'12345678901234567890123'::json",
    "'{1,NULL,3}'::int4[]", "'{}'::int4[]", "'{1.50,NaN}'::numeric[]",
    "array['a', 'b\"', null, '']", "'{2024-01-01}'::date[]", "array['\\x00'::bytea]", "array[true, null]",
    "array[timestamptz '2024-01-01 00:00+00']", "array[interval '1 day']", "array['{\"a\": 1}'::jsonb]",
    "array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]", "'happy'::mood",
    "'101'::bit(3)", "'101'::varbit", "'0/16B3748'::pg_lsn", "'08:00:2b:01:02:03'::macaddr",
    "'(1,2)'::point", "12.34::money", "'a & b'::tsquery", "'a b'::tsvector", "'$.a'::jsonpath",
    "'1 2'::int2vector::text",
]  # fmt: skip


@pytest.mark.parametrize("expression", SAME)
def test_a_value_is_that_of_psycopg(row_of, psycopg_row_of, expression):
    ours, theirs = row_of(expression), psycopg_row_of(expression)
    assert repr_of(ours) == repr_of(theirs)


def repr_of(value):
    """Tells 1 from 1.0 from True, -0.0 from 0.0, NaN from NaN no more, and instants by UTC."""
    if isinstance(value, list):
        return [repr_of(item) for item in value]
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return "instant", value.astimezone(UTC).replace(tzinfo=None)
    return type(value), repr(value)


@pytest.mark.parametrize(
    ("expression", "theirs_to_ours"),
    [
        ("int4range(1, 5)", lambda r: Range(r.lower, r.upper, r.bounds)),
        ("numrange(1.5, null, '()')", lambda r: Range(r.lower, r.upper, r.bounds)),
        ("numrange(null, null)", lambda r: Range(r.lower, r.upper, r.bounds)),
        ("tsrange('2024-01-01', '2024-01-02', '[]')", lambda r: Range(r.lower, r.upper, r.bounds)),
        (
            "daterange('2024-01-01', '2024-01-02', '[]')",
            lambda r: Range(r.lower, r.upper, r.bounds),
        ),
        ("'empty'::int4range", lambda r: Range(None, None, "", r.isempty)),
        (
            "array[int4range(1, 5), null]",
            lambda rs: [Range(rs[0].lower, rs[0].upper, rs[0].bounds), None],
        ),
        (
            "'{[1,3),[5,7)}'::int4multirange",
            lambda rs: [Range(r.lower, r.upper, r.bounds) for r in rs],
        ),
        ("'{}'::nummultirange", list),
        ("'10.0.0.1/8'::inet", str),
        ("'10.0.0.0/8'::cidr", str),
    ],
)
def test_a_value_is_that_of_psycopg_in_a_class_of_ours(
    row_of, psycopg_row_of, expression, theirs_to_ours
):
    ours = row_of(expression)
    expected = theirs_to_ours(psycopg_row_of(expression))
    assert ours == expected
    assert type(ours) is type(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'NaN'::numeric", "Decimal('NaN')"),
        ("'NaN'::float8", "nan"),
        ("array['NaN'::float4]", "[nan]"),
    ],
)
def test_not_a_number(row_of, expression, expected):
    assert repr(row_of(expression)) == expected


@pytest.mark.parametrize(
    "expression",
    ["sum(n)", "1.10::numeric", "'NaN'::numeric", "10::numeric ^ 20", "1.5::numeric(10,3)", "'{1.50}'::numeric[]"],
)
def test_rows_of_a_query_are_those_of_a_cursor(topology, expression):
    sql = f"select {expression} from generate_series(1, 3) n group by ()"
    with merganser.connect(topology) as con:
        rows = con.sql(sql).rows()
        assert repr(rows) == repr(con.cursor().execute(sql).fetchall())
        # What is asked for holds.
        assert con.sql("select 1.5::numeric", numeric="float64").rows() == [(1.5,)]


# --- otherwise than psycopg 3, and why ------------------------------------------------------------


def test_timestamptz_is_in_utc(row_of):
    moment = row_of("timestamptz '2024-07-01 12:00+02'")
    assert moment == datetime.datetime(2024, 7, 1, 10, tzinfo=UTC)
    assert moment.tzinfo is UTC


def test_a_composite_is_a_named_tuple(row_of):
    value = row_of("row(7, 'x, \"y\"')::pair")
    assert value == (7, 'x, "y"')
    assert (value.number, value.word) == (7, 'x, "y"')
    assert pickle.loads(pickle.dumps(value)) == value
    assert row_of("array[row(1, null)::pair, null]") == [(1, None), None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.1", 1.1),
        ("0.12345678901234567", Decimal("0.12345678901234567")),
        ("0.1234567890123456", 0.1234567890123456),
        ("1e400", Decimal("1e400")),
        ("1E-5", 1e-05),
        ("1e-400", Decimal("1e-400")),
        ("0.0", 0.0),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_numbers_in_json_lose_no_digit(row_of, text, expected):
    """psycopg rounds them to a float, as the json of Python does."""
    value = row_of(f"'{{\"a\": [{text}]}}'::json")["a"][0]
    assert value == expected
    assert type(value) is type(expected)


def test_xid_is_a_number(row_of):
    assert row_of("'7'::xid") == 7
    assert row_of("'18446744073709551615'::xid8") == 2**64 - 1


def test_what_is_unknown_is_text(row_of):
    assert row_of("'(0,0),(1,1)'::box") == "(1,1),(0,0)"
    assert row_of("row(1, 'x')") == "(1,x)"
    assert row_of("array['1.2.3.4'::inet]") == ["1.2.3.4"]


def test_an_array_of_enums_is_a_list(row_of):
    """psycopg knows no such type, and gives the text."""
    assert row_of("array['sad', null]::mood[]") == ["sad", None]


def test_dimensions_are_those_that_a_column_declares(con):
    assert con.cursor().execute("select arr2 from everything order by id").fetchall() == [
        ([["a", "b"], ["c", "d"]],),
        (None,),
    ]
    with pytest.raises(
        merganser.DataError, match="an array of 2 dimensions in a column of 1"
    ) as raised:
        con.cursor().execute("select '{{1,2},{3,4}}'::int8[]").fetchall()
    assert "::text" in raised.value.hint


def test_interval_in_an_array_and_days_stay_days(row_of):
    assert row_of("array[interval '1 day', interval '24 hours']") == [timedelta(days=1)] * 2


# --- what Python cannot hold ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("interval '1 month' as x", "an interval with months", '"x"::text'),
        ("interval '1 year' as x", "an interval with months", '"x"::text'),
        ("array[interval '1 month'] as x", "an interval with months", '"x"::text'),
        ("interval '2000000000 days' as x", "an interval longer than a timedelta", '"x"::text'),
        ("date '10000-01-01' as x", "outside of the years 1 to 9999", '"x"::text'),
        ("date '0001-12-31 BC' as x", "outside of the years 1 to 9999", '"x"::text'),
        ("timestamp '294246-01-01' as x", "outside of the years 1 to 9999", '"x"::text'),
        ("timestamptz '10000-01-01 00:00+00' as x", "outside of the years 1 to 9999", '"x"::text'),
        ("timestamp '4713-01-01 BC' as x", "outside of the years 1 to 9999", '"x"::text'),
        ("timetz '24:00+00' as x", "Python does not read as a time of day", '"x"::text'),
        ("date 'infinity' as x", "infinity", None),
        ("timestamp '-infinity' as x", "infinity", None),
        ("time '24:00' as x", "24:00", None),
    ],
)
def test_a_value_that_python_cannot_hold(topology, expression, message, hint):
    with merganser.connect(topology) as con, pytest.raises(merganser.DataError) as raised:
        con.cursor().execute(f"select {expression}").fetchall()
    assert message in str(raised.value)
    assert '"x"' in str(raised.value)
    assert raised.value.hint
    assert hint is None or hint in raised.value.hint


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(date 'infinity')::text", "infinity"),
        ("(interval '1 month')::text", "1 mon"),
        ("(timestamp '294246-01-01')::text", "294246-01-01 00:00:00"),
        ("extract(epoch from interval '1 month')", Decimal("2592000.000000")),
    ],
)
def test_the_cure_helps(row_of, expression, expected):
    assert row_of(expression) == expected


def test_options_for_what_cannot_be_held(row_of):
    assert row_of("date 'infinity'", unrepresentable="text") == "infinity"
    assert row_of("date 'infinity'", unrepresentable="null") is None
    assert row_of("1.5::numeric", numeric="float64") == 1.5
    assert row_of("1.5::numeric", numeric="decimal(10,3)") == Decimal("1.500")


def test_a_json_that_is_nested_too_deep_is_an_error(topology):
    with merganser.connect(topology) as con, pytest.raises(merganser.DataError, match="JSON"):
        con.cursor().execute(
            "select (repeat('[', 5000) || repeat(']', 5000))::json as x"
        ).fetchall()


# --- columns and batches --------------------------------------------------------------------------


def test_every_type_from_a_table(con, one_url):
    """Several batches of sharded rows, NULLs among them."""
    ours = con.cursor().execute("select * from everything order by id").fetchall()
    with psycopg.connect(one_url) as other:
        theirs = other.execute("select * from everything order by id").fetchall()
    assert len(ours) == len(theirs) == 2
    assert ours[1] == theirs[1]
    assert set(ours[1][1:]) == {None}
    for mine, other_value in zip(ours[0], theirs[0], strict=True):
        if isinstance(mine, (Range, merganser.types.Range)):
            assert mine[:3] == (other_value.lower, other_value.upper, other_value.bounds)
        elif isinstance(mine, list) and mine and isinstance(mine[0], Range):
            assert [item.lower for item in mine] == [item.lower for item in other_value]
        elif type(mine) is not type(other_value):
            # A composite and an inet.
            assert isinstance(mine, tuple) or mine == str(other_value)
        else:
            assert mine == other_value


def test_rows_in_batches_of_any_size(con):
    sql = "select id, name, amount, at from items order by id"
    all_rows = con.cursor().execute(sql).fetchall()
    assert len(all_rows) == 300
    for size in (1, 7, 1000):
        assert con.cursor().execute(sql, batch_rows=size).fetchall() == all_rows


@pytest.mark.parametrize(
    "sql",
    [
        "select id, amount * 2 as x from items order by x desc nulls last, id",
        "select amount / 7 as x, count(*) from items group by 1 order by x limit 50",
        "select max(amount * 2), min(amount / 3), sum(amount), avg(amount) from items",
        "select distinct amount * 2 as x from items where id < 20 order by 1",
        "select id from items where amount * 2 > 99 order by id",
        "select kind, sum(amount * 1.10) as s from items group by kind having sum(amount) > 1 order by s",
    ],
)
def test_numbers_are_merged_as_numbers(con, one_url, sql):
    """Although they travel as text: 9 comes before 10, and no scale is lost."""
    ours = con.cursor().execute(sql).fetchall()
    with psycopg.connect(one_url) as other:
        theirs = other.execute(sql).fetchall()
    assert repr(ours) == repr(theirs)


def test_no_columns_and_no_rows(con):
    assert con.cursor().execute("select from items where id < 3").fetchall() == [(), (), ()]
    assert con.cursor().execute("select id from items where false").fetchall() == []


def test_columns_of_one_name_are_all_there(con):
    assert con.cursor().execute("select 1 as a, 2 as a").fetchall() == [(1, 2)]


def test_rows_do_not_hold_the_result(con):
    cursor = con.cursor()
    row = cursor.execute("select name, array[id] from items where id = 5").fetchone()
    cursor.close()
    assert row == ("item 5", [5])


def test_rows_are_made_by_several_threads_at_once(con):
    expected = con.cursor().execute("select * from items order by id").fetchall()
    found = []

    def read():
        found.append(con.cursor().execute("select * from items order by id").fetchall())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


# --- Range ----------------------------------------------------------------------------------------


def test_a_range_knows_what_it_holds():
    assert [1 in Range(1, 5), 5 in Range(1, 5), 5 in Range(1, 5, "[]"), 1 in Range(1, 5, "(]")] == [
        True,
        False,
        True,
        False,
    ]
    assert 10**9 in Range(1) and -5 in Range(None, 0) and 0 not in Range(None, 0)
    assert 1 not in Range(empty=True, bounds="") and None not in Range()
    assert Range(1, 5).lower_inc and not Range(1, 5).upper_inc
    assert not Range(None, 5, "[]").lower_inc and Range(None, 5, "[]").upper_inc
    assert bool(Range(1, 2)) and not Range(empty=True)
    assert pickle.loads(pickle.dumps(Range(1, 2))) == Range(1, 2)


def test_equal_objects_are_what_they_seem(row_of):
    assert row_of("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid") == uuid.UUID(
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    )
    assert row_of("time '01:02:03.000004'") == time(1, 2, 3, 4)
    assert row_of("date '2024-02-29'") == date(2024, 2, 29)
    assert math.copysign(1, row_of("'-0'::float8")) == -1
