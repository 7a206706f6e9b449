"""Queries by con.sql and con.fan_out: what they give, what they refuse."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from unittest.mock import ANY

import pyarrow
import pyarrow.parquet
import pytest

import merganser
from conftest import ITEMS, SHARDS


def test_a_planned_query_answers_as_one_database(con):
    q = con.sql("SELECT kind, count(*) AS n, sum(amount) AS total FROM items GROUP BY kind ORDER BY kind")
    table = q.arrow()
    assert table.column_names == ["kind", "n", "total"]
    assert table["kind"].to_pylist() == [0, 1, 2, 3, 4]
    assert sum(table["n"].to_pylist()) == ITEMS
    expected = sum(Decimal(id) * Decimal("1.25") for id in range(ITEMS) if id % 10)
    assert sum(table["total"].to_pylist()) == expected


def test_a_fan_out_asks_every_shard_and_merges(con):
    counts = con.fan_out("SELECT count(*) AS n FROM items", order="shard")
    assert [row[0] for row in counts.rows()] == [ITEMS // SHARDS] * SHARDS
    merged = con.fan_out("SELECT count(*) AS n FROM items", merge_sql="SELECT sum(n) AS n FROM shards")
    assert merged.rows() == [(ITEMS,)]
    assert merged.schema.names == ["n"]


def test_nothing_is_sent_before_rows_are_wanted():
    con = merganser.connect("postgresql://nobody@127.0.0.1:1/nowhere")
    q = con.fan_out("SELECT 1")
    assert repr(q) == "<merganser fan-out, not run: SELECT 1>"
    assert "SELECT 1" in q._repr_html_()
    with pytest.raises(merganser.OperationalError) as caught:
        q.arrow()
    assert caught.value.shard == "s0"
    assert caught.value.kind == "connect"


def test_the_first_shard_tells_of_itself_where_it_may(con):
    sql = "SELECT version(), count(*) > 0 AS has_types FROM pg_type"
    [(version, has_types)] = con.sql(sql, system_catalogs=True).rows()
    assert version.startswith("PostgreSQL ") and has_types is True
    with pytest.raises(merganser.NotSupportedError):
        con.sql(sql).rows()


def test_values_are_given_by_number(con):
    since = datetime.datetime(2024, 1, 12, tzinfo=datetime.UTC)
    q = con.sql("SELECT count(*) FROM items WHERE at >= $1 AND kind = ANY($2)", [since, [1, 2]])
    (expected,) = [sum(1 for id in range(ITEMS) if id >= 11 * 24 and id % 5 in (1, 2))]
    assert q.rows() == [(expected,)]
    assert "2024-01-12" in q.mogrify()


def test_the_schema_comes_without_running(con):
    schema = con.sql("SELECT id, name, amount, at FROM items").schema
    assert schema.names == ["id", "name", "amount", "at"]
    assert [pg_type for _, pg_type, _ in schema.columns] == [
        "int8", "text", "numeric(12,2)", "timestamptz",
    ]  # fmt: skip
    assert pyarrow.schema(schema).field("id").type == pyarrow.int64()


def test_a_query_runs_anew_each_time(con, urls, admin):
    q = con.sql("SELECT count(*) FROM items WHERE name = 'more'")
    assert q.rows() == [(0,)]
    direct = admin(urls[0])
    direct.execute("INSERT INTO items VALUES (3000, 'more', 1, now(), 0)")
    try:
        assert q.rows() == [(1,)]
        assert q.arrow().column(0).to_pylist() == [1]
    finally:
        direct.execute("DELETE FROM items WHERE id = 3000")


def test_a_plan_is_for_people_programs_and_notebooks(con):
    q = con.sql("SELECT kind, avg(amount) FROM items GROUP BY kind ORDER BY kind")
    plan = q.explain()
    assert plan.arm == "combine"
    assert plan.exactness == "exact"
    assert "Step 1, on all 3 shards" in str(plan)
    assert [step["step"] for step in plan.steps] == list(range(1, len(plan.steps) + 1))
    page = plan._repr_html_()
    assert "on all 3 shards" in page and "<script" not in page
    analyzed = q.explain(analyze=True)
    assert analyzed.steps[0]["analysis"]["rows"] >= 5
    assert "exact because" not in str(plan)
    for verbose in (q.explain(verbose=True), q.explain(analyze=True, verbose=True)):
        assert "exact because\n    each row of items is on one shard" in str(verbose)
    assert "each row of items is on one shard" in plan.steps[0]["premises"]
    assert plan.json()["judged"][-1] == {"block": ANY, "arm": "combine", "obstacle": None}
    assert "background" in analyzed._repr_html_()


def test_what_stands_in_a_query_is_no_html(con):
    q = con.sql("SELECT '<script>alert(1)</script>' AS \"<b>\", id FROM items")
    q.schema
    assert "<script" not in q._repr_html_()
    assert "<b>" not in q._repr_html_()
    assert "<script" not in q.explain()._repr_html_()


def test_a_file_is_written_when_it_is_complete(con, tmp_path: Path):
    path = tmp_path / "items.parquet"
    assert con.sql("SELECT * FROM items ORDER BY id").write(path, compression="zstd") == ITEMS
    assert pyarrow.parquet.read_table(path)["id"].to_pylist() == list(range(ITEMS))
    lines = tmp_path / "items.ndjson"
    con.sql("SELECT id, amount FROM items ORDER BY id LIMIT 2").write(str(lines))
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [
        {"id": 0, "amount": None},
        {"id": 1, "amount": 1.25},
    ]
    with pytest.raises(merganser.DataError):
        con.sql("SELECT 1 / (id - 299) FROM items").write(tmp_path / "no.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["items.ndjson", "items.parquet"]
    with pytest.raises(merganser.ProgrammingError, match="extension"):
        con.sql("SELECT 1").write(tmp_path / "items.xlsx")


def test_an_answer_is_verified(con, one_url, urls):
    verified = con.sql("SELECT id, name FROM items ORDER BY id").verify(one_url)
    assert verified.rows == ITEMS
    assert verified.order_keys == 1
    with pytest.raises(merganser.Mismatch):
        con.sql("SELECT id, name FROM items ORDER BY id").verify(urls[0])


def test_a_reader_gives_batches_as_they_come(con):
    with con.sql("SELECT id FROM items ORDER BY id", batch_rows=100).reader() as reader:
        batches = list(reader)
        assert [len(batch) for batch in batches] == [100, 100, 100]
        assert pyarrow.record_batch(batches[0]).column(0).to_pylist() == list(range(100))
        assert batches[2].rows()[-1] == (299,)
        assert reader.rownumber == ITEMS


def test_rows_and_batches_of_a_reader_are_the_same_rows(con):
    reader = con.sql("SELECT id FROM items ORDER BY id", batch_rows=100).reader()
    assert reader.fetch_rows(3) == [(0,), (1,), (2,)]
    assert len(reader.next_batch()) == 97
    assert reader.fetch_rows(150)[-1] == (249,)
    assert pyarrow.table(reader)["id"].to_pylist() == list(range(250, 300))
    with pytest.raises(merganser.InterfaceError, match="handed over"):
        reader.fetch_rows(1)


def test_tables_tell_how_they_are_spread(con):
    tables = {table.name: table for table in con.tables()}
    assert tables["items"].kind == "sharded"
    assert tables["items"].key == "id"
    assert tables["kinds"].kind == "replicated"
    assert tables["dear_items"].kind == "view"
    assert tables["kinds"].columns == (
        merganser.Column("id", "integer", False),
        merganser.Column("label", "text", False),
    )


def test_an_inspection_finds_the_keys(urls, tmp_path: Path):
    lines: list[str] = []
    with merganser.connect(shards=urls) as con:
        report = con.inspect(verify=True, progress=lines.append)
    assert lines
    spread = {table["name"]: table["kind"] for table in report.tables}
    assert spread["kinds"] == "replicated"
    assert spread["items"] == "sharded"
    assert "items" in str(report)
    path = tmp_path / "merganser.toml"
    report.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with merganser.connect(path) as con:
        assert con.sql("SELECT count(*) FROM items").rows() == [(ITEMS,)]


def test_tables_are_declared_without_a_file(urls):
    with merganser.connect(
        shards=dict(zip("abc", urls, strict=True)),
        tables={
            "items": {"shard_key": "id", "shard_index": "id % 3"},
            "kinds": merganser.REPLICATED,
        },
        session={"timezone": "Europe/Berlin"},
    ) as con:
        assert con.shards == ["a", "b", "c"]
        q = con.sql("SELECT count(*) FROM items JOIN kinds ON kinds.id = kind")
        assert q.rows() == [(ITEMS,)]
        assert con.sql("SELECT current_setting('timezone')").rows() == [("Europe/Berlin",)]
        q = con.sql("SELECT current_setting('timezone')", session={"timezone": "Asia/Tokyo"})
        assert q.rows() == [("Asia/Tokyo",)]


def test_refresh_sees_what_was_created(con, urls, admin):
    assert con.sql("SELECT count(*) FROM kinds").rows() == [(5,)]
    shards = [admin(url) for url in urls]
    for shard in shards:
        shard.execute("CREATE VIEW few_kinds AS SELECT * FROM kinds WHERE id < 2")
    try:
        with pytest.raises(merganser.Error):
            con.sql("SELECT * FROM few_kinds").rows()
        con.refresh()
        assert len(con.sql("SELECT * FROM few_kinds").rows()) == 2
    finally:
        for shard in shards:
            shard.execute("DROP VIEW few_kinds")


def test_progress_is_told(con):
    seen: list[merganser.Progress] = []
    slow = "SELECT id, pg_sleep(0.003) FROM items"
    con.fan_out(slow).arrow(progress=seen.append)
    assert seen[-1].rows == ITEMS
    assert seen[-1].done == SHARDS
    assert [shard.shard for shard in seen[-1].shards] == ["s0", "s1", "s2"]
    assert "3/3 shards, 300 rows" in str(seen[-1])
    assert len(seen) > 1
    assert con.fan_out(slow).df(progress=True).shape == (ITEMS, 2)
