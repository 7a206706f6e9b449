"""Parameters: placeholders, texts and types, and that the server reads back what was given."""

import datetime
import decimal
import enum
import uuid
from datetime import date, time, timedelta, timezone
from decimal import Decimal

import numpy
import pandas
import polars
import psycopg
import pyarrow
import pytest

import merganser
from merganser import Range
from merganser.params import ParameterError, adapt, numbered, pyformat, to_text

# --- placeholders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "params", "expected", "texts"),
    [
        ("select 1", [], "select 1", []),
        ("select %s", ["x"], "select $1", ["x"]),
        ("select %s, %s", [1, None], "select ($1::int4), $2", ["1", None]),
        ("select %(a)s, %(b)s, %(a)s", {"b": "y", "a": "x"}, "select $1, $2, $1", ["x", "y"]),
        ("select %(a b)s", {"a b": "x", "unused": object()}, "select $1", ["x"]),
        ("select 7 %% 4, %s", ["x"], "select 7 % 4, $1", ["x"]),
        ("select %%s", [], "select %s", []),
        ("select %%%s", ["x"], "select %$1", ["x"]),
        ("select %b, %t", [b"\0", "x"], "select ($1::bytea), $2", ["\\x00", "x"]),
        # As in psycopg 3, a string or a comment is no shelter.
        ("select '%s'", ["x"], "select '$1'", ["x"]),
        ("select 1 -- %%", [], "select 1 -- %", []),
        ("select %s", {"a": 1}, None, None),
        ("", [], "", []),
    ],
)
def test_placeholders(sql, params, expected, texts):
    if expected is None:
        with pytest.raises(ParameterError):
            pyformat(sql, params)
    else:
        assert pyformat(sql, params) == (expected, texts)


@pytest.mark.parametrize("sql", ["select 7 % 4", "select '100%'", "select %s, %d", "%"])
def test_without_parameters_the_sql_is_left_alone(sql):
    assert pyformat(sql, None) == (sql, [])


@pytest.mark.parametrize(
    ("sql", "params", "message", "hint"),
    [
        ("select %d", [1], "'%d' is no placeholder at line 1, column 8", "%s and %(name)s"),
        ("select\n 1, %(a)d", {"a": 1}, "at line 2, column 5", "%s and %(name)s"),
        ("select 7 % 4", [], "incomplete placeholder '% ' at line 1, column 10", "%%"),
        ("select 100%", [], "incomplete placeholder '%'", "%%"),
        ("select %(a", {"a": 1}, "incomplete placeholder", "%%"),
        ("select %s, %(a)s", [1], "cannot be mixed", None),
        ("select %s", [], "1 placeholder, and 0 values came", None),
        ("select %s", [1, 2], "1 placeholder, and 2 values came", None),
        ("select $1", [1], "0 placeholders, and 1 value came", "$1 is for con.sql"),
        ("select %(a)s, %(b)s", {}, "no value for the placeholder 'a', 'b'", None),
        ("select %(a)s", [1], "need a mapping", "{'name': value}"),
        ("select %s", {"a": 1}, "%s needs a list", "%(name)s"),
        ("select %s", "x", "parameters are a list, not a str", "[value]"),
        ("select %s", 5, "parameters are a list, not an int", "[value]"),
        (b"select 1", None, "SQL is a str", "decode"),
    ],
)
def test_wrong_placeholders_are_errors_with_a_cure(sql, params, message, hint):
    with pytest.raises(ParameterError) as raised:
        pyformat(sql, params)
    assert message in str(raised.value)
    assert hint is None or hint in raised.value.hint
    assert isinstance(raised.value, TypeError) and isinstance(
        raised.value, merganser.ProgrammingError
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select $1", "select ($1::int4)"),
        ("select $1::text, $2, $3", "select ($1::int4)::text, $2, $3"),
        ("select '$1', \"$1\", E'\\'$1', e'$1'", None),
        ("select 'it''s $1', $1", "select 'it''s $1', ($1::int4)"),
        ("select 1 -- $1\n, $1", "select 1 -- $1\n, ($1::int4)"),
        ("select /* $1 /* $1 */ $1 */ $1", "select /* $1 /* $1 */ $1 */ ($1::int4)"),
        (
            "select $$ $1 $$, $a$ $1 $b$ $1 $a$, $1",
            "select $$ $1 $$, $a$ $1 $b$ $1 $a$, ($1::int4)",
        ),
        ("select a$1, é$1", None),
        ("select nameE'\\', $1", "select nameE'\\', ($1::int4)"),
        ("select $0, $9", None),
        ("select /* $1", None),
        ("select '$1", None),
        ("select 1 where $1=$1", "select 1 where ($1::int4)=($1::int4)"),
    ],
)
def test_numbers_get_types_only_where_they_are_parameters(sql, expected):
    assert numbered(sql, [1, "x"]) == (sql if expected is None else expected, ["1", "x"])


def test_numbered_parameters_are_a_list():
    assert numbered("select $1", None) == ("select $1", [])
    with pytest.raises(ParameterError, match="not a mapping"):
        numbered("select $1", {"a": 1})


# --- values ---------------------------------------------------------------------------------------

CEST = timezone(timedelta(hours=2))


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    A = 1


@pytest.mark.parametrize(
    ("value", "text", "sql_type"),
    [
        (None, None, None),
        (True, "true", "bool"),
        (5, "5", "int4"),
        (-(2**31), "-2147483648", "int4"),
        (2**31, "2147483648", "int8"),
        (2**63, "9223372036854775808", "numeric"),
        (Level.HIGH, "3", "int4"),
        (0.1, "0.1", "float8"),
        (float("nan"), "NaN", "float8"),
        (float("-inf"), "-Infinity", "float8"),
        (Decimal("1.50"), "1.50", "numeric"),
        (Decimal("sNaN"), "NaN", "numeric"),
        (Decimal("-Infinity"), "-Infinity", "numeric"),
        ("it's", "it's", None),
        (Colour.RED, "red", None),
        (b"\x00\xff", "\\x00ff", "bytea"),
        (bytearray(b"a"), "\\x61", "bytea"),
        (memoryview(b"a"), "\\x61", "bytea"),
        (date(2024, 2, 29), "2024-02-29", "date"),
        (time(1, 2, 3, 4), "01:02:03.000004", "time"),
        (time(1, 2, tzinfo=CEST), "01:02:00+02:00", "timetz"),
        (datetime.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02 03:04:05", "timestamp"),
        (datetime.datetime(2024, 1, 2, tzinfo=CEST), "2024-01-02 00:00:00+02:00", "timestamptz"),
        (timedelta(days=-1, seconds=1, microseconds=5), "-1 days +1.000005 seconds", "interval"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", "uuid"),
        (Range(1, 5), '["1","5")', None),
        (Range(None, 'a"b', "(]"), '(,"a\\"b"]', None),
        (Range(empty=True), "empty", None),
        ([], "{}", None),
        ([None], "{NULL}", None),
        ([1, 2**40, None], "{1,1099511627776,NULL}", "int8[]"),
        ([1, Decimal("2.5")], "{1,2.5}", "numeric[]"),
        ([1, 2.5], "{1,2.5}", "float8[]"),
        ([0.5, float("nan")], "{0.5,NaN}", "float8[]"),
        ([True, False], "{true,false}", "bool[]"),
        (["a", 'b"\\', "", "NULL", None], '{"a","b\\"\\\\","","NULL",NULL}', None),
        ([b"a"], '{"\\\\x61"}', "bytea[]"),
        ([date(2024, 1, 1)], '{"2024-01-01"}', "date[]"),
        ([[1, 2], [3, 4]], "{{1,2},{3,4}}", "int4[]"),
        ([[[1]], [[2]]], "{{{1}},{{2}}}", "int4[]"),
        (numpy.int64(7), "7", "int4"),
        (numpy.float32(0.5), "0.5", "float8"),
        (numpy.bool_(True), "true", "bool"),
        (numpy.str_("x"), "x", None),
        (numpy.datetime64("2024-01-02T03:04:05"), "2024-01-02 03:04:05", "timestamp"),
        (numpy.datetime64("NaT"), None, None),
        (pandas.Timestamp("2024-01-02", tz="UTC"), "2024-01-02 00:00:00+00:00", "timestamptz"),
        (pandas.NaT, None, None),
        (pandas.NA, None, None),
        (pandas.Timedelta(seconds=1), "0 days +1.000000 seconds", "interval"),
    ],
)
def test_text_and_type(value, text, sql_type):
    assert adapt(value) == (text, sql_type)
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ((1, 2), "a tuple", "= ANY(%s) with a list"),
        ({"a": 1}, "a dict", "json.dumps"),
        ({1, 2}, "a set", "list(value)"),
        (range(3), "a range", "list(value)"),
        (iter([1]), "iterator", "list(value)"),
        (object(), "an object", "str(value)"),
        (Plain.A, "Plain", "member.value"),
        (1j, "complex", "str(value)"),
        ([1, "a"], "several types", "convert"),
        ([0.5, Decimal(1)], "several types", "convert"),
        ([[1], [2, 3]], "lists of 1 and of 2", "pad with None"),
        ([[1], 2], "both beside each other", None),
        ([1, [2]], "a list", None),
        ([(1, 2)], "a tuple", None),
        (pandas.DataFrame({"a": [1]}), "is a table", "one column"),
        (
            time(1, tzinfo=__import__("zoneinfo").ZoneInfo("Europe/Berlin")),
            "depends on a day",
            "fixed offset",
        ),
    ],
)
def test_what_is_no_parameter_is_an_error_with_a_cure(value, message, hint):
    with pytest.raises(ParameterError) as raised:
        adapt(value)
    assert message in str(raised.value)
    assert hint is None or hint in raised.value.hint


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a\0b", "NUL"),
        (["a\0b"], "NUL"),
        ("\ud800", "no Unicode text"),
        (pandas.Timestamp("2024-01-01 00:00:00.000000001"), "nanoseconds"),
        (pandas.Timedelta(1, "ns"), "nanoseconds"),
        (numpy.datetime64(1, "ns"), "microseconds"),
    ],
)
def test_values_that_postgresql_cannot_hold(value, message):
    with pytest.raises(merganser.DataError, match=message):
        adapt(value)


def test_an_error_tells_which_parameter():
    with pytest.raises(ParameterError, match=r"^parameter 2: cannot pass a tuple"):
        pyformat("select %s, %s", [1, (1, 2)])


# --- as the server reads them ---------------------------------------------------------------------

VALUES = [
    True,
    5,
    2**40,
    2**70,
    0.1,
    float("inf"),
    Decimal("1.50"),
    Decimal("1E+3"),
    b"\x00'\\",
    date(1, 1, 1),
    date(9999, 12, 31),
    time(23, 59, 59, 999999),
    time(1, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    datetime.datetime(1, 1, 1),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=CEST),
    timedelta(days=-1, seconds=1, microseconds=5),
    timedelta(days=3),
    uuid.UUID(int=5),
    [1, None, 3],
    [Decimal("1.5"), None],
    [b"a\\"],
    [date(2024, 1, 1), None],
    [datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=CEST)],
    [timedelta(hours=-1)],
    [uuid.UUID(int=5)],
    [True, False, None],
    [0.5, float("-inf")],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_with_psycopg(con, one_url, value):
    ours = con.cursor().execute("select %s, pg_typeof(%s)::text", [value, value]).fetchone()
    with psycopg.connect(one_url) as other:
        theirs = other.execute("select %s, pg_typeof(%s)::text", [value, value]).fetchone()
    assert ours[0] == value
    assert ours[0] == theirs[0]
    # A Python int is what the same number is in SQL; psycopg takes the smallest type.
    assert ours[1].removesuffix("[]") == theirs[1].removesuffix("[]").replace("smallint", "integer")


@pytest.mark.parametrize("value", ["", "it's \\ % 🦆", "$1", "a\nb"])
def test_a_string_comes_back(con, value):
    assert con.cursor().execute("select %s", [value]).fetchone() == (value,)


def test_an_array_of_dimensions_comes_back(con):
    """Of an array that is no column the dimensions are not known; its text tells them."""
    value = [[1, 2], [3, None]]
    assert con.cursor().execute("select %s::text", [value]).fetchone() == ("{{1,2},{3,NULL}}",)
    assert con.cursor().execute("select (%s)[2][1]", [value]).fetchone() == (3,)


def test_strings_take_the_type_of_what_stands_beside_them(con):
    row = (
        con.cursor()
        .execute(
            "select date '2024-01-01' = %s, 5 = %s, array['a', 'b'] = %s, %s::jsonb",
            ["2024-01-01", "5", ["a", "b"], '{"a": 1}'],
        )
        .fetchone()
    )
    assert row == (True, True, True, {"a": 1})


def test_types_decide_what_is_compared(con):
    """Without the types a datetime would be cut to a date, and a Decimal to an integer or an error."""
    row = (
        con.cursor()
        .execute(
            "select date '2024-01-01' < %s, 2 < %s, 2000000000 < %s, date '2024-01-03' - %s",
            [datetime.datetime(2024, 1, 1, 12), Decimal("2.5"), 2**40, 2],
        )
        .fetchone()
    )
    assert row == (True, True, True, date(2024, 1, 1))


def test_ranges_come_back(con):
    for value in [
        Range(1, 5),
        Range(None, 5, "()"),
        Range(1),
        Range(None, None, "()"),
        Range(empty=True, bounds=""),
    ]:
        assert con.cursor().execute("select %s::int4range", [value]).fetchone() == (value,)
    value = Range(datetime.datetime(2024, 1, 1), None, "[)")
    assert con.cursor().execute("select %s::tsrange", [value]).fetchone() == (value,)


KEYS = [3, 5, 299, 1000]


@pytest.mark.parametrize(
    "keys",
    [
        KEYS,
        numpy.array(KEYS),
        numpy.array(KEYS, dtype="int32"),
        pandas.Series(KEYS),
        pyarrow.array([*KEYS, None]),
        pyarrow.chunked_array([KEYS[:2], KEYS[2:]]),
        polars.Series([*KEYS, None]),
    ],
    ids=lambda keys: f"{type(keys).__module__}.{type(keys).__name__}",
)
def test_columns_are_array_parameters(con, keys):
    rows = (
        con.cursor()
        .execute("select id from items where id = any(%s) order by id", [keys])
        .fetchall()
    )
    assert rows == [(3,), (5,), (299,)]
    rows = con.sql("select id from items where id = any($1) order by id", [keys]).arrow()
    assert rows["id"].to_pylist() == [3, 5, 299]


@pytest.mark.parametrize(
    "column",
    [
        numpy.array(["a", 'b"'], dtype=object),
        numpy.array(["a", 'b"']),
        pyarrow.array(["a", 'b"', None]),
        polars.Series(["a", 'b"', None]),
        pandas.Series(["a", 'b"', None]),
    ],
    ids=lambda keys: f"{type(keys).__module__}.{type(keys).__name__}",
)
def test_columns_of_text(con, column):
    (value,) = con.cursor().execute("select %s::text[]", [column]).fetchone()
    assert value[:2] == ["a", 'b"']
    assert value[2:] in ([], [None])


def test_columns_of_times_and_dimensions(con):
    moments = numpy.array(["2024-01-01T00:00:00", "NaT"], dtype="datetime64[us]")
    assert con.cursor().execute("select %s::timestamp[]", [moments]).fetchone() == (
        [datetime.datetime(2024, 1, 1), None],
    )
    assert con.cursor().execute("select %s::text", [numpy.eye(2)]).fetchone() == ("{{1,0},{0,1}}",)
    assert adapt(pandas.Series([0.5, None])) == ("{0.5,NULL}", "float8[]")
    assert adapt(pandas.Series(pandas.to_datetime(["2024-01-01", None]))) == (
        '{"2024-01-01 00:00:00",NULL}',
        "timestamp[]",
    )


def test_a_million_values(con):
    keys = numpy.arange(1_000_000, dtype="int64")
    for many in (keys, keys.tolist()):
        cursor = con.cursor()
        cursor.execute("select count(*), max(id) from items where id = any(%s)", [many])
        assert cursor.fetchone() == (300, 299)


def test_decimal_contexts_do_not_matter(con):
    with decimal.localcontext() as context:
        context.prec = 3
        assert con.cursor().execute("select %s", [Decimal("1.23456")]).fetchone() == (
            Decimal("1.23456"),
        )
