"""The Python package next to what else reads PostgreSQL into Python, in one run.

    merganser demo --shards 4 --scale 1 --keep --dir FOLDER
    python bench.py FOLDER/merganser.toml               # all of it
    python bench.py FOLDER/merganser.toml frames        # or rows
    python bench.py FOLDER/merganser.toml --rounds 1 --rows 1000   # do they still work?
    python bench.py FOLDER/merganser.toml frames --rust SCAN

SCAN is the benchmark of that name of the Rust library, of the profile of the package, whose
``collect()`` all else in ``frames`` is then compared with:
``cargo build --release --no-default-features --bench scan``.

``frames``: all of ``lineitem`` as one dataframe of Polars. ``rows``: a million rows of it as tuples, by
``fetchall()``. Each contestant runs in a process of its own, in turns, for some rounds. CPU time is
user and system, of all threads, from after the imports to the last row; in Rust, of the whole program.
Memory is the most that the process ever had, less what it had after the imports. What is printed are medians, and the medians of
the ratios within each round to the first line.

The others know one database, not many: what is measured of them is one of theirs for each shard, at
the same time in threads, and the parts put together.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# A contestant imports what it needs, and returns what is measured; that returns the number of rows, and
# the bytes of Arrow data if it knows them.
Measured = Callable[[], tuple[int, int | None]]


# --- a dataframe of a table -----------------------------------------------------------------------


def frames_collect(topology: pathlib.Path, rows: int) -> Measured:
    import merganser

    con = merganser.connect(topology)

    def run() -> tuple[int, int | None]:
        batches = list(con.sql(table_sql(topology, rows)).reader())
        return sum(map(len, batches)), sum(batch.nbytes for batch in batches)

    return run


def frames_merganser(topology: pathlib.Path, rows: int) -> Measured:
    import merganser
    import polars  # noqa: F401

    con = merganser.connect(topology)
    return lambda: measured(con.sql(table_sql(topology, rows)).pl())


def frames_fan_out(topology: pathlib.Path, rows: int) -> Measured:
    import merganser
    import polars  # noqa: F401

    con = merganser.connect(topology)
    return lambda: measured(con.fan_out(shard_sql(topology, rows)).pl())


def frames_connectorx(topology: pathlib.Path, rows: int) -> Measured:
    import connectorx
    import polars

    sql = shard_sql(topology, rows)

    def read(url: str) -> polars.DataFrame:
        return connectorx.read_sql(url, sql, return_type="polars")

    return lambda: measured(polars.concat(on_each(urls(topology), read)))


def frames_adbc(topology: pathlib.Path, rows: int) -> Measured:
    import adbc_driver_postgresql.dbapi
    import polars
    import pyarrow

    sql = shard_sql(topology, rows)

    def read(url: str) -> pyarrow.Table:
        with adbc_driver_postgresql.dbapi.connect(url) as con, con.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def run() -> tuple[int, int | None]:
        return measured(polars.from_arrow(pyarrow.concat_tables(on_each(urls(topology), read))))

    return run


def frames_duckdb(topology: pathlib.Path, rows: int) -> Measured:
    import duckdb
    import duckdb_extension_postgres_scanner as extension
    import polars  # noqa: F401

    folder = pathlib.Path(extension.__file__).parent
    con = duckdb.connect()
    con.sql(f"load '{next(folder.rglob('*.duckdb_extension'))}'")
    parts = []
    for number, url in enumerate(urls(topology)):
        con.sql(f"attach '{url}' as s{number} (type postgres, read_only)")
        parts.append(f"(select * from s{number}.public.lineitem{limit(topology, rows)})")
    return lambda: measured(con.sql(" union all ".join(parts)).pl())


# --- rows by fetchall -----------------------------------------------------------------------------


def rows_psycopg(topology: pathlib.Path, rows: int) -> Measured:
    import psycopg

    sql = shard_sql(topology, rows)

    def read(url: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as con:
            return con.execute(sql).fetchall()

    return lambda: (len([row for part in on_each(urls(topology), read) for row in part]), None)


def rows_psycopg_binary(topology: pathlib.Path, rows: int) -> Measured:
    import psycopg

    sql = shard_sql(topology, rows)

    def read(url: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as con, con.cursor(binary=True) as cursor:
            return cursor.execute(sql).fetchall()

    return lambda: (len([row for part in on_each(urls(topology), read) for row in part]), None)


def rows_merganser(topology: pathlib.Path, rows: int) -> Measured:
    import merganser

    con = merganser.connect(topology)

    def run() -> tuple[int, int | None]:
        with con.cursor() as cursor:
            return len(cursor.execute_fan_out(shard_sql(topology, rows)).fetchall()), None

    return run


def rows_merganser_dicts(topology: pathlib.Path, rows: int) -> Measured:
    import merganser

    con = merganser.connect(topology)

    def run() -> tuple[int, int | None]:
        with con.cursor(row_factory=merganser.dict_row) as cursor:
            return len(cursor.execute_fan_out(shard_sql(topology, rows)).fetchall()), None

    return run


PARTS: dict[str, dict[str, Callable[[pathlib.Path, int], Measured]]] = {
    "frames": {
        "merganser, batches alone": frames_collect,
        "merganser, con.sql(..).pl()": frames_merganser,
        "merganser, con.fan_out(..).pl()": frames_fan_out,
        "ConnectorX": frames_connectorx,
        "ADBC PostgreSQL driver": frames_adbc,
        "DuckDB": frames_duckdb,
    },
    "rows": {
        "psycopg 3": rows_psycopg,
        "psycopg 3, binary": rows_psycopg_binary,
        "merganser": rows_merganser,
        "merganser, dicts": rows_merganser_dicts,
    },
}


# --- what they share ------------------------------------------------------------------------------


def urls(topology: pathlib.Path) -> list[str]:
    return [shard["url"] for shard in tomllib.loads(topology.read_text())["shard"]]


def limit(topology: pathlib.Path, rows: int) -> str:
    return f" limit {rows // len(urls(topology))}" if rows else ""


def shard_sql(topology: pathlib.Path, rows: int) -> str:
    """What one shard is asked: all rows for 0, else its share of them."""
    return f"select * from lineitem{limit(topology, rows)}"


def table_sql(topology: pathlib.Path, rows: int) -> str:
    return f"select * from lineitem{f' limit {rows}' if rows else ''}"


def on_each(all_urls: list[str], read: Callable[[str], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(all_urls)) as threads:
        return list(threads.map(read, all_urls))


def measured(frame: Any) -> tuple[int, int | None]:
    # Not Polars' own estimate: it leaves out the views of short texts.
    return frame.height, None


def run_one(part: str, name: str, topology: pathlib.Path, rows: int) -> None:
    """In a process of its own: what one contestant takes, as JSON."""
    run = PARTS[part][name](topology, rows)
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    count, arrow_bytes = run()
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = (after.ru_maxrss - before.ru_maxrss) * unit
    print(json.dumps({"rows": count, "bytes": arrow_bytes, "cpu": cpu, "wall": wall, "peak": peak}))


def run_rust(program: pathlib.Path, topology: pathlib.Path) -> dict[str, Any]:
    """What ``collect()`` of the Rust library takes; it tells rows, bytes of COPY, and its peak in KiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    command = [program, "child", "collect", *urls(topology)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rows": int(said[0]), "bytes": None, "cpu": cpu, "wall": wall, "peak": int(said[2]) * 1024}


def run_part(
    part: str, topology: pathlib.Path, rows: int, rounds: int, rust: pathlib.Path | None
) -> None:
    in_rust = [RUST] if rust else []
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in [*in_rust, *PARTS[part]]}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        if rust:
            found[RUST].append(run_rust(rust, topology))
        for name in PARTS[part]:
            if name in missing:
                continue
            command = [sys.executable, __file__, topology, part, "--one", name, "--rows", rows]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode:
                missing[name] = done.stderr.strip().rpartition("\n")[2]
            else:
                found[name].append(json.loads(done.stdout))
    print_table(part, found, missing)


def print_table(part: str, found: dict[str, list[dict[str, Any]]], missing: dict[str, str]) -> None:
    base = next(runs for runs in found.values() if runs)
    counts = {run["rows"] for runs in found.values() for run in runs}
    if len(counts) != 1:
        raise SystemExit(f"{part}: they do not have the same rows: {sorted(counts)}")
    # To which all peaks are compared.
    arrow_bytes = next((run["bytes"] for runs in found.values() for run in runs if run["bytes"]), None)
    print(f"\n{part}: {counts.pop():,} rows, {len(base)} rounds\n")
    print("| | CPU s | ratio | wall s | ratio | peak MB | of the Arrow bytes |")
    print("|---|---|---|---|---|---|---|")
    for name, runs in found.items():
        if name in missing:
            print(f"| {name} | failed: {missing[name]} |")
            continue
        cells = [
            f"{median(run['cpu'] for run in runs):.2f}",
            f"{median(run['cpu'] / first['cpu'] for run, first in zip(runs, base)):.2f}",
            f"{median(run['wall'] for run in runs):.2f}",
            f"{median(run['wall'] / first['wall'] for run, first in zip(runs, base)):.2f}",
            f"{median(run['peak'] for run in runs) / 1e6:.0f}",
            "" if arrow_bytes is None else f"{median(run['peak'] for run in runs) / arrow_bytes:.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    if missing:
        raise SystemExit(1)


median = statistics.median
RUST = "Rust, collect()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topology", type=pathlib.Path, help="the topology file of TPC-H shards")
    parser.add_argument("part", nargs="?", choices=PARTS, help="frames or rows; both unless named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="rows to read: all, or a million, unless set")
    parser.add_argument("--rust", type=pathlib.Path, help="the Rust benchmark scan, for frames")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.part, options.one, options.topology, options.rows)
        return
    if options.rust and (options.part != "frames" or options.rows):
        parser.error("--rust is for all rows of frames")
    for part in [options.part] if options.part else PARTS:
        rows = options.rows if options.rows is not None else {"frames": 0, "rows": 1_000_000}[part]
        run_part(part, options.topology, rows, options.rounds, options.rust)


if __name__ == "__main__":
    main()
