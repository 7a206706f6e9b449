"""Queries in parts: made in one process, read in others, and what is said where that cannot be."""

from __future__ import annotations

import datetime
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars
import psycopg
import pyarrow
import pytest

import adbc_driver_merganser.dbapi
import merganser
from conftest import ITEMS, wait_until

#: Rows of ``big`` on each shard, some 8 MiB; parts are to have 1 MiB.
ROWS = 60_000
MIB = 1 << 20

#: Reads the parts of its standard input in the folder of a topology file, and says what they hold.
READER = """
import sys, merganser
with merganser.connect("merganser.toml") as con:
    for line in sys.stdin:
        rows = con.read_partition(line).arrow()
        print(*rows.column("id").to_pylist(), sum(rows.column("balance").to_pylist()))
"""


@pytest.fixture
def big(urls: list[str], admin: Callable[[str], psycopg.Connection]) -> Iterator[list[psycopg.Connection]]:
    """Connections to the shards, each of which has some of the rows of ``big``."""
    shards = [admin(url) for url in urls]
    for number, shard in enumerate(shards):
        shard.execute("CREATE TABLE big (id int, balance int, filler text)")
        shard.execute(
            "INSERT INTO big SELECT id, 10, repeat('x', 100) "
            "FROM generate_series(%s::int, %s::int) id",
            [number * ROWS, (number + 1) * ROWS - 1],
        )
        shard.execute("ANALYZE big")
    yield shards
    for shard in shards:
        shard.execute("DROP TABLE big")


@pytest.fixture
def home(topology: Path, tmp_path: Path) -> Path:
    """A folder with a topology file in which ``big`` is sharded, too."""
    table = '[[table]]\nname = "big"\nshard_key = "id"\n'
    (tmp_path / "merganser.toml").write_text(topology.read_text() + table)
    return tmp_path


def reader_in(folder: Path, key: str | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if key is not None:
        environment["MERGANSER_PARTITION_KEY"] = key
    return subprocess.Popen(
        [sys.executable, "-c", READER],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_other_processes_have_each_row_once_while_others_write(big, home, urls, admin, monkeypatch):
    monkeypatch.setenv("MERGANSER_PARTITION_KEY", "k")
    ended = threading.Event()

    def write(shard: psycopg.Connection) -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            shard.execute("UPDATE big SET balance = balance + 1 WHERE id %% 97 = %s", [turn % 97])
            shard.execute("DELETE FROM big WHERE id %% 89 = %s", [turn % 89])
            shard.execute("INSERT INTO big SELECT -1, 0, 'y' FROM generate_series(1, 100)")

    with merganser.connect(home / "merganser.toml") as con:
        with con.sql("SELECT id, balance FROM big").partitions(partition_bytes=MIB) as parts:
            writers = [threading.Thread(target=write, args=[admin(url)]) for url in urls]
            for writer in writers:
                writer.start()
            try:
                wait_until(
                    lambda: all(shard.execute("SELECT max(balance) FROM big").fetchone()[0] > 10 for shard in big),
                    "nobody writes",
                )
                assert len(parts) > 12 and parts.whole is None
                parts.check()
                readers = [reader_in(home, "k") for _ in range(2)]
                for number, reader in enumerate(readers):
                    lines = b"\n".join(parts[number::2]).decode()
                    assert reader.stdin is not None
                    reader.stdin.write(lines + "\n")
                    reader.stdin.close()
                seen: list[int] = []
                balance = 0
                for reader in readers:
                    with reader:
                        assert reader.stdout is not None
                        for line in reader.stdout:
                            *ids, of_part = map(int, line.split())
                            seen += ids
                            balance += of_part
                    assert reader.returncode == 0
            finally:
                ended.set()
                for writer in writers:
                    writer.join()
    assert sorted(seen) == list(range(3 * ROWS))
    assert balance == 10 * 3 * ROWS


def test_a_part_has_all_the_forms_of_a_query(con, tmp_path):
    sql = "SELECT id, name, amount, at FROM items WHERE id >= $1"
    with con.sql(sql, [100]).partitions() as parts:
        assert len(parts) == 3 and "small" in (parts.whole or ""), parts.whole
        assert parts.schema.names == ["id", "name", "amount", "at"]
        now = datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(hours=5) < parts.expires - now <= datetime.timedelta(hours=6)
        part = con.read_partition(parts[1])
        assert (part.shard, part.blocks) == ("s1", None)
        assert abs(part.expires - parts.expires) < datetime.timedelta(seconds=5)
        assert part.schema.columns == con.sql(sql, [100]).schema.columns
        expected = con.sql(sql + " AND id % 3 = 1", [100]).arrow().sort_by("id")
        for table in (
            part.arrow(),
            pyarrow.table(part),
            pyarrow.table(part.pl()),
            pyarrow.Table.from_batches(map(pyarrow.record_batch, part.reader())),
            polars.DataFrame(part).to_arrow(),
            duckdb.sql("FROM part").to_arrow_table(),
        ):
            assert table.num_rows == expected.num_rows == 67
            rows = sorted(table.to_pylist(), key=lambda row: row["id"])
            assert rows == expected.to_pylist()
        assert len(part.df()) == len(part.rows()) == part.write(tmp_path / "part.parquet") == 67
        seen: list[merganser.Progress] = []
        part.arrow(progress=seen.append)
        assert [(shard.shard, shard.rows) for shard in seen[-1].shards] == [("s1", 67)]
        everything = [row for part in parts for row in con.read_partition(part).rows()]
        assert sorted(everything) == sorted(con.sql(sql, [100]).rows())
        assert repr(part) == "<merganser part of a query, not read: all rows of s1>"
        assert "can be read until" in repr(parts)
        # Options that the query had in common with reading are the reader's.
        floats = con.read_partition(parts[1], numeric="float64", batch_rows=10)
        assert max(map(len, floats.reader())) == 10


def test_a_fan_out_has_parts_too(con, urls):
    # With one text for all shards, which need no tables to be known.
    with merganser.connect(*urls) as plain:
        with plain.fan_out("SELECT DISTINCT kind FROM items WHERE id < $1", [9]).partitions() as parts:
            assert len(parts) == 3 and "DISTINCT" in (parts.whole or "")
            kinds = [kind for part in parts for (kind,) in plain.read_partition(part).rows()]
    assert sorted(kinds) == sorted(id % 5 for id in range(9))


def test_what_has_no_parts_is_refused(con):
    for sql in (
        "SELECT count(*) FROM items",
        "SELECT id FROM items ORDER BY id",
        "SELECT id FROM items LIMIT 3",
    ):
        with pytest.raises(merganser.NotSupportedError, match="no partitions") as refused:
            con.sql(sql).partitions()
        assert refused.value.hint
    merged = con.fan_out("SELECT id FROM items", merge_sql="SELECT max(id) FROM shards")
    with pytest.raises(merganser.NotSupportedError, match="re-aggregation"):
        merged.partitions()


def test_arguments_that_are_wrong(con):
    q = con.sql("SELECT id FROM items")
    for lease in (0, -1, "1h"):
        with pytest.raises((TypeError, merganser.ProgrammingError), match="lease"):
            q.partitions(lease=lease)
    for partition_bytes in (0, -1, 1.5):
        with pytest.raises((TypeError, merganser.ProgrammingError), match="partition_bytes"):
            q.partitions(partition_bytes=partition_bytes)
    with pytest.raises(merganser.InterfaceError, match="key is bytes or a text"):
        q.partitions(key=1)  # type: ignore[arg-type]
    with q.partitions() as parts:
        with pytest.raises(TypeError, match="no option \"order\""):
            con.read_partition(parts[0], order="shard")
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(parts)
        assert pickle.loads(pickle.dumps(list(parts))) == list(parts)


def test_bytes_that_are_no_part_and_other_keys(con):
    with con.sql("SELECT id FROM items").partitions(key="secret") as parts:
        part = parts[0]
        assert b"postgresql://" not in part and b"secret" not in part
        for sealed, key in (
            (part, None),
            (part, b"other"),
            (part.replace(b"SELECT id", b"SELECT id+1"), "secret"),
            (part[:-5], "secret"),
            (b"", "secret"),
            (b"\x00\xff", "secret"),
        ):
            with pytest.raises(merganser.ProgrammingError, match="partition") as wrong:
                con.read_partition(sealed, key=key)
            assert wrong.value.hint
        # As a line of a file.
        assert con.read_partition(part.decode() + "\n", key=b"secret").rows()


def test_other_topologies_and_settings(con, urls):
    q = con.sql("SELECT at::text FROM items", session={"timezone": "Asia/Kolkata"})
    with q.partitions() as parts, merganser.connect(*urls) as foreign:
        part = foreign.read_partition(parts[0])
        with pytest.raises(merganser.ProgrammingError, match="of another topology") as wrong:
            part.arrow()
        assert "URLs may differ" in (wrong.value.hint or "")
        with pytest.raises(merganser.ProgrammingError, match="other settings"):
            con.read_partition(parts[0]).arrow()
        (text, *_), *_ = con.read_partition(parts[0], session={"timezone": "Asia/Kolkata"}).rows()
        assert text.endswith("+05:30")


def held(admin: Callable[[str], psycopg.Connection], urls: list[str]) -> Callable[[], int]:
    """How many transactions are held open."""
    watching = admin(urls[0])

    def count() -> int:
        row = watching.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'merganser' "
            "AND state = 'idle in transaction'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    return count


@pytest.mark.parametrize("how", ["close", "block", "object", "connection", "connection's object"])
def test_the_lease_ends_with(how, topology, urls, admin):
    count = held(admin, urls)
    con = merganser.connect(topology)
    parts = con.sql("SELECT id FROM items").partitions()
    assert count() == 3
    part = parts[0]
    if how == "close":
        parts.close()
        parts.close()
    elif how == "block":
        with parts:
            assert not parts.closed
    elif how == "object":
        del parts
        gc.collect()
    elif how == "connection":
        con.close()
    else:
        # The partitions keep what they need of it, but not it.
        del con
        gc.collect()
        parts.check()
        parts.close()
    wait_until(lambda: count() == 0, "the snapshots are kept")
    if how != "object":
        assert parts.closed and "closed" in repr(parts)
        with pytest.raises(merganser.InterfaceError, match="were closed"):
            parts.check()
    with merganser.connect(topology) as other:
        with pytest.raises(merganser.DatabaseError, match="snapshot of the partition is not there") as gone:
            other.read_partition(part).arrow()
    assert gone.value.shard == "s0" and gone.value.hint


def test_the_end_of_the_program_is_that_of_the_lease(topology, urls, admin):
    script = f"""
import merganser
con = merganser.connect({str(topology)!r})
parts = con.sql("SELECT id FROM items").partitions()
print(len(parts))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
    count = held(admin, urls)
    wait_until(lambda: count() == 0, "the snapshots are kept")


def test_a_lease_that_is_over(con):
    parts = con.sql("SELECT id FROM items").partitions(lease=1)
    wait_until(lambda: datetime.datetime.now(datetime.UTC) > parts.expires, "time stands still")
    with pytest.raises(merganser.ProgrammingError, match="lease of the partition is over"):
        con.read_partition(parts[0]).arrow()

    def ended() -> bool:
        try:
            parts.check()
        except merganser.OperationalError as error:
            assert "lease of the partitions is over" in str(error)
            return True
        return False

    wait_until(ended, "the lease goes on")
    assert parts.closed


def test_a_holder_that_is_lost(con, urls, admin):
    parts = con.sql("SELECT id FROM items").partitions()
    watching = admin(urls[1])
    watching.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND application_name = 'merganser'"
    )

    def lost() -> bool:
        try:
            parts.check()
        except merganser.Error as error:
            assert error.shard == "s1" and "holder of a snapshot is gone" in str(error)
            return True
        return False

    # It is looked at every 5 seconds.
    wait_until(lost, "nobody has noticed")
    with pytest.raises(merganser.Error, match="holder of a snapshot is gone"):
        parts.check()
    with pytest.raises(merganser.DatabaseError, match="snapshot of the partition is not there"):
        con.read_partition(parts[1]).arrow()


def test_the_child_of_a_fork_has_the_parts_and_not_the_lease(con):
    with con.sql("SELECT id FROM items").partitions() as parts:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert len(list(parts)) == 3
                try:
                    parts.check()
                except merganser.InterfaceError as error:
                    assert "do not survive a fork" in str(error)
                    parts.close()
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        time.sleep(0.2)
        parts.check()
        assert con.read_partition(parts[0]).arrow().num_rows == 100


def test_the_program_and_the_package_read_each_other_s(program, home, monkeypatch):
    monkeypatch.setenv("MERGANSER_PARTITION_KEY", "schlüssel")
    with merganser.connect(home / "merganser.toml") as con:
        with con.sql("SELECT id FROM items").partitions() as parts:
            read = [program, "read-partition", "-c", home / "merganser.toml", parts[2].decode()]
            done = subprocess.run(read, capture_output=True, text=True, check=True)
            assert done.stdout.split() == ["id", *(str(id) for id in range(2, ITEMS, 3))]
        cut = [program, "partitions", "-q", "-c", home / "merganser.toml", "SELECT id FROM items"]
        with subprocess.Popen(cut, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                lines = [holder.stdout.readline() for _ in range(3)]
                rows = [row for line in lines for row in con.read_partition(line).rows()]
            finally:
                holder.terminate()
    assert sorted(rows) == [(id,) for id in range(ITEMS)]


def test_adbc_s_cursors_have_them(con, urls, admin):
    count = held(admin, urls)
    assert isinstance(con, adbc_driver_merganser.dbapi.Connection)
    with con.cursor() as cursor:
        parts, schema = cursor.adbc_execute_partitions("SELECT id, amount FROM items WHERE id > %s", [5])
        assert schema.names == ["id", "amount"] and len(parts) == 3 and count() == 3
        ids = []
        for part in parts:
            cursor.adbc_read_partition(part)
            ids += cursor.fetch_arrow_table().column("id").to_pylist()
        assert sorted(ids) == list(range(6, ITEMS))
        with con.cursor(row_factory=merganser.dict_row, order="shard") as other:
            other.adbc_read_partition(parts[0])
            assert other.fetchone() == {"id": 6, "amount": con.sql("SELECT 7.50::numeric(12,2)").rows()[0][0]}
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        wait_until(lambda: count() == 0, "the snapshots are kept")
        with pytest.raises(merganser.DatabaseError, match="snapshot of the partition is not there"):
            cursor.adbc_read_partition(parts[0])
        with pytest.raises(merganser.NotSupportedError, match="no partitions"):
            cursor.adbc_execute_partitions("SELECT id FROM items ORDER BY id")
        cursor.adbc_execute_partitions("SELECT id FROM items")
        assert count() == 3
    wait_until(lambda: count() == 0, "the snapshots are kept")
