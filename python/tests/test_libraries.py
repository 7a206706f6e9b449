"""The libraries that take Arrow, each by its own way, without a detour through rows."""

from __future__ import annotations

import datetime
import inspect
import uuid
from decimal import Decimal

import adbc_driver_manager.dbapi
import duckdb
import ibis
import pandas
import polars
import pyarrow
import pytest

import adbc_driver_merganser.dbapi
import merganser
import merganser.cursor
from conftest import EVERYTHING, ITEMS

SQL = "SELECT id, name, amount, at FROM items ORDER BY id"


@pytest.fixture
def no_rows(monkeypatch):
    """Makes every detour through rows an error."""

    def detour(*_):
        raise AssertionError("rows were fetched")

    for name in ("fetchone", "fetchmany", "fetchall", "__next__"):
        monkeypatch.setattr(merganser.cursor.Cursor, name, detour)


@pytest.fixture
def q(con, no_rows):
    return con.sql(SQL)


def test_pyarrow(q):
    table = pyarrow.table(q)
    assert table.num_rows == ITEMS
    assert table.schema.field("amount").type == pyarrow.decimal128(12, 2)
    assert table.equals(q.arrow())
    assert pyarrow.schema(q) == table.schema
    reader = pyarrow.RecordBatchReader.from_stream(q)
    assert sum(batch.num_rows for batch in reader) == ITEMS


def test_polars(q):
    frame = polars.DataFrame(q)
    assert frame.shape == (ITEMS, 4)
    assert frame["amount"].dtype == polars.Decimal(12, 2)
    assert frame["at"].dtype == polars.Datetime("us", "UTC")
    assert frame.equals(q.pl())
    assert polars.from_arrow(q).struct.unnest().equals(frame)


def test_polars_read_database(con, no_rows):
    frame = polars.read_database(SQL, con)
    assert frame.equals(con.sql(SQL).pl())
    # In several batches, of which it would take the first if it could iterate over them.
    assert polars.read_database("SELECT * FROM items", con).height == ITEMS
    one = polars.read_database(
        "SELECT name FROM items WHERE id = %s", con, execute_options={"parameters": [7]}
    )
    assert one["name"].to_list() == ["item 7"]
    batches = polars.read_database(SQL, con, iter_batches=True)
    assert sum(batch.height for batch in batches) == ITEMS


def test_polars_read_database_uri(topology, no_rows):
    frame = polars.read_database_uri(SQL, f"merganser://{topology}", engine="adbc")
    assert frame.shape == (ITEMS, 4)
    unordered = polars.read_database_uri(
        "SELECT * FROM items", f"merganser://{topology}", engine="adbc"
    )
    assert unordered.height == ITEMS


def test_pandas(q):
    frame = pandas.DataFrame.from_arrow(q)
    assert frame.shape == (ITEMS, 4)
    assert frame["amount"][1] == Decimal("1.25")
    assert q.df().equals(frame)


def test_pandas_read_sql(con, no_rows):
    frame = pandas.read_sql(SQL, con)
    assert frame.shape == (ITEMS, 4)
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert len(pandas.read_sql("SELECT * FROM items", con)) == ITEMS
    arrow = pandas.read_sql(SQL, con, dtype_backend="pyarrow")
    assert arrow["id"].dtype == pandas.ArrowDtype(pyarrow.int64())
    with pytest.raises(NotImplementedError):
        pandas.read_sql("SELECT %s::int", con, params=[1])


def test_pandas_own_parameters_without_adbc(topology):
    with merganser.connect(topology, adbc=False) as con:
        assert type(con) is merganser.Connection
        with pytest.warns(UserWarning, match="SQLAlchemy"):
            frame = pandas.read_sql("SELECT name FROM items WHERE id = %s", con, params=[7])
    assert frame["name"].to_list() == ["item 7"]


def test_pandas_dtypes_lose_no_digit(con):
    q = con.sql("SELECT i8, n2, b, f8, t FROM everything ORDER BY id")
    assert str(q.df()["i8"].dtype) == "Int64"
    assert q.df()["i8"][0] == 9007199254740993
    assert str(q.df(dtype_backend="numpy_nullable")["b"].dtype) == "boolean"
    assert q.df(dtype_backend="pyarrow")["n2"].dtype == pandas.ArrowDtype(pyarrow.decimal128(12, 2))
    with pytest.raises(merganser.NotSupportedError, match="dtype_backend"):
        q.df(dtype_backend="numpy")


def test_duckdb_scans_a_query_as_often_as_it_likes(q):
    assert duckdb.sql("SELECT count(*), sum(amount) FROM q").fetchall()[0][0] == ITEMS
    assert duckdb.sql("FROM q").fetchall()[7][1] == "item 7"
    pairs = duckdb.sql("SELECT count(*) FROM q a JOIN q b USING (id)").fetchall()
    assert pairs == [(ITEMS,)]


def test_duckdb_reads_a_reader_once(con):
    reader = con.sql(SQL).reader()
    assert duckdb.sql("SELECT max(id) FROM reader").fetchall() == [(ITEMS - 1,)]


def test_ibis(q):
    table = ibis.memtable(q)
    assert table.count().to_pyarrow().as_py() == ITEMS
    assert table.filter(table.id == 7).name.to_pyarrow().to_pylist() == ["item 7"]


def test_every_type_goes_through_arrow(con):
    q = con.sql("SELECT * FROM everything ORDER BY id")
    table = q.arrow()
    row, nulls = table.to_pylist()
    assert set(row) == {"id", *EVERYTHING}
    assert all(value is None for name, value in nulls.items() if name != "id")
    assert row["n"] == Decimal("12345.67")
    assert row["u"] == uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    assert row["d"] == datetime.date(2024, 2, 29)
    assert row["mood"] == "happy"
    assert row["arr"] == [1, None, 3]
    assert row["pair"] == {"number": 1, "word": "x"}
    assert len(q.df()) == 2
    assert duckdb.sql("SELECT count(*) FROM q WHERE mood = 'happy'").fetchall() == [(1,)]


def test_every_type_goes_into_polars(con):
    names = [name for name in EVERYTHING if name != "iv"]
    frame = con.sql(f"SELECT id, {', '.join(names)}, iv FROM everything ORDER BY id", interval="text").pl()
    assert frame.shape == (2, len(EVERYTHING) + 1)
    assert frame["u"][0] is not None
    assert frame["iv"][0] == "3 days 04:05:06.7"


def test_text_in_polars_is_the_text(con):
    """It is handed over as views, in which up to 12 bytes stand themselves, and NULL is none of them."""
    q = con.sql(
        "SELECT n, repeat('x', n) AS t, repeat('ä', n)::bytea AS b, nullif(repeat('y', n % 14), '') AS v "
        "FROM generate_series(0, 40) n ORDER BY n",
        batch_rows=7,
    )
    frame = q.pl()
    assert frame["t"].to_list() == ["x" * n for n in range(41)]
    assert frame["b"].to_list() == ["ä".encode() * n for n in range(41)]
    assert frame["v"].to_list() == ["y" * (n % 14) or None for n in range(41)]
    assert frame.equals(polars.DataFrame(q))
    cursor = con.execute(q.sql, batch_rows=7)
    assert cursor.fetchone()[1] == ""
    assert cursor.fetch_polars().equals(frame[1:])
    assert con.sql("SELECT 'x' AS t, 'y'::bytea AS b WHERE false").pl().schema == {
        "t": polars.String,
        "b": polars.Binary,
    }


@pytest.mark.parametrize(
    ("value", "cure"), [("interval '1 month'", 'interval="text"'), ("1::numeric(50,2)", "numeric(38")]
)
def test_what_polars_has_no_type_for_is_an_error_with_a_cure(con, value, cure):
    with pytest.raises(merganser.NotSupportedError, match="column 'x'") as caught:
        con.sql(f"SELECT {value} AS x").pl()
    assert cure in caught.value.hint
    assert con.sql(f"SELECT {value} AS x").arrow().num_rows == 1


def test_a_connection_is_one_of_adbc(con):
    assert isinstance(con, adbc_driver_manager.dbapi.Connection)
    assert isinstance(con, merganser.Connection)
    assert con.adbc_get_info()["vendor_name"] == "Merganser"
    assert con.adbc_current_db_schema == "public"
    schema = con.adbc_get_table_schema("items", db_schema_filter="public")
    assert schema.names == ["id", "name", "amount", "at", "kind"]
    objects = con.adbc_get_objects(table_name_filter="item_").read_all().to_pylist()
    (catalog,) = objects
    (db_schema,) = catalog["catalog_db_schemas"]
    (table,) = db_schema["db_schema_tables"]
    assert [column["column_name"] for column in table["table_columns"]] == schema.names
    assert con.adbc_get_objects(depth="catalogs").read_all().num_rows == 1
    with con.adbc_clone() as clone, clone.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)
        assert cursor.adbc_execute_schema("SELECT 1 AS one").names == ["one"]


@pytest.mark.parametrize("name", ["Connection", "Cursor"])
def test_nothing_of_adbc_s_own_classes_is_inherited(con, name):
    """A new ADBC may add methods, which would look for a driver beneath."""
    base = getattr(adbc_driver_manager.dbapi, name)
    ours = getattr(adbc_driver_merganser.dbapi, name)
    public = {member for member in dir(base) if not member.startswith("_")}
    own = {member for cls in ours.__mro__ if cls.__module__.split(".")[0] in (
        "merganser", "adbc_driver_merganser") for member in vars(cls)}  # fmt: skip
    own |= set(vars(con.cursor() if name == "Cursor" else con))
    # PEP 249 leaves it to those who call procedures.
    assert public - own - {"callproc"} == set()
    if issubclass(ours, base):
        assert {"__init__", "__del__", "__enter__", "__exit__"} - own == set()


def test_methods_that_have_no_driver_say_so(con):
    for member in ("adbc_connection", "adbc_database"):
        with pytest.raises(merganser.NotSupportedError, match="no C driver"):
            getattr(con, member)
    with con.cursor() as cursor:
        with pytest.raises(merganser.NotSupportedError):
            cursor.adbc_ingest("x", None)
        with pytest.raises(merganser.NotSupportedError):
            cursor.executescript("SELECT 1")
        assert inspect.getdoc(cursor.execute)


@pytest.mark.parametrize("uri", ["merganser://host/x", "merganser://", "postgresql:///x", "merganser:///x?y=z"])
def test_a_uri_names_a_file(uri):
    with pytest.raises(merganser.ProgrammingError, match="URI"):
        adbc_driver_merganser.dbapi.connect(uri)
