"""The driver under Python's driver manager, and under the libraries that go through it.

Run by `cargo test -p merganser-adbc`, which starts the servers and sets the variables below: two
shards s0 and s1 with `t(n)`, sharded by `n`, of the numbers 0 to 999 and 1000 to 2999.
"""

import datetime
import decimal
import faulthandler
import os
import pathlib
import re
import signal
import threading
import time

import adbc_driver_manager
import duckdb
import pandas
import polars
import pyarrow
import pytest
from adbc_driver_manager import dbapi

LIBRARY = os.environ["MERGANSER_ADBC_LIBRARY"]
TOPOLOGY = os.environ["MERGANSER_ADBC_TOPOLOGY"]
URI = f"merganser://{TOPOLOGY}"
README = pathlib.Path(__file__).parents[2] / "README.md"

SLEEP = "SELECT n, pg_sleep(600) FROM t"

# What hangs says where.
faulthandler.dump_traceback_later(300, exit=True)


@pytest.fixture(scope="session", autouse=True)
def manifest(tmp_path_factory):
    """The manifest of the README, with the library that is tested."""
    text = next(block for block in blocks("toml") if "manifest_version" in block)
    folder = tmp_path_factory.mktemp("drivers")
    text = text.replace("/usr/local/lib/libmerganser_adbc.so", LIBRARY)
    assert LIBRARY in text
    (folder / "merganser.toml").write_text(text)
    os.environ["ADBC_DRIVER_PATH"] = str(folder)


@pytest.fixture
def con():
    with dbapi.connect(URI) as con:
        yield con


@pytest.fixture
def observer():
    """A connection that looks at what the shards run."""
    kwargs = {"merganser.mode": "fan_out"}
    with dbapi.connect(URI, conn_kwargs=kwargs) as con:
        yield lambda: active(con)


def active(con):
    with con.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE state = 'active'"
            " AND application_name = 'merganser' AND datname = current_database()"
            " AND query NOT LIKE '%pg_stat_activity%'"
        )
        return cursor.fetch_arrow_table().num_rows


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come to pass")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_scheme_of_a_uri_finds_the_driver(con):
    with con.cursor() as cursor:
        cursor.execute("SELECT n, n % 3 AS r FROM t WHERE n < $1 ORDER BY n", (3,))
        assert [column[0] for column in cursor.description] == ["n", "r"]
        assert cursor.fetchall() == [(0, 0), (1, 1), (2, 2)]


def test_by_path_and_options():
    text = pathlib.Path(TOPOLOGY).read_text()
    urls = re.findall(r'url = "(.*)"', text)
    options = {"merganser.shards": " ".join(urls), "merganser.mode": "fan_out"}
    with dbapi.connect(LIBRARY, db_kwargs=options, autocommit=True) as con, con.cursor() as cursor:
        cursor.execute("SELECT count(*) AS n FROM t")
        assert sorted(cursor.fetchall()) == [(1000,), (2000,)]
        statement = cursor.adbc_statement
        statement.set_options(**{"merganser.merge_sql": "SELECT sum(n) AS n FROM shards"})
        cursor.execute("SELECT count(*) AS n FROM t")
        assert cursor.fetchall() == [(3000,)]


def test_values_of_python_are_parameters(con):
    values = (
        7,
        "it's",
        decimal.Decimal("12.50"),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 30, 0, 1),
        b"\x00\xff",
        True,
        None,
        1.5,
    )
    sql = (
        "SELECT $1::int8, $2::text, $3::numeric(6,2), $4::date, $5::timestamp, $6::bytea, $7::bool,"
        " $8::int, $9::float8 FROM t LIMIT 1"
    )
    with con.cursor() as cursor:
        cursor.execute(sql, values)
        assert cursor.fetchone() == values


def test_rows_of_parameters(con):
    with con.cursor() as cursor:
        cursor.execute(
            "SELECT n FROM t WHERE n = $1", pyarrow.record_batch({"$1": [5, 2000, None, 7]})
        )
        assert cursor.fetchall() == [(5,), (2000,), (7,)]
        # No result, and every row executed.
        cursor.executemany("SELECT n FROM t WHERE n < $1", [(1,), (10,)])
        assert cursor.rowcount == 11
        cursor.execute("SELECT count(*) FROM t WHERE n = ANY($1)", ([1, 2, 2500],))
        assert cursor.fetchone() == (3,)


def test_dataframes(con):
    sql = "SELECT n, n * 2 AS twice FROM t ORDER BY n"
    frame = polars.read_database(sql, con)
    assert frame.schema == {"n": polars.Int32, "twice": polars.Int32}
    assert frame["n"].to_list() == list(range(3000))
    assert pandas.read_sql(sql, con)["twice"].sum() == 2 * sum(range(3000))
    with con.cursor() as cursor:
        cursor.execute(sql)
        reader = cursor.fetch_record_batch()
        assert duckdb.sql("SELECT sum(n) FROM reader").fetchall() == [(sum(range(3000)),)]


def test_the_catalog(con):
    table = con.adbc_get_objects(depth="all", table_name_filter="t").read_all()
    [catalog] = table.to_pylist()
    assert catalog["catalog_name"] is None
    [schema] = catalog["catalog_db_schemas"]
    [t] = schema["db_schema_tables"]
    assert (schema["db_schema_name"], t["table_name"], t["table_type"]) == ("public", "t", "table")
    assert [column["column_name"] for column in t["table_columns"]] == ["n"]
    assert con.adbc_get_table_schema("t") == pyarrow.schema([("n", pyarrow.int32())])
    assert con.adbc_get_table_types() == ["table", "view"]
    assert con.adbc_get_info()["driver_name"] == "ADBC Merganser Driver"
    assert con.adbc_current_db_schema == "public"
    with con.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT n::text FROM t").types == [pyarrow.string()]
        parameters = cursor.adbc_prepare("SELECT n FROM t WHERE n > $1 AND $2")
        assert parameters.types == [pyarrow.int32(), pyarrow.bool_()]
        plan = cursor.adbc_statement.get_option("merganser.explain")
        assert "s0" in plan and "s1" in plan


def test_errors_are_python_s(con):
    with con.cursor() as cursor:
        with pytest.raises(dbapi.ProgrammingError) as caught:
            cursor.execute("SELECT frm FROM t")
        assert caught.value.sqlstate == "42703"
        # The manager gives the keys as bytes, too.
        details = dict(caught.value.details)
        assert details[b"kind"] == b"Server" and details[b"phase"] == b"describe"
        with pytest.raises(dbapi.Error):
            cursor.execute("DELETE FROM t")
        with pytest.raises(dbapi.NotSupportedError, match="only reads"):
            cursor.adbc_ingest("t", pyarrow.table({"n": [1]}), mode="append")
    with pytest.raises(dbapi.Error, match="file not found"):
        dbapi.connect("merganser:///nowhere/merganser.toml")


def test_partitions_are_read_by_other_connections(con):
    with con.cursor() as cursor:
        parts, schema = cursor.adbc_execute_partitions("SELECT n FROM t WHERE n % 2 = $1", (1,))
        assert len(parts) == 2 and schema == pyarrow.schema([("n", pyarrow.int32())])
        with dbapi.connect(URI) as other, other.cursor() as reading:
            numbers = []
            for part in parts:
                reading.adbc_read_partition(part)
                numbers += reading.fetch_arrow_table().column("n").to_pylist()
        assert sorted(numbers) == list(range(1, 3000, 2))
        # Partitions have no order, so what has one is one partition.
        (part,), _ = cursor.adbc_execute_partitions("SELECT n FROM t ORDER BY n DESC LIMIT $1", (3,))
        cursor.adbc_read_partition(part)
        assert cursor.fetchall() == [(2999,), (2998,), (2997,)]
        with pytest.raises(dbapi.Error, match="snapshot of the partition is not there"):
            cursor.adbc_read_partition(parts[0])
        with pytest.raises(dbapi.ProgrammingError, match="no descriptor of a partition"):
            cursor.adbc_read_partition(b"x")


def test_an_error_in_mid_stream_names_the_shard(con):
    sql = "SELECT n, repeat('x', 1000), 1 / (n - 2900) AS x FROM t"
    with con.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"merganser.batch_rows": "100"})
        # Before the first batch, if the shard is quick: whoever waits is told at once.
        with pytest.raises(Exception, match=r'(?s)shard "s1".*SQLSTATE 22012'):
            cursor.execute(sql)
            cursor.fetch_record_batch().read_all()
        # What Polars raises has the same text.
        with pytest.raises(Exception, match=r'(?s)shard "s1".*SQLSTATE 22012'):
            polars.read_database(sql, con)


def test_another_thread_cancels(con, observer):
    with con.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"merganser.mode": "fan_out"})

        def cancel():
            until(lambda: observer() == 2)
            cursor.adbc_cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(dbapi.OperationalError, match="cancelled") as caught:
            cursor.execute(SLEEP)
        assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.CANCELLED
        thread.join()
    until(lambda: observer() == 0)


@pytest.mark.parametrize("mode", ["query", "fan_out"])
def test_ctrl_c_ends_the_query_everywhere(con, observer, mode):
    sql = SLEEP
    if mode == "query":
        sql = "SELECT count(*) FROM t a, generate_series(1, 1000000000) g WHERE g % 7 = a.n"
    with con.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"merganser.mode": mode})

        def interrupt():
            until(lambda: observer() == 2)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        # What the driver manager makes of Ctrl-C.
        with pytest.raises(dbapi.OperationalError, match="CANCELLED: the query was cancelled"):
            cursor.execute(sql)
        thread.join()
    until(lambda: observer() == 0)


def test_ctrl_c_ends_a_query_whose_rows_are_read(con, observer):
    sql = (
        "SELECT n, repeat('x', 1000), pg_sleep(CASE WHEN n < 20000 THEN 0 ELSE 600 END)::text"
        " FROM generate_series(1, 100000) n"
    )
    with con.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"merganser.mode": "fan_out"})
        cursor.execute(sql)
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(Exception, match="the query was cancelled"):
            cursor.fetch_arrow_table()
        timer.join()
    until(lambda: observer() == 0)


def test_a_cursor_that_is_closed_ends_its_query(con, observer):
    cursor = con.cursor()
    cursor.adbc_statement.set_options(**{"merganser.mode": "fan_out"})
    cursor.execute("SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) n")
    assert cursor.fetchone()[0] == 1
    assert observer() == 2
    cursor.close()
    until(lambda: observer() == 0)


def test_a_child_of_fork_is_told_and_hurts_nobody(con):
    with con.cursor() as cursor:
        cursor.execute("SELECT n FROM t ORDER BY n")
        first = cursor.fetchone()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                con.cursor().execute("SELECT 1")
                text = "no error"
            except BaseException as error:
                text = str(error)
            os.write(write, text.encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert b"do not survive fork()" in os.read(read, 10_000)
        # The parent's rows still come.
        assert [first, *cursor.fetchall()] == [(n,) for n in range(3000)]


def test_connections_in_threads():
    def ask(answers):
        with dbapi.connect(URI) as con, con.cursor() as cursor:
            for _ in range(5):
                cursor.execute("SELECT sum(n) FROM t")
                answers.append(cursor.fetchone()[0])

    answers = []
    threads = [threading.Thread(target=ask, args=(answers,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [sum(range(3000))] * 40


def test_transactions_are_nothing_to_wait_for(con):
    with con.cursor() as cursor:
        cursor.execute("SELECT 1")
        con.commit()
        con.rollback()
    assert adbc_driver_manager.__version__ == "1.13.0"


@pytest.mark.parametrize("block", blocks("python"))
def test_the_readme_s_python_runs(block, monkeypatch):
    block = block.replace("merganser:///etc/merganser.toml", URI)
    block = block.replace("/usr/local/lib/libmerganser_adbc.so", LIBRARY)
    exec(compile(block, "README.md", "exec"), {})
