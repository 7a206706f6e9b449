"""ParallelConnection: many connections as one, over PostgreSQL and over any driver of PEP 249."""

import gc
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import psycopg
import psycopg2
import psycopg2.extras
import psycopg2.pool
import psycopg_pool
import pytest

import merganser
from conftest import wait_until
from merganser import ParallelConnection

IN_ORDER = "select id from items order by id"
# The order of the shards, and within each of them that of the query.
UNION = [(id,) for shard in range(3) for id in range(shard, 300, 3)]


KINDS = [
    "urls",
    "psycopg2",
    "psycopg",
    "psycopg2 pool",
    "psycopg pool",
    "cursors of psycopg2",
    "cursors of psycopg",
]


@pytest.fixture(params=KINDS)
def pdb(request, urls):
    """The same over everything that can be given for PostgreSQL."""
    kind = request.param
    given, end = [], []
    for url in urls:
        if kind == "urls":
            given.append(url)
        elif kind == "psycopg2 pool":
            given.append(psycopg2.pool.ThreadedConnectionPool(0, 2, dsn=url))
            end.append(given[-1].closeall)
        elif kind == "psycopg pool":
            given.append(psycopg_pool.ConnectionPool(url, min_size=0, max_size=2, open=True))
            end.append(given[-1].close)
        else:
            module = psycopg2 if kind.endswith("psycopg2") else psycopg
            given.append(module.connect(url))
            end.append(given[-1].close)
    native = False if kind.startswith("cursors") else None
    with ParallelConnection(given, native=native) as connection:
        yield connection
    for close in end:
        close()


# --- as the seed's documentation has it -----------------------------------------------------------


@pytest.fixture
def my_shrd_tbl(urls, admin):
    for number, url in enumerate(urls):
        admin(url).execute(
            "create table my_shrd_tbl as select id as shrd_column, id % 7 * 181 as not_shrd_column "
            f"from generate_series({number * 1000}, {number * 1000 + 999}) id"
        )
    yield
    for url in urls:
        admin(url).execute("drop table my_shrd_tbl")


def test_as_with_the_class_that_it_replaces(urls, my_shrd_tbl):
    """Pools, connections of them, dict rows: what was written for the former class goes on."""
    n = 20
    pools = [psycopg2.pool.ThreadedConnectionPool(1, n, dsn=url) for url in urls]
    connections = [pool.getconn() for pool in pools]
    pdb = ParallelConnection(connections)

    c = pdb.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    c.execute("SELECT * FROM my_shrd_tbl WHERE shrd_column = 1543", None)
    assert c.fetchall() == [{"shrd_column": 1543, "not_shrd_column": 543}]
    c.close()

    c = pdb.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    c.execute("SELECT * FROM my_shrd_tbl WHERE not_shrd_column = %s", (543,))
    results = c.fetchall()
    assert [row["shrd_column"] for row in results] == [id for id in range(3000) if id % 7 == 3]
    c.close()

    pdb.commit()
    pdb.putconn(pools)
    # They are back: each pool gives the same one again.
    assert [pool.getconn() for pool in pools] == connections
    with pytest.raises(merganser.InterfaceError, match="closed"):
        pdb.cursor()
    for pool in pools:
        pool.closeall()


# --- over PostgreSQL, whatever was given ----------------------------------------------------------


def test_the_union_in_the_order_of_the_connections(pdb):
    cursor = pdb.cursor()
    cursor.execute(IN_ORDER)
    assert [tuple(row) for row in cursor.fetchall()] == UNION
    assert cursor.rowcount == 300
    assert cursor.fetchall() == []
    assert cursor.fetchone() is None
    assert [column[0] for column in cursor.description] == ["id"]


def test_no_row_is_lost_by_fetchone(pdb):
    cursor = pdb.cursor()
    cursor.execute(IN_ORDER)
    rows = []
    while (row := cursor.fetchone()) is not None:
        rows.append(tuple(row))
    assert rows == UNION


def test_rows_of_nulls_and_empty_rows_are_rows(pdb):
    cursor = pdb.cursor()
    cursor.execute("select null::int, null::text")
    assert [tuple(cursor.fetchone()) for _ in range(3)] == [(None, None)] * 3
    assert cursor.fetchone() is None


def test_the_ways_to_fetch_may_be_mixed(pdb):
    cursor = pdb.cursor()
    cursor.execute(IN_ORDER)
    rows = [
        cursor.fetchone(),
        *cursor.fetchmany(150),
        *cursor.fetchmany(),
        next(cursor),
        *cursor.fetchmany(10),
    ]
    rows += list(cursor)
    assert [tuple(row) for row in rows] == UNION
    cursor.arraysize = 120
    cursor.execute(IN_ORDER)
    assert [len(cursor.fetchmany()) for _ in range(4)] == [120, 120, 60, 0]


def test_parameters(pdb):
    cursor = pdb.cursor()
    cursor.execute("select name from items where id = any(%s) and id < %s", ([5, 6, 250], 100))
    assert sorted(row[0] for row in cursor.fetchall()) == ["item 5", "item 6"]
    cursor.execute("select name from items where id = %(id)s", {"id": 7})
    assert [row[0] for row in cursor.fetchall()] == ["item 7"]


def test_several_cursors_at_once(pdb):
    first, second = pdb.cursor(), pdb.cursor()
    first.execute(IN_ORDER)
    second.execute("select -id from items order by id")
    for id, *_ in UNION:
        assert first.fetchone()[0] == -second.fetchone()[0] == id
    first.close()
    second.execute("select 1")
    assert len(second.fetchall()) == 3
    second.close()


def test_the_connection_is_its_last_cursor(pdb):
    with pytest.raises(merganser.ProgrammingError, match="no open cursor"):
        pdb.fetchall()
    pdb.execute(IN_ORDER)
    assert tuple(pdb.fetchone()) == (0,)
    assert len(pdb.fetchmany(9)) == 9
    cursor = pdb.cursor()
    pdb.execute("select 1 where false")
    assert pdb.fetchall() == cursor.fetchall() == []
    cursor.close()
    assert len(pdb.fetchall()) == 290


def test_a_failed_shard_is_not_hidden(pdb):
    """One shard of three fails, the one whose last id is 298."""
    cursor = pdb.cursor()
    with pytest.raises(merganser.DataError, match="division by zero") as raised:
        cursor.execute("select 1 / (id - 298) from items")
        cursor.fetchall()
    error = raised.value
    assert (error.shard, error.sqlstate) == ("connection 1", "22012")
    assert "connection 1" in str(error) and "connection 0" not in str(error)
    for fetch in (cursor.fetchone, cursor.fetchall, cursor.fetchmany):
        with pytest.raises(merganser.DataError, match="division by zero"):
            fetch()
    pdb.rollback()
    cursor.execute("select 1")
    assert len(cursor.fetchall()) == 3


def test_commit_and_rollback(pdb):
    cursor = pdb.cursor()
    cursor.execute("select 1")
    assert len(cursor.fetchall()) == 3
    pdb.commit()
    cursor.execute("select 1")
    pdb.rollback()


def test_closed(pdb):
    cursor = pdb.cursor()
    cursor.execute(IN_ORDER)
    pdb.close()
    pdb.close()
    assert pdb.closed and cursor.closed
    for use in (cursor.fetchone, cursor.fetchall, lambda: cursor.execute("select 1")):
        with pytest.raises(merganser.InterfaceError, match="closed"):
            use()
    for use in (
        pdb.cursor,
        pdb.commit,
        pdb.rollback,
        pdb.fetchone,
        lambda: pdb.execute("select 1"),
        pdb.__enter__,
    ):
        with pytest.raises(merganser.InterfaceError, match="closed"):
            use()


def test_a_closed_cursor(pdb):
    with pdb.cursor() as cursor:
        cursor.execute("select 1")
    cursor.close()
    with pytest.raises(merganser.InterfaceError, match="cursor is closed"):
        cursor.fetchone()


def test_nothing_was_executed(pdb):
    with pytest.raises(
        merganser.ProgrammingError, match="execute a query first|nothing was executed|no result"
    ):
        pdb.cursor().fetchone()


def test_two_threads_on_one_cursor(pdb):
    cursor = pdb.cursor()

    def slow():
        # Until the cursor is free: the other thread may be the first.
        while True:
            with suppress(merganser.InterfaceError):
                return cursor.execute("select pg_sleep(1)")

    thread = threading.Thread(target=slow)
    thread.start()
    texts = set()
    while thread.is_alive():
        # Other errors before the thread has begun, and a row in the moment when it is done.
        with suppress(merganser.ProgrammingError):
            try:
                cursor.fetchone()
            except merganser.InterfaceError as error:
                texts.add(str(error))
    thread.join()
    assert texts == {"another thread is using this cursor"}


def test_all_connections_work_at_the_same_time(pdb, backends):
    cursor = pdb.cursor()

    def run():
        cursor.execute("select pg_sleep(3) /* marked */")
        cursor.fetchall()

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: backends() == 3, "one after the other")
    thread.join()


# --- over Merganser's own connections -------------------------------------------------------------


def test_every_way_to_say_dict(urls):
    import psycopg.rows

    with ParallelConnection(urls) as pdb:
        for arguments in (
            {"cursor_factory": psycopg2.extras.RealDictCursor},
            {"row_factory": psycopg.rows.dict_row},
            {"row_factory": merganser.dict_row},
        ):
            cursor = pdb.cursor("a name", **arguments)
            cursor.execute("select id, name from items where id = 5")
            assert cursor.fetchall() == [{"id": 5, "name": "item 5"}]
        with pytest.raises(merganser.NotSupportedError):
            pdb.cursor(scrollable=True)


def test_arrow_of_a_union(urls):
    with ParallelConnection(urls) as pdb:
        cursor = pdb.cursor()
        cursor.execute(IN_ORDER)
        assert cursor.fetch_arrow_table()["id"].to_pylist() == [id for (id,) in UNION]


def test_mogrify(pdb):
    cursor = pdb.cursor()
    if isinstance(getattr(cursor, "cursors", [None])[0], psycopg.Cursor):
        pytest.skip("psycopg's own cursors have no mogrify")
    for text in (
        cursor.mogrify("select %s, %s", ("it's", 5)),
        pdb.mogrify("select %s, %s", ("it's", 5)),
    ):
        text = text.decode() if isinstance(text, bytes) else text
        assert "it''s" in text and "5" in text


def test_a_password_is_taken_along_and_never_shown(urls, admin, one_url):
    name = urls[0].rpartition("/")[2]
    owner = admin(urls[0])
    owner.execute("drop role if exists guest")
    owner.execute("create role guest login password 'it''s \\ secret'")
    host = urls[0].replace("postgres@", "guest@")
    for module in (psycopg2, psycopg):
        connection = module.connect(host, password="it's \\ secret")
        with ParallelConnection([connection]) as pdb:
            pdb.execute("select current_user::text, current_database()::text")
            assert pdb.fetchall() == [("guest", name)]
            assert "secret" not in repr(pdb) + repr(vars(pdb)) + repr(pdb.connections)
            from merganser.parallel import _connection_string

            assert "password='it\\'s \\\\ secret'" in _connection_string(connection)
        assert not connection.closed
        connection.close()
    owner.execute("drop role guest")


def test_names_are_what_errors_say(urls):
    with ParallelConnection(urls, names=["north", "south", "west"]) as pdb:
        with pytest.raises(merganser.DataError) as raised:
            pdb.execute("select 1 / (id - 298) from items")
            pdb.fetchall()
        assert raised.value.shard == "south"
    with pytest.raises(merganser.ProgrammingError, match="3 connections need as many names"):
        ParallelConnection(urls, names=["one", "one", "two"])


def test_a_database_that_cannot_be_reached(urls):
    with ParallelConnection([urls[0], "postgresql://postgres@127.0.0.1:1/x"]) as pdb:
        with pytest.raises(merganser.OperationalError) as raised:
            pdb.execute("select 1")
            pdb.fetchall()
        assert raised.value.shard == "connection 1"


def test_a_closed_connection_has_no_string(urls):
    connection = psycopg2.connect(urls[0])
    connection.close()
    with pytest.raises(merganser.InterfaceError, match="closed connection"):
        ParallelConnection([connection])


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_asynchronous_pool_is_refused(urls):
    class AsyncPool(psycopg_pool.ConnectionPool):
        async def getconn(self):
            raise AssertionError

        async def putconn(self, connection):
            raise AssertionError

    pool = AsyncPool(urls[0], min_size=0, max_size=1, open=False)
    with pytest.raises(merganser.ProgrammingError, match="a coroutine has no connection string"):
        ParallelConnection([pool])


# --- what cannot be a connection ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("postgresql://localhost/x", "a list, not a str"),
        ([], "a connection at least"),
        ([5], "a int is no connection"),
        ([None], "a NoneType is no connection"),
    ],
)
def test_what_is_no_connection(given, message):
    with pytest.raises(merganser.ProgrammingError, match=message):
        ParallelConnection(given)


def test_a_mixture_is_refused(urls):
    other = sqlite3.connect(":memory:", check_same_thread=False)
    with pytest.raises(merganser.ProgrammingError, match="not both|another driver"):
        ParallelConnection([urls[0], other])
    with pytest.raises(merganser.ProgrammingError, match="no connection of PostgreSQL"):
        ParallelConnection([urls[0], other], native=True)
    with pytest.raises(merganser.ProgrammingError, match="session"):
        ParallelConnection([other], session={"timezone": "UTC"})
    other.close()


# --- over any driver ------------------------------------------------------------------------------


@pytest.fixture
def lites():
    connections = []
    for shard in range(3):
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute("create table t (id integer, note text)")
        rows = [(id, None) for id in range(shard, 30, 3)]
        connection.executemany("insert into t values (?, ?)", rows)
        connection.commit()
        connections.append(connection)
    yield connections
    for connection in connections:
        connection.close()


def test_sqlite(lites):
    with ParallelConnection(lites) as pdb:
        cursor = pdb.cursor()
        cursor.execute("select id, note from t order by id")
        assert cursor.fetchone() == (0, None)
        assert cursor.fetchmany(12)[-1] == (7, None)
        assert len(cursor.fetchall()) == 17
        cursor.execute("select id from t where id = ?", (5,))
        assert cursor.fetchall() == [(5,)]
        cursor.execute("select count(*) from t")
        assert list(cursor) == [(10,)] * 3
        cursor.executemany("insert into t values (?, 'new')", [(100,), (200,)])
        pdb.commit()
        assert cursor.rowcount == 6
        cursor.execute("select id from t where note = 'new'")
        assert len(cursor.fetchall()) == 6
    assert lites[0].execute("select count(*) from t").fetchone() == (12,)


def test_the_rows_of_a_driver_are_its_own(lites):
    for connection in lites:
        connection.row_factory = sqlite3.Row
    with ParallelConnection(lites) as pdb:
        pdb.execute("select id from t where id < 3")
        assert [row["id"] for row in pdb.fetchall()] == [0, 1, 2]


def test_all_failures_are_named(lites):
    lites[0].execute("drop table t")
    lites[2].execute("drop table t")
    with (
        ParallelConnection(lites, names=["a", "b", "c"]) as pdb,
        pytest.raises(merganser.OperationalError) as raised,
    ):
        pdb.execute("select * from t")
    error = raised.value
    assert str(error) == (
        "2 connections failed to run the query; a: OperationalError: no such table: t; "
        "c: OperationalError: no such table: t"
    )
    assert error.shard == "a"
    assert [(name, type(failure)) for name, failure in error.failures] == [
        ("a", sqlite3.OperationalError),
        ("c", sqlite3.OperationalError),
    ]
    assert error.__cause__ is error.failures[0][1]


def test_columns_have_to_agree(lites):
    lites[1].execute("alter table t rename column note to remark")
    with (
        ParallelConnection(lites) as pdb,
        pytest.raises(
            merganser.ProgrammingError,
            match="connection 1 has the columns id, remark, but connection 0 has id, note",
        ),
    ):
        pdb.execute("select * from t")


def test_a_connection_for_its_own_thread_says_how_to_open_it():
    connection = sqlite3.connect(":memory:")
    with pytest.raises(merganser.ProgrammingError, match="created in a thread") as raised:
        ParallelConnection([connection]).cursor()
    assert "check_same_thread=False" in raised.value.hint
    connection.close()


class FakeConnection:
    """The least that a connection may have."""

    def __init__(self, rows, failing=()):
        self.rows, self.failing, self.calls = rows, failing, []

    def cursor(self, *args, **kwargs):
        self.calls.append(("cursor", args, kwargs))
        left = list(self.rows)

        def fetchmany(size):
            some, left[:] = left[:size], left[size:]
            return some

        def fetchall():
            some, left[:] = left[:], []
            return some

        def run(name, result=None):
            def called(*args):
                self.calls.append((name, args))
                if name in self.failing:
                    raise RuntimeError(f"{name} failed")
                return result

            return called

        return SimpleNamespace(
            execute=run("execute"),
            fetchone=lambda: left.pop(0) if left else None,
            fetchmany=fetchmany,
            fetchall=fetchall,
            close=run("close"),
            mogrify=run("mogrify", "text"),
        )

    def commit(self):
        self.calls.append("commit")
        if "commit" in self.failing:
            raise RuntimeError("commit failed")


def test_any_connection_will_do():
    fakes = [
        FakeConnection([{"a": 1}, {"a": None}]),
        FakeConnection([]),
        FakeConnection([{"a": 3}]),
    ]
    pdb = ParallelConnection(fakes)
    cursor = pdb.cursor("x", flavour="y")
    cursor.execute("hello", 42)
    assert cursor.rowcount == -1 and cursor.description is None
    assert [cursor.fetchone() for _ in range(4)] == [{"a": 1}, {"a": None}, {"a": 3}, None]
    assert pdb.mogrify("hello", 42) == "text"
    pdb.commit()
    pdb.close()
    for fake in fakes:
        assert fake.calls[:2] == [("cursor", ("x",), {"flavour": "y"}), ("execute", ("hello", 42))]
        assert fake.calls[-2:] == ["commit", ("close", ())]


def test_every_commit_is_tried_and_every_failure_told():
    fakes = [FakeConnection([], ["commit"]), FakeConnection([]), FakeConnection([], ["commit"])]
    pdb = ParallelConnection(fakes)
    with pytest.raises(
        merganser.DatabaseError, match="connection 0: RuntimeError: commit failed; connection 2"
    ):
        pdb.commit()
    assert [fake.calls for fake in fakes] == [["commit"]] * 3
    pdb.close()


def test_a_failing_close_does_not_keep_the_rest_open():
    fakes = [FakeConnection([], ["close"]), FakeConnection([])]
    pool = Pool(fakes[1])
    pdb = ParallelConnection([fakes[0], pool])
    pdb.cursor()
    with pytest.raises(merganser.DatabaseError, match="close failed"):
        pdb.close()
    assert pdb.closed and pool.back == [fakes[1]]
    assert ("close", ()) in fakes[1].calls


class Pool:
    """The least that a pool may have."""

    def __init__(self, connection):
        self.connection, self.back = connection, []

    def getconn(self):
        return self.connection

    def putconn(self, connection):
        if isinstance(connection, BrokenConnection):
            raise RuntimeError("not mine")
        self.back.append(connection)


class BrokenConnection(FakeConnection):
    pass


def test_pools_get_their_connections_back():
    pools = [Pool(FakeConnection([1])), Pool(FakeConnection([2]))]
    with ParallelConnection(pools) as pdb:
        pdb.execute("hello")
        assert pdb.fetchall() == [1, 2]
        assert not pools[0].back
    assert [pool.back for pool in pools] == [[pool.connection] for pool in pools]


def test_a_pool_that_has_no_more_does_not_cost_the_others_theirs():
    first, second = Pool(FakeConnection([])), Pool(FakeConnection([]))

    def exhausted():
        raise RuntimeError("exhausted")

    second.getconn = exhausted
    with pytest.raises(RuntimeError, match="exhausted"):
        ParallelConnection([first, second])
    assert first.back == [first.connection]


def test_threads_end_with_what_they_were_for():
    def lanes():
        return [
            thread for thread in threading.enumerate() if thread.name.startswith("merganser conn")
        ]

    wait_until(lambda: not lanes(), "threads of earlier tests are still there")
    pdb = ParallelConnection([FakeConnection([1]), FakeConnection([2])])
    pdb.execute("hello")
    assert len(lanes()) == 2
    pdb.close()
    wait_until(lambda: not lanes(), "threads of a closed connection are still there")
    forgotten = ParallelConnection([FakeConnection([1]), FakeConnection([2])])
    forgotten.execute("hello")
    del forgotten
    gc.collect()
    wait_until(lambda: not lanes(), "threads of a forgotten connection are still there")


def test_no_query_keeps_an_interpreter_from_its_end(urls, admin):
    script = f"""
import threading, time
import psycopg2
from merganser import ParallelConnection

pdb = ParallelConnection([psycopg2.connect(url) for url in {urls!r}], native=False)
cursor = pdb.cursor()
work = lambda: cursor.execute("select pg_sleep(300) /* marked */")
threading.Thread(target=work, daemon=True).start()
time.sleep(1)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    # A server that sleeps finds out later that its client is gone.
    admin(urls[0]).execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where query like '%pg_sleep(300)%' and pid <> pg_backend_pid()"
    )


def test_putconn():
    fakes = [BrokenConnection([]), FakeConnection([]), FakeConnection([])]
    pools = [Pool(fake) for fake in fakes]
    pdb = ParallelConnection(fakes)
    with pytest.raises(merganser.ProgrammingError, match="2 pools for 3 connections"):
        pdb.putconn(pools[:2])
    with pytest.raises(merganser.DatabaseError, match="connection 0: RuntimeError: not mine"):
        pdb.putconn(pools)
    assert [pool.back for pool in pools] == [[], [fakes[1]], [fakes[2]]]
    assert pdb.closed


def test_an_interrupted_query_is_ended_on_every_connection(urls, no_backend_left):
    """As Ctrl-C does it: a signal handler raises in the thread that waits."""
    import signal

    connections = [psycopg2.connect(url) for url in urls]
    with ParallelConnection(connections, native=False) as pdb:
        cursor = pdb.cursor()
        previous = signal.signal(
            signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                cursor.execute("select pg_sleep(60) /* marked */")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        no_backend_left()
        pdb.rollback()
        cursor.execute("select 1")
        assert len(cursor.fetchall()) == 3
    for connection in connections:
        connection.close()
