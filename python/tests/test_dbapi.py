"""Cursors and connections as PEP 249 has them, and what goes beyond it."""

import copy
import gc
import pickle
import signal
import threading
import time
import weakref
from collections import namedtuple
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal

import pandas
import polars
import psycopg
import pyarrow
import pytest
from psycopg import rows as psycopg_rows

import merganser
from merganser import class_row, dict_row, errors, namedtuple_row, scalar_row, tuple_row

IN_ORDER = "select id, name, amount from items order by id"
# Servers make the rows of a join as they are asked for; those of a function they would write down.
ENDLESS = "/* marked */ from items a, items b, items c, items d, items e"


def test_the_module_says_what_it_is():
    assert merganser.apilevel == "2.0"
    assert merganser.threadsafety == 2
    assert merganser.paramstyle == "pyformat"


# --- fetching -------------------------------------------------------------------------------------


def test_the_ways_to_fetch_may_be_mixed_and_no_row_is_lost(con):
    cursor = con.cursor().execute(IN_ORDER, batch_rows=7)
    rows = [cursor.fetchone(), *cursor.fetchmany(), *cursor.fetchmany(20), next(cursor)]
    assert cursor.rownumber == 23
    rows += cursor.fetchmany(3)
    rows += [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()]
    assert [row[0] for row in rows] == list(range(300))
    assert rows[25] == (25, "item 25", Decimal("31.25"))


def test_the_rest_after_some_rows(con):
    cursor = con.cursor().execute(IN_ORDER)
    assert cursor.fetchmany(298)[-1][0] == 297
    assert cursor.fetchmany(0) == []
    assert [row[0] for row in cursor.fetchall()] == [298, 299]
    assert cursor.fetchone() is None
    assert cursor.fetchmany(5) == [] == cursor.fetchall()
    assert list(cursor) == []


def test_iteration_and_arraysize(con):
    cursor = con.cursor().execute(IN_ORDER)
    assert cursor.arraysize == 1
    assert len(cursor.fetchmany()) == 1
    cursor.arraysize = 50
    assert len(cursor.fetchmany()) == 50
    assert [row[0] for row in cursor] == list(range(51, 300))


def test_rowcount_is_known_at_the_end(con):
    cursor = con.cursor()
    assert cursor.rowcount == -1
    cursor.execute(IN_ORDER)
    assert cursor.rowcount == -1
    cursor.fetchmany(299)
    assert cursor.rowcount == -1
    cursor.fetchall()
    assert cursor.rowcount == 300
    assert cursor.rownumber == 300
    assert cursor.execute("select id from items where false").fetchone() is None
    assert cursor.rowcount == 0


def test_execute_gives_the_cursor_and_forgets_the_result_before(con):
    cursor = con.cursor()
    assert cursor.execute(IN_ORDER) is cursor
    cursor.fetchone()
    assert cursor.execute("select 1").fetchall() == [(1,)]
    assert con.execute("select %s + 1", [1]).fetchone() == (2,)


def test_executemany_gives_a_result_for_each(con):
    cursor = con.cursor().executemany("select name from items where id = %s", [[5], [7], [1000]])
    assert cursor.fetchall() == [("item 5",)]
    assert cursor.nextset() is True
    assert cursor.fetchall() == [("item 7",)]
    assert cursor.nextset() is True
    assert cursor.fetchall() == []
    assert cursor.nextset() is None
    with pytest.raises(merganser.ProgrammingError, match="no more results"):
        cursor.fetchone()
    cursor.executemany("select 1", [])
    with pytest.raises(merganser.ProgrammingError, match="no parameters"):
        cursor.fetchone()


def test_a_fan_out_by_name(con):
    cursor = con.cursor()
    counts = cursor.execute_fan_out("select count(*) from items", order="shard").fetchall()
    assert counts == [(100,)] * 3
    cursor.execute_fan_out(
        "select count(*) as n from items", merge_sql="select sum(n) as n from shards"
    )
    assert cursor.fetchone()[0] == 300
    # As numbers, of which 97 is not the greatest.
    cursor.execute_fan_out(
        "select amount * 1.0 as x from items", merge_sql="select max(x) as x from shards"
    )
    assert cursor.fetchone() == (Decimal("373.75"),)
    assert cursor.execute_fan_out(
        "select amount * 1.0 as x from items", merge_sql="select max(x) as x from shards"
    ).fetch_arrow_table()["x"].to_pylist() == [Decimal("373.75")]


# --- description ----------------------------------------------------------------------------------


def test_description(con):
    cursor = con.cursor()
    assert cursor.description is None
    cursor.execute("select id, name, amount, at, 1.5 as x, null::bytea as b from items where false")
    assert [tuple(column) for column in cursor.description] == [
        ("id", "int8", None, 8, None, None, None),
        ("name", "text", None, None, None, None, None),
        ("amount", "numeric", None, None, 12, 2, None),
        ("at", "timestamptz", None, 8, None, None, None),
        ("x", "numeric", None, None, None, None, None),
        ("b", "bytea", None, None, None, None, None),
    ]
    assert cursor.description[0].name == "id"
    kinds = [
        merganser.NUMBER,
        merganser.STRING,
        merganser.NUMBER,
        merganser.DATETIME,
        merganser.NUMBER,
        merganser.BINARY,
    ]
    for column, kind in zip(cursor.description, kinds, strict=True):
        assert column.type_code == kind
        for other in {merganser.NUMBER, merganser.STRING, merganser.DATETIME, merganser.BINARY} - {
            kind
        }:
            assert column.type_code != other
    cursor.close()


@pytest.mark.parametrize(
    ("expression", "kinds"),
    [
        ("1::int2", {merganser.NUMBER}),
        ("1::oid", {merganser.NUMBER, merganser.ROWID}),
        ("1::float4", {merganser.NUMBER}),
        ("'x'::varchar(5)", {merganser.STRING}),
        ("'x'::char(5)", {merganser.STRING}),
        ("timestamp(3) '2024-01-01'", {merganser.DATETIME}),
        ("time '1:00'", {merganser.DATETIME}),
        ("timetz '1:00+00'", {merganser.DATETIME}),
        ("interval '1 day'", {merganser.DATETIME}),
        ("date '2024-01-01'", {merganser.DATETIME}),
        ("true", set()),
        ("'{1}'::int4[]", set()),
        ("'{}'::jsonb", set()),
    ],
)
@pytest.mark.parametrize("execute", ["execute", "execute_fan_out"])
def test_type_objects(con, execute, expression, kinds):
    cursor = getattr(con.cursor(), execute)(f"select {expression}")
    code = cursor.description[0].type_code
    every = {
        merganser.NUMBER,
        merganser.STRING,
        merganser.DATETIME,
        merganser.BINARY,
        merganser.ROWID,
    }
    assert {kind for kind in every if code == kind} == kinds


def test_type_objects_are_themselves():
    assert merganser.NUMBER == merganser.NUMBER
    assert merganser.NUMBER != merganser.STRING
    assert "NUMBER" in repr(merganser.NUMBER)


# --- row factories --------------------------------------------------------------------------------

SQL = "select id, name from items where id = 5"


@dataclass
class Item:
    id: int
    name: str


def test_row_factories(con):
    def row(factory):
        return con.cursor(row_factory=factory).execute(SQL).fetchone()

    assert row(None) == row(tuple_row) == (5, "item 5")
    assert row(dict_row) == {"id": 5, "name": "item 5"}
    named = row(namedtuple_row)
    assert (named.id, named.name) == named == (5, "item 5")
    assert pickle.loads(pickle.dumps(named)) == named
    assert row(scalar_row) == 5
    assert row(class_row(Item)) == Item(5, "item 5")
    assert row(lambda cursor: lambda values: (len(cursor.description), values)) == (
        2,
        (5, "item 5"),
    )


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "__next__"])
def test_every_fetch_makes_rows_with_the_factory(con, fetch):
    cursor = con.cursor(row_factory=dict_row).execute(SQL)
    rows = getattr(cursor, fetch)()
    assert rows in ({"id": 5, "name": "item 5"}, [{"id": 5, "name": "item 5"}])


def test_factories_of_psycopg_mean_ours(con):
    import psycopg2.extras

    def row(factory):
        return con.cursor(row_factory=factory).execute(SQL).fetchone()

    assert (
        row(psycopg_rows.dict_row)
        == row(psycopg2.extras.RealDictCursor)
        == {"id": 5, "name": "item 5"}
    )
    assert (
        row(psycopg_rows.namedtuple_row).name
        == row(psycopg2.extras.NamedTupleCursor).name
        == "item 5"
    )
    assert row(psycopg_rows.tuple_row) == (5, "item 5")
    both = row(psycopg2.extras.DictCursor)
    assert both == (5, "item 5") and both["name"] == both[1] == both.get("name") == "item 5"
    assert (both.keys(), list(both.items())) == (["id", "name"], [("id", 5), ("name", "item 5")])
    assert pickle.loads(pickle.dumps(both))["id"] == 5 and copy.copy(both) == both
    with pytest.raises(merganser.ProgrammingError, match="psycopg's own cursors"):
        con.cursor(row_factory=psycopg_rows.class_row)
    with pytest.raises(merganser.ProgrammingError, match="no row factory"):
        con.cursor(row_factory="dict")


def test_a_dict_has_room_for_one_column_of_a_name(con):
    cursor = con.cursor(row_factory=dict_row)
    with pytest.raises(
        merganser.ProgrammingError, match="several columns are called 'x'"
    ) as raised:
        cursor.execute("select 1 as x, 2 as x")
    assert "AS" in raised.value.hint
    with pytest.raises(merganser.ProgrammingError, match="last failed"):
        cursor.fetchone()
    row = (
        con.cursor(row_factory=namedtuple_row).execute('select 1 as x, 2 as x, 3 as "?"').fetchone()
    )
    assert row._fields == ("x", "_1", "_2")
    with pytest.raises(merganser.ProgrammingError, match="no column"):
        con.cursor(row_factory=scalar_row).execute("select from items")


# --- Arrow ----------------------------------------------------------------------------------------


def test_results_as_arrow(con):
    sql = "select id, amount * 2 as twice, amount, array[1.5, null] as a, row(1, 'x')::pair as p from items order by id"
    expected = con.sql(sql).arrow()
    cursor = con.cursor()
    assert cursor.execute(sql).fetch_arrow_table() == expected
    assert cursor.execute(sql).fetchallarrow() == expected
    assert pyarrow.table(cursor.execute(sql).fetch_arrow()) == expected
    reader = cursor.execute(sql, batch_rows=50).fetch_record_batch()
    assert reader.schema == expected.schema
    assert reader.read_all() == expected
    assert cursor.execute(sql).fetch_polars().equals(polars.DataFrame(expected))
    pandas.testing.assert_frame_equal(cursor.execute(sql).fetch_df(), con.sql(sql).df())
    with pytest.raises(merganser.ProgrammingError, match="handed over as Arrow"):
        cursor.fetchone()


def test_arrow_and_rows_differ_in_the_scale_of_numeric_alone(con):
    sql = "select 1.5::numeric as x"
    assert con.cursor().execute(sql).fetchone() == (Decimal("1.5"),)
    assert str(con.cursor().execute(sql).fetchone()[0]) == "1.5"
    assert con.cursor().execute(sql).fetch_arrow_table()["x"].type == pyarrow.decimal128(38, 20)
    text = con.cursor(numeric="text")
    assert text.execute(sql).fetch_arrow_table()["x"].to_pylist() == ["1.5"]
    assert text.execute(sql).fetchone() == (Decimal("1.5"),)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-0.00000000000000000001", "-1E-20"),
        ("999999999999999999.99999999999999999999", "999999999999999999.99999999999999999999"),
        ("-999999999999999999", "-999999999999999999.00000000000000000000"),
        ("1.100000000000000000000000", "1.10000000000000000000"),
        ("0", "0E-20"),
    ],
)
def test_decimals_of_arrow_are_exact(con, expression, value):
    table = con.cursor().execute(f"select ({expression})::numeric as x").fetch_arrow_table()
    assert table["x"].to_pylist() == [Decimal(value)]
    assert table == con.sql(f"select ({expression})::numeric as x").arrow()


@pytest.mark.parametrize(
    "expression",
    [
        "0.000000000000000000001",
        "1000000000000000000",
        "1e40",
        "'NaN'",
        "'-Infinity'",
        "repeat('9', 500)",
    ],
)
def test_numbers_without_a_place_in_arrow_are_errors(con, expression):
    cursor = con.cursor().execute(f"select ({expression})::numeric as x")
    with pytest.raises(merganser.DataError, match='column "x".* does not fit decimal') as raised:
        cursor.fetch_arrow_table()
    assert "numeric=" in raised.value.hint


def test_nan_may_be_null_in_arrow(con):
    cursor = con.cursor(unrepresentable="null").execute("select 'NaN'::numeric as x")
    assert cursor.fetch_arrow_table()["x"].to_pylist() == [None]


# --- errors ---------------------------------------------------------------------------------------


def test_errors_tell_all(con):
    with pytest.raises(merganser.ProgrammingError) as raised:
        con.cursor().execute("select nonsense from items")
    error = raised.value
    assert (error.sqlstate, error.kind, error.phase) == ("42703", "server", "describe")
    assert error.shard in {"s0", "s1", "s2"}
    assert "nonsense" in str(error)
    with pytest.raises(merganser.DataError) as raised:
        con.cursor().execute("select 1 / (id - 299) from items").fetchall()
    assert raised.value.sqlstate == "22012"
    assert raised.value.shard == "s2"
    with pytest.raises(merganser.NotSupportedError) as raised:
        con.cursor().execute("insert into items values (1)")
    assert raised.value.kind == "unsupported"


def test_an_error_comes_again_until_something_else_is_executed(con):
    cursor = con.cursor().execute("select 1 / (id - 299) from items order by id", batch_rows=10)
    for _ in range(3):
        with pytest.raises(merganser.DataError, match="division by zero"):
            cursor.fetchall()
    assert cursor.execute("select 1").fetchone() == (1,)


def test_an_error_in_making_rows_ends_the_result(con):
    """The batches before it were taken, so that going on would lose their rows."""
    sql = "select case when id = 150 then interval '1 month' else interval '1 day' end as x, id from items order by id"
    cursor = con.cursor().execute(sql, batch_rows=10)
    assert len(cursor.fetchmany(100)) == 100
    for fetch in (cursor.fetchall, cursor.fetchone, cursor.fetchall):
        with pytest.raises(
            merganser.DataError, match='column "x": an interval with months'
        ) as raised:
            fetch()
        assert "::text" in raised.value.hint


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupt_after():
    """A signal in some time, whose handler raises, as that of Ctrl-C does."""

    def raise_it(*_):
        raise Interrupt

    previous = signal.signal(signal.SIGALRM, raise_it)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("fetch", ["fetchall", "fetch_arrow_table", "fetch_polars"])
def test_rows_that_come_without_a_pause_do_not_keep_signals_waiting(
    con, fetch, interrupt_after, no_backend_left
):
    cursor = con.cursor().execute_fan_out(f"select a.id, b.id as b {ENDLESS}")
    interrupt_after(1)
    with pytest.raises(Interrupt):
        getattr(cursor, fetch)()
    with pytest.raises(merganser.QueryCancelled, match="a signal interrupted"):
        getattr(cursor, fetch)()
    no_backend_left()


@pytest.mark.parametrize("fetch", ["fetchall", "fetch_arrow_table", "fetch_polars", "fetch_df"])
def test_an_error_in_the_middle_of_the_rows_is_ours(con, fetch):
    cursor = con.cursor().execute_fan_out(
        "select 1 / (a.id + b.id - 598) as x, a.amount * 2 as y from items a, items b", batch_rows=10
    )
    for _ in range(2):
        with pytest.raises(merganser.DataError, match="division by zero") as raised:
            getattr(cursor, fetch)()
        assert (raised.value.shard, raised.value.sqlstate) == ("s2", "22012")


def test_a_failed_execute_leaves_no_result(con):
    cursor = con.cursor().execute("select 1")
    with pytest.raises(merganser.ProgrammingError):
        cursor.execute("select nonsense")
    assert cursor.description is None
    with pytest.raises(merganser.ProgrammingError, match="last failed"):
        cursor.fetchall()


def test_in_with_a_tuple_says_any(con):
    with pytest.raises(merganser.ProgrammingError) as raised:
        con.cursor().execute("select * from items where id in %s", [(1, 2)])
    assert "= ANY(%s)" in raised.value.hint
    assert f"hint: {raised.value.hint}" in raised.value.__notes__


def test_nothing_was_executed(con):
    cursor = con.cursor()
    for fetch in (
        cursor.fetchone,
        cursor.fetchmany,
        cursor.fetchall,
        cursor.fetch_arrow_table,
        cursor.__next__,
    ):
        with pytest.raises(merganser.ProgrammingError, match="nothing was executed"):
            fetch()
    with pytest.raises(merganser.ProgrammingError, match="-1 rows"):
        cursor.execute("select 1").fetchmany(-1)


def uses(cursor):
    return [
        cursor.fetchone,
        cursor.fetchmany,
        cursor.fetchall,
        cursor.fetch_arrow,
        cursor.fetch_df,
        cursor.nextset,
        cursor.__next__,
        cursor.__enter__,
        lambda: cursor.execute("select 1"),
        lambda: cursor.execute_fan_out("select 1"),
        lambda: cursor.executemany("select %s", [[1]]),
        lambda: cursor.mogrify("select 1"),
    ]


def test_a_closed_cursor(con):
    cursor = con.cursor().execute(IN_ORDER)
    assert not cursor.closed
    cursor.close()
    cursor.close()
    assert cursor.closed
    for use in uses(cursor):
        with pytest.raises(merganser.InterfaceError, match="the cursor is closed"):
            use()


def test_a_cursor_of_a_closed_connection(con):
    cursor = con.cursor().execute(IN_ORDER)
    con.close()
    assert cursor.closed
    for use in uses(cursor):
        with pytest.raises(merganser.InterfaceError, match="connection"):
            use()
    with pytest.raises(merganser.InterfaceError):
        con.cursor()
    cursor.close()


def test_context_managers_close(con):
    with con.cursor() as cursor:
        assert cursor.execute("select 1").fetchone() == (1,)
    assert cursor.closed
    with pytest.raises(ZeroDivisionError), con.cursor() as cursor:
        raise ZeroDivisionError
    assert cursor.closed


# --- transactions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_commit_and_rollback_end_results(con, end):
    cursors = [con.cursor().execute(IN_ORDER) for _ in range(2)]
    assert cursors[0].fetchone()[0] == 0
    getattr(con, end)()
    for cursor in cursors:
        with pytest.raises(merganser.ProgrammingError, match="commit or rollback"):
            cursor.fetchone()
        assert cursor.execute("select 1").fetchone() == (1,)


def test_autocommit_is_on_and_cannot_be_off(con):
    assert con.autocommit is True
    con.autocommit = True
    with pytest.raises(merganser.NotSupportedError):
        con.autocommit = False


# --- threads, memory, cancelling ------------------------------------------------------------------


def test_two_threads_on_one_cursor(con):
    cursor = con.cursor()

    def slow():
        # Until the cursor is free: the other thread may be the first.
        while True:
            with suppress(merganser.InterfaceError):
                return cursor.execute("select count(*), pg_sleep(1) from items where id < 3")

    thread = threading.Thread(target=slow)
    thread.start()
    hints = set()
    while thread.is_alive():
        try:
            # Leaves the result alone, should the other thread be done.
            cursor.mogrify("select 1")
        except merganser.InterfaceError as error:
            assert "another thread is using this cursor" in str(error)
            hints.add(error.hint)
    thread.join()
    assert hints == {"let each thread make a cursor of its own"}
    assert cursor.fetchone()[0] == 3


def test_many_cursors_in_many_threads(con):
    found = []

    def work(number):
        found.append(
            (
                number,
                con.cursor().execute("select name from items where id = %s", [number]).fetchall(),
            )
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(number, [(f"item {number}",)]) for number in range(16)]


def test_several_cursors_at_once(con):
    cursors = [con.cursor().execute(IN_ORDER, batch_rows=5) for _ in range(3)]
    for expected in range(300):
        assert [cursor.fetchone()[0] for cursor in cursors] == [expected] * 3


def test_a_cursor_streams(con, backends, no_backend_left):
    """The first row is here long before the last could be, and closing ends the query on every shard."""
    cursor = con.cursor().execute_fan_out(f"select repeat('x', 1000) {ENDLESS}", batch_rows=100)
    assert cursor.fetchone() == ("x" * 1000,)
    assert backends() > 0
    cursor.close()
    no_backend_left()


def test_a_forgotten_cursor_ends_its_query(con, backends, no_backend_left):
    cursor = con.cursor().execute_fan_out(f"select a.id {ENDLESS}")
    cursor.fetchone()
    gone = weakref.ref(cursor)
    del cursor
    gc.collect()
    assert gone() is None
    no_backend_left()


def test_cancel_from_another_thread(con, no_backend_left):
    cursor = con.cursor()
    timer = threading.Timer(0.5, cursor.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(merganser.QueryCancelled):
        cursor.execute_fan_out("select pg_sleep(60) /* marked */").fetchall()
    assert time.monotonic() - begun < 30
    timer.join()
    no_backend_left()
    assert cursor.execute("select 1").fetchone() == (1,)


def test_timeout(con):
    with pytest.raises(merganser.QueryTimeout):
        con.cursor(timeout=0.3).execute_fan_out("select pg_sleep(60)").fetchall()


# --- the rest of PEP 249 --------------------------------------------------------------------------


def test_what_does_nothing(con):
    cursor = con.cursor()
    cursor.setinputsizes([1])
    cursor.setoutputsize(1000, 0)
    assert cursor.lastrowid is None
    # Optional, and procedures are not for reading.
    assert not hasattr(cursor, "callproc")
    assert cursor.connection is con
    assert "nothing was executed" in repr(cursor)


def test_mogrify(con):
    cursor = con.cursor().execute("select 1")
    text = cursor.mogrify("select * from items where name = %s and id = %s", ["it's", 5])
    assert "it''s" in text and "5" in text
    assert cursor.fetchone() == (1,)
    assert con.execute(text.replace("%", "%%"), []).fetchall() == []


def test_constructors():
    assert merganser.Date(2024, 1, 2) == date(2024, 1, 2)
    assert merganser.Timestamp(2024, 1, 2, 3, 4, 5) == datetime(2024, 1, 2, 3, 4, 5)
    assert merganser.Time(1, 2, 3).hour == 1
    assert merganser.Binary(b"x") == b"x"
    moment = merganser.TimestampFromTicks(86400)
    assert moment == datetime(1970, 1, 2, tzinfo=timezone.utc)
    assert merganser.DateFromTicks(86400 * 2).year == 1970
    assert merganser.TimeFromTicks(0.5).microsecond == 500000


# --- errors.py ------------------------------------------------------------------------------------


def test_the_tree_of_exceptions():
    assert issubclass(merganser.InterfaceError, merganser.Error)
    assert issubclass(merganser.DatabaseError, merganser.Error)
    assert not issubclass(merganser.Warning, merganser.Error)
    for name in ("Data", "Operational", "Integrity", "Internal", "Programming", "NotSupported"):
        assert issubclass(getattr(merganser, f"{name}Error"), merganser.DatabaseError)
    assert issubclass(merganser.QueryTimeout, merganser.OperationalError)
    assert issubclass(merganser.QueryCancelled, merganser.OperationalError)


def test_connections_have_the_exceptions(con):
    for name in (
        "Warning Error InterfaceError DatabaseError DataError OperationalError IntegrityError InternalError "
        "ProgrammingError NotSupportedError"
    ).split():
        assert getattr(con, name) is getattr(merganser, name)


def test_every_sqlstate_is_of_the_class_that_psycopg_has_for_it():
    checked = 0
    for theirs in vars(psycopg.errors).values():
        state = getattr(theirs, "sqlstate", None)
        if not isinstance(state, str):
            continue
        ours = type(errors.from_native("server", "m", sqlstate=state))
        expected = next(cls.__name__ for cls in theirs.__mro__ if hasattr(merganser, cls.__name__))
        if state == "57014":
            assert ours is merganser.QueryCancelled
        else:
            assert ours.__name__ == expected, state
        checked += 1
    assert checked > 200


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("cancelled", "QueryCancelled"),
        ("config", "ProgrammingError"),
        ("connect", "OperationalError"),
        ("data", "DataError"),
        ("decode", "DataError"),
        ("execute", "InternalError"),
        ("export", "OperationalError"),
        ("interface", "InterfaceError"),
        ("internal", "InternalError"),
        ("limit", "OperationalError"),
        ("mismatch", "Mismatch"),
        ("server", "DatabaseError"),
        ("syntax", "ProgrammingError"),
        ("timeout", "QueryTimeout"),
        ("unsupported", "NotSupportedError"),
        ("usage", "InterfaceError"),
        ("a kind of a later version", "DatabaseError"),
    ],
)
def test_every_kind_has_its_class(kind, cls):
    error = errors.from_native(kind, "m", shard="s1", phase="stream", hint="h")
    assert type(error).__name__ == cls
    assert (error.kind, error.shard, error.phase, error.sqlstate, error.hint) == (
        kind,
        "s1",
        "stream",
        None,
        "h",
    )
    assert error.__notes__ == ["hint: h"]


def test_an_error_survives_pickling():
    error = errors.from_native("server", "m", sqlstate="22012", shard="s1", hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is merganser.DataError
    assert again.args == ("m",)
    assert vars(again) == vars(error)


def test_a_namedtuple_of_the_user_is_no_parameter(con):
    Point = namedtuple("Point", "x y")
    with pytest.raises(merganser.ProgrammingError, match="Point"):
        con.cursor().execute("select %s", [Point(1, 2)])
