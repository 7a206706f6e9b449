"""The examples for other engines, over servers of ``merganser demo --keep``: each row is there once,
while another client writes.

Ray and Spark are large, and installed for ``./dev engines`` alone, which sets ``MERGANSER_ENGINES``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pyarrow.compute
import pyarrow.dataset
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PACKAGE = EXAMPLES.parent

#: Changes every row, moves many to other blocks, and takes some away.
REWRITE = """
    UPDATE lineitem SET l_extendedprice = l_extendedprice + 1;
    WITH moved AS (DELETE FROM lineitem WHERE l_orderkey % 3 = 0 RETURNING *)
        INSERT INTO lineitem SELECT * FROM moved;
    DELETE FROM lineitem WHERE l_orderkey % 97 = 0;
"""

#: How many snapshots are held in a database: since now, for later the holder asks for other things.
HELD = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'
        AND query LIKE '%pg_export_snapshot%'
"""


@pytest.fixture
def writing(demo: Path) -> Iterator[Callable[[], int]]:
    """Somebody who begins to write as soon as a snapshot is held, and goes on; how often he did."""
    with (demo / "merganser.toml").open("rb") as file:
        urls = [shard["url"] for shard in tomllib.load(file)["shard"]]
    ended = threading.Event()
    rounds: list[int] = []

    def write() -> None:
        with contextlib.ExitStack() as opened:
            shards = [opened.enter_context(psycopg.connect(url, autocommit=True)) for url in urls]
            while any(shard.execute(HELD).fetchone() == (0,) for shard in shards):
                if ended.wait(0.01):
                    return
            while not ended.is_set():
                for shard in shards:
                    shard.execute(REWRITE)
                    rounds.append(1)

    def wrote() -> int:
        # What was begun while others read may end behind them, on a machine that does much else.
        deadline = time.monotonic() + 60
        while not rounds and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(rounds)

    writer = threading.Thread(target=write)
    writer.start()
    yield wrote
    ended.set()
    writer.join()


def run(*command: object, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["dask", "ray", "pyspark"])
def example(request: pytest.FixtureRequest) -> Path:
    """The example for a library, if it is installed."""
    library = request.param
    if importlib.util.find_spec(library) is None:
        assert not os.environ.get("MERGANSER_ENGINES")
        pytest.skip(f"SKIPPED {library} is large: ./dev engines installs it")
    return EXAMPLES / f"with_{library.removeprefix('py')}.py"


# The example comes first, so that no servers are started for one that is skipped.
def test_an_engine_has_each_row_once(example, demo, writing):
    shown = run(sys.executable, example, folder=demo, PYSPARK_PYTHON=sys.executable)
    one, parts = [line for line in shown.splitlines() if line.startswith("one answer:") or " parts: " in line]
    assert one.split(": ")[1] == parts.split(": ")[1]
    assert int(parts.split()[0]) > 6
    assert writing() >= 1


def test_a_shell_has_each_row_once(program, demo, writing):
    sql = "SELECT l_orderkey, l_linenumber, l_extendedprice FROM lineitem"
    price = run(program, "query", "--format", "csv", "SELECT sum(l_extendedprice) FROM lineitem", folder=demo)
    path = f"{Path(program).resolve().parent}{os.pathsep}{os.environ['PATH']}"
    run("sh", EXAMPLES / "with_xargs.sh", sql, "out", 2, folder=demo, PATH=path, PARTITION_BYTES="1MiB")
    files = sorted(path.name for path in (demo / "out").iterdir())
    assert len(files) > 6 and files[0] == "part-aaaaa.parquet"
    rows = pyarrow.dataset.dataset(demo / "out").to_table()
    keys = rows.group_by(["l_orderkey", "l_linenumber"]).aggregate([])
    assert rows.num_rows == keys.num_rows == 60_175
    assert str(pyarrow.compute.sum(rows["l_extendedprice"])) == price.split()[1]
    assert writing() >= 1


def test_a_shell_says_what_failed(program, demo):
    path = f"{Path(program).resolve().parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", EXAMPLES / "with_xargs.sh", "SELECT count(*) FROM lineitem", "out"],
        cwd=demo,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "no partitions of the answer" in done.stderr
    assert not list((demo / "out").iterdir())
