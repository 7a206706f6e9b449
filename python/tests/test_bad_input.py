"""What is wrong is told: clearly, at once, and with the way out."""

from __future__ import annotations

import datetime
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import polars
import pyarrow
import pyarrow.parquet
import pytest

import merganser
from conftest import wait_until

TRICKLE = "SELECT i, pg_sleep(0.001) AS x FROM generate_series(1, 3600000) i /* marked */"


def test_a_file_that_is_not_there():
    with pytest.raises(merganser.ProgrammingError, match="no/such.toml: file not found") as caught:
        merganser.connect("no/such.toml")
    assert caught.value.kind == "config"
    assert caught.value.hint and caught.value.hint in caught.value.__notes__[0]


def test_no_databases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(merganser.ProgrammingError, match="no databases"):
        merganser.connect()
    with pytest.raises(merganser.ProgrammingError, match="shards is empty"):
        merganser.connect(shards=[])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": (5,)}, "not int"),
        ({"targets": (["postgresql://x"],)}, "shards="),
        ({"targets": ("a.toml", "b.toml")}, "one topology file"),
        ({"targets": ("a.toml", "postgresql://x")}, "not both"),
        ({"targets": ("a.toml",), "shards": ["postgresql://x"]}, "one of them"),
        ({"targets": ("a.toml",), "tables": {"t": "k"}}, "without a topology file"),
        ({"shards": "postgresql://x"}, "a list of URLs"),
        ({"shards": [7]}, "not by a int"),
        ({"shards": ["postgresql://x"], "tables": {"t": 7}}, "table 't'"),
        ({"shards": ["postgresql://x"], "tables": {"t": {"key": "k"}}}, "shard_key"),
        ({"shards": ["postgresql://x"], "tables": {"t": {"colocation": "k"}}}, "shard_key or"),
    ],
)
def test_arguments_of_connect(arguments, message):
    with pytest.raises(merganser.InterfaceError) as caught:
        merganser.connect(*arguments.pop("targets", ()), **arguments)
    assert message in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret-word@h/d?sslmode=never", "postgresql://u:secret-word@h:x/d"]
)
def test_no_message_shows_a_password(url):
    with pytest.raises(merganser.ProgrammingError) as caught:
        merganser.connect(url)
    assert "secret-word" not in repr(caught.value) + str(caught.value.hint)
    with pytest.raises(merganser.ProgrammingError):
        merganser.connect(shards=[url, url])
    with merganser.connect("postgresql://u:secret-word@127.0.0.1:1/d") as con:
        q = con.fan_out("SELECT 1")
        shown = repr(con) + repr(q) + q._repr_html_() + repr(con._cluster)
        with pytest.raises(merganser.OperationalError) as caught:
            q.rows()
    assert "secret-word" not in shown + repr(caught.value)


@pytest.mark.parametrize("given", ["url", "keywords", "variable", "file"])
def test_a_password_is_in_nothing_that_python_shows(given, tmp_path, monkeypatch, caplog, urls):
    # First what the level was, which is restored.
    caplog.set_level("DEBUG", "merganser")
    merganser.enable_logging("DEBUG")
    place = urls[0].rpartition("@")[2].partition("/")
    host, database = place[0], place[2]
    port = host.rpartition(":")[2]
    plain = f"postgresql://postgres@{host}/{database}"
    targets = {
        "url": f"postgresql://postgres:sesame7@{host}/{database}",
        "keywords": f"host=127.0.0.1 port={port} user=postgres dbname={database} password=sesame7",
        "variable": plain,
        "file": str(tmp_path / "m.toml"),
    }
    if given == "variable":
        monkeypatch.setenv("PGPASSWORD", "sesame7")
    (tmp_path / "m.toml").write_text(f'[[shard]]\nname = "s0"\nurl = "{targets["url"]}"\n')
    closed = targets[given].replace(port, "1")
    (tmp_path / "closed.toml").write_text(
        f'[[shard]]\nname = "s0"\nurl = "{targets["url"].replace(port, "1")}"\n'
    )
    if given == "file":
        closed = str(tmp_path / "closed.toml")
    shown = []
    for target in (targets[given], closed):
        with merganser.connect(target) as con:
            shown += [repr(con), str(con), repr(con._cluster)]
            for sql in ("SELECT 1 AS a", "SELECT 1 / 0", "SELECT nope", "SELEC"):
                query = con.fan_out(sql)
                shown += [repr(query), query._repr_html_()]
                try:
                    shown.append(repr(query.rows()))
                except merganser.Error as error:
                    while error is not None:
                        notes = getattr(error, "__notes__", [])
                        fields = getattr(error, "__dict__", {})
                        shown += [str(error), repr(error), repr(notes), repr(fields)]
                        error = error.__cause__ or error.__context__
    shown += [record.getMessage() for record in caplog.records]
    assert len(shown) > 40
    assert [text for text in shown if "sesame7" in text.lower()] == []


def test_one_database_given_twice(urls):
    with pytest.raises(merganser.ProgrammingError, match="same URL"):
        merganser.connect(urls[0], urls[0])


def test_a_query_without_tables(urls):
    with merganser.connect(*urls) as con:
        with pytest.raises(merganser.ProgrammingError, match="knows no tables") as caught:
            con.sql("SELECT * FROM items")
        assert "fan_out" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"order": "random"}, merganser.ProgrammingError),
        ({"merge": "never"}, merganser.ProgrammingError),
        ({"numeric": "decimal(99,1)"}, merganser.ProgrammingError),
        ({"interval": "seconds"}, merganser.ProgrammingError),
        ({"unrepresentable": "zero"}, merganser.ProgrammingError),
        ({"batch_rows": 0}, merganser.ProgrammingError),
        ({"timeout": "1min"}, TypeError),
        ({"timeout": -1}, TypeError),
        ({"timeout": float("nan")}, TypeError),
        ({"memory": 1.5}, TypeError),
        ({"memroy": 1}, TypeError),
        ({"system_catalogs": "yes"}, TypeError),
        ({"session": "UTC"}, TypeError),
        ({"session": {"timezone": 7}}, TypeError),
        ({"session": {"statement_timeout": "soon"}}, merganser.ProgrammingError),
    ],
)
def test_options_of_queries(con, options, error):
    with pytest.raises(error):
        con.sql("SELECT 1", **options)


def test_settings_that_are_pinned_or_unknown(con):
    with pytest.raises(merganser.Error, match="datestyle"):
        con.sql("SELECT 1", session={"datestyle": "German"}).rows()
    with pytest.raises(merganser.Error, match="no_such_setting"):
        con.sql("SELECT 1", session={"no_such_setting": "1"}).rows()


def test_sql_that_is_none(con):
    for wrong in (None, b"SELECT 1", 7):
        with pytest.raises((TypeError, merganser.ProgrammingError)):
            con.sql(wrong)
    with pytest.raises(merganser.ProgrammingError):
        con.sql("").rows()
    with pytest.raises(merganser.ProgrammingError) as caught:
        con.sql("SELECT * FROM no_such_table").rows()
    assert caught.value.sqlstate == "42P01"
    assert caught.value.phase == "describe"
    with pytest.raises(merganser.Error):
        con.sql("DELETE FROM items").rows()
    with pytest.raises(merganser.Error):
        con.sql("SELECT 1; SELECT 2").rows()


def test_parameters_that_fit_nothing(con):
    with pytest.raises(merganser.ProgrammingError, match="= ANY") as caught:
        con.sql("SELECT * FROM items WHERE id IN ($1)", [(1, 2)])
    assert isinstance(caught.value, TypeError) or "tuple" in str(caught.value)
    with pytest.raises(merganser.ProgrammingError):
        con.sql("SELECT $1::int", [object()])
    with pytest.raises(merganser.ProgrammingError):
        con.sql("SELECT $1::int + $2", [1]).rows()
    with pytest.raises(merganser.ProgrammingError):
        con.sql("SELECT $1::int", {"a": 1})


def test_what_is_refused_says_why(con):
    with pytest.raises(merganser.NotSupportedError) as caught:
        con.sql("SELECT * FROM items FOR UPDATE").rows()
    assert caught.value.kind == "unsupported"


def test_a_closed_connection(topology):
    con = merganser.connect(topology)
    q = con.sql("SELECT id FROM items")
    reader = q.reader()
    cursor = con.cursor()
    con.close()
    con.close()
    assert con.closed
    assert "closed" in repr(con)
    for call in (
        lambda: con.sql("SELECT 1"),
        lambda: con.fan_out("SELECT 1"),
        con.cursor,
        con.tables,
        con.commit,
        con.refresh,
        q.arrow,
        q.explain,
        lambda: q.schema,
        lambda: pyarrow.table(q),
        lambda: polars.DataFrame(q),
        lambda: cursor.execute("SELECT 1"),
        lambda: reader.fetch_rows(),
        lambda: con.__enter__(),
    ):
        with pytest.raises(merganser.InterfaceError, match="closed"):
            call()


def test_a_shard_that_dies_while_rows_come(con, urls, admin, marked):
    direct = admin(urls[1])

    def ended():
        wait_until(lambda: not marked(), "a marked statement still runs")

    def kill():
        wait_until(lambda: len(marked()) >= 3, "the query did not begin")
        direct.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shard1' "
            "AND query LIKE '%/* marked *' || '/%' AND pid <> pg_backend_pid()"
        )

    q = con.fan_out(TRICKLE, batch_rows=10)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        with pytest.raises(merganser.OperationalError) as caught:
            q.arrow()
        killed.result()
        ended()
        assert caught.value.shard == "s1"
        assert caught.value.phase == "stream"
        assert caught.value.sqlstate == "57P01"
        capsule_owner = pyarrow.RecordBatchReader.from_stream(q)
        killed = pool.submit(kill)
        with pytest.raises(Exception, match='shard "s1".*57P01'):
            for _ in capsule_owner:
                pass
        killed.result()
        ended()
        killed = pool.submit(kill)
        with pytest.raises(Exception, match='shard "s1".*57P01'):
            polars.DataFrame(q)
        killed.result()
        ended()


def test_a_shard_that_is_away(urls):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"postgresql://u@127.0.0.1:{closed.getsockname()[1]}/d?connect_timeout=2"
    tables = {"items": "id"}
    with merganser.connect(shards=[urls[0], away], tables=tables) as con:
        here = con.fan_out("SELECT id FROM items", allow_missing_shards=True)
        assert here.missing_shards == {}
        for q in (here, con.sql("SELECT id FROM items", allow_missing_shards=True)):
            found = q.rows()
            assert found
            assert list(q.missing_shards) == ["s1"]
            assert "refused" in q.missing_shards["s1"] or "cannot connect" in q.missing_shards["s1"]
        cursor = con.cursor(allow_missing_shards=True).execute("SELECT id FROM items ORDER BY id")
        assert sorted(found) == cursor.fetchall()
        assert list(cursor.missing_shards) == ["s1"]
        for q in (con.fan_out("SELECT 1"), con.fan_out("SELECT 1", allow_missing_shards=False)):
            with pytest.raises(merganser.OperationalError) as caught:
                q.rows()
            assert caught.value.shard == "s1"
            assert q.missing_shards == {}
        with pytest.raises(merganser.NotSupportedError, match="may not be missing"):
            con.sql("SELECT count(*) FROM items", allow_missing_shards=True).rows()
        with pytest.raises(TypeError, match="True or False"):
            con.fan_out("SELECT 1", allow_missing_shards="s1")


def test_shards_that_are_read_too_far_apart(con, tmp_path):
    for ask in (con.sql, con.fan_out):
        assert ask("SELECT id FROM items", max_skew=20).rows()
        with pytest.raises(merganser.Error, match="max_skew is") as caught:
            ask("SELECT id FROM items", max_skew=1e-9).rows()
        assert "--max-skew" in caught.value.hint
        for wrong in ("soon", -1):
            with pytest.raises(TypeError, match="max_skew is a number of seconds"):
                ask("SELECT 1", max_skew=wrong)
    path = tmp_path / "items.parquet"
    con.sql("SELECT id FROM items", max_skew=20).write(str(path))
    told = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"merganser.read_fence"])
    assert 0 < told["skew_ms"] <= 20_000
    assert told["watermark"] is None


def test_an_error_while_rows_come_repeats(con):
    reader = con.fan_out("SELECT 1 / (200 - i) FROM generate_series(1, 300) i", batch_rows=50).reader()
    for _ in range(2):
        with pytest.raises(merganser.DataError) as caught:
            reader.fetch_rows()
        assert caught.value.sqlstate == "22012"
        assert caught.value.shard in ("s0", "s1", "s2")


def test_shards_that_disagree(con, urls, admin):
    shard = admin(urls[2])
    shard.execute("CREATE VIEW odd AS SELECT 1::bigint AS x")
    others = [admin(url) for url in urls[:2]]
    for other in others:
        other.execute("CREATE VIEW odd AS SELECT 1::int AS x")
    try:
        with pytest.raises(merganser.NotSupportedError):
            con.fan_out("SELECT * FROM odd").rows()
    finally:
        for each in (shard, *others):
            each.execute("DROP VIEW odd")


def test_columns_that_changed_behind_a_schema(con, urls, admin):
    shards = [admin(url) for url in urls]
    for shard in shards:
        shard.execute("CREATE VIEW fickle AS SELECT 1::int AS x")
    try:
        q = con.fan_out("SELECT * FROM fickle")
        assert q.__arrow_c_schema__()
        assert pyarrow.table(q).num_rows == 3
        for shard in shards:
            shard.execute("DROP VIEW fickle; CREATE VIEW fickle AS SELECT 'a'::text AS x")
        with pytest.raises(merganser.Mismatch, match="columns"):
            q.__arrow_c_stream__()
    finally:
        for shard in shards:
            shard.execute("DROP VIEW fickle")


def test_a_plan_of_a_fan_out(con):
    for call in (con.fan_out("SELECT 1").explain, lambda: con.fan_out("SELECT 1").verify("postgresql://")):
        with pytest.raises(merganser.NotSupportedError, match="fan-out"):
            call()


def test_a_report_is_not_written_over_a_file(con, tmp_path):
    path = tmp_path / "there.toml"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        con.inspect().write(path)
    assert path.read_text() == "mine"


def test_values_that_arrow_cannot_hold(con):
    sql = "SELECT 'infinity'::date AS d"
    with pytest.raises(merganser.DataError, match="infinity") as caught:
        con.sql(sql).arrow()
    assert caught.value.kind == "decode"
    assert con.sql(sql, unrepresentable="null").rows() == [(None,)]
    assert con.sql(sql, unrepresentable="text").rows() == [("infinity",)]


def test_an_interval_with_months_is_no_timedelta(con):
    assert con.sql("SELECT interval '1 day 2 seconds'").rows() == [
        (datetime.timedelta(days=1, seconds=2),)
    ]
    with pytest.raises(merganser.DataError, match="month"):
        con.sql("SELECT interval '1 month'").rows()
