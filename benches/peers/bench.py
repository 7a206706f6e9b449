"""Merganser next to what else reads PostgreSQL into Arrow, dataframes, Parquet and Python, in one run.

    ./dev peers                                         # prepares what is needed, and runs all of it
    merganser demo --shards 4 --scale 1 --keep --dir FOLDER
    python bench.py FOLDER/merganser.toml               # all of it, where everything is installed
    python bench.py FOLDER/merganser.toml frames        # one part
    python bench.py FOLDER/merganser.toml --rounds 1 --rows 1000   # do they still work?
    python bench.py FOLDER/merganser.toml frames --rust SCAN

SCAN is the benchmark of that name of the Rust library, of the profile of the package, whose
``collect()`` all else in ``frames`` is then compared with:
``cargo build --release --no-default-features --bench scan``.

``frames``: all of ``lineitem`` as one dataframe of Polars. ``columns``: two columns of it. ``parquet``: all of
it in a file. ``rows``: a million rows of it as tuples, by ``fetchall()``. ``queries``: the 22 queries of
TPC-H, planned, next to DuckDB over the same databases, in which the split tables are views, UNION ALL of
their parts. The floor of the first two is ``psql`` for each shard at the same time, COPY BINARY thrown away.

Each contestant runs in a process of its own, in turns, for some rounds. CPU time is user and system, of
all threads, from after the imports to the last row; in Rust, of the whole program. Memory is the most that
the process ever had, less what it had after the imports. What is printed are medians, and the medians of
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
import tempfile
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

# What is measured returns the number of rows, and the bytes of Arrow data if it knows them.
Measured = Callable[[], tuple[int, int | None]]

QUERIES = pathlib.Path(__file__).parents[2] / "testdata" / "tpch"
# The tables of TPC-H that are split; each database has all of the others.
SPLIT = ("orders", "lineitem")
COPIED = ("customer", "nation", "part", "partsupp", "region", "supplier")


@dataclass(frozen=True)
class Task:
    topology: pathlib.Path
    # All for 0.
    rows: int
    columns: str = "*"
    # One of TPC-H's queries.
    query: str = ""

    @property
    def urls(self) -> list[str]:
        return [shard["url"] for shard in tomllib.loads(self.topology.read_text())["shard"]]

    @property
    def sql(self) -> str:
        """What all shards as one are asked."""
        return self.of("lineitem", self.rows)

    @property
    def shard_sql(self) -> str:
        """What one shard is asked."""
        return self.of("lineitem", self.share)

    @property
    def share(self) -> int:
        return self.rows // len(self.urls)

    def of(self, table: str, rows: int) -> str:
        return f"select {self.columns} from {table}{f' limit {rows}' if rows else ''}"

    def on_each(self, read: Callable[[str], Any]) -> list[Any]:
        with ThreadPoolExecutor(len(self.urls)) as threads:
            return list(threads.map(read, self.urls))


# A contestant imports what it needs, and returns what is measured.
Contestant = Callable[[Task], Measured]


# --- a dataframe of a table -----------------------------------------------------------------------


def frames_collect(task: Task) -> Measured:
    import merganser

    con = merganser.connect(task.topology)

    def run() -> tuple[int, int | None]:
        batches = list(con.sql(task.sql).reader())
        return sum(map(len, batches)), sum(batch.nbytes for batch in batches)

    return run


def frames_merganser(task: Task) -> Measured:
    import merganser
    import polars  # noqa: F401

    con = merganser.connect(task.topology)
    return lambda: measured(con.sql(task.sql).pl())


def frames_fan_out(task: Task) -> Measured:
    import merganser
    import polars  # noqa: F401

    con = merganser.connect(task.topology)
    return lambda: measured(con.fan_out(task.shard_sql).pl())


def frames_connectorx(task: Task) -> Measured:
    import connectorx
    import polars

    sql = task.shard_sql

    def read(url: str) -> polars.DataFrame:
        return connectorx.read_sql(url, sql, return_type="polars")

    return lambda: measured(polars.concat(task.on_each(read)))


def frames_adbc(task: Task) -> Measured:
    import adbc_driver_postgresql.dbapi
    import polars
    import pyarrow

    sql = task.shard_sql

    def read(url: str) -> pyarrow.Table:
        with adbc_driver_postgresql.dbapi.connect(url) as con, con.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def run() -> tuple[int, int | None]:
        return measured(polars.from_arrow(pyarrow.concat_tables(task.on_each(read))))

    return run


def frames_duckdb(task: Task) -> Measured:
    import polars  # noqa: F401

    con, parts = duckdb_over(task)
    return lambda: measured(con.sql(parts("lineitem")).pl())


def psql(task: Task) -> Measured:
    copy = f"copy ({task.shard_sql}) to stdout (format binary)"

    def read(url: str) -> None:
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy, url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def run() -> tuple[int, int | None]:
        task.on_each(read)
        return UNKNOWN, None

    return run


# --- a table in a Parquet file ----------------------------------------------------------------------


def parquet_merganser(task: Task) -> Measured:
    import merganser

    con = merganser.connect(task.topology)

    def run(path: pathlib.Path) -> None:
        con.sql(task.sql).write(path)

    return in_file(run)


def parquet_connectorx(task: Task) -> Measured:
    import connectorx
    import pyarrow
    import pyarrow.parquet

    sql = task.shard_sql

    def read(url: str) -> pyarrow.Table:
        return connectorx.read_sql(url, sql, return_type="arrow")

    def run(path: pathlib.Path) -> None:
        table = pyarrow.concat_tables(task.on_each(read))
        pyarrow.parquet.write_table(table, path, compression="zstd")

    return in_file(run)


def parquet_adbc(task: Task) -> Measured:
    import adbc_driver_postgresql.dbapi
    import pyarrow
    import pyarrow.parquet

    sql = task.shard_sql

    def read(url: str) -> pyarrow.Table:
        with adbc_driver_postgresql.dbapi.connect(url) as con, con.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def run(path: pathlib.Path) -> None:
        table = pyarrow.concat_tables(task.on_each(read))
        # The driver's numeric is an extension type over text, which Parquet keeps as text.
        pyarrow.parquet.write_table(table, path, compression="zstd")

    return in_file(run)


def parquet_duckdb(task: Task) -> Measured:
    con, parts = duckdb_over(task)

    def run(path: pathlib.Path) -> None:
        con.sql(f"copy ({parts('lineitem')}) to '{path}' (format parquet, compression zstd)")

    return in_file(run)


def in_file(write: Callable[[pathlib.Path], None]) -> Measured:
    import pyarrow.parquet

    def run() -> tuple[int, int | None]:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "lineitem.parquet"
            write(path)
            return pyarrow.parquet.read_metadata(path).num_rows, None

    return run


# --- planned queries --------------------------------------------------------------------------------


def queries_merganser(task: Task) -> Measured:
    import merganser

    con = merganser.connect(task.topology)
    con.sql("select count(*) from region").rows()
    sql = query_text(task)
    return lambda: (sum(len(batch) for batch in con.sql(sql).reader()), None)


def queries_duckdb(task: Task) -> Measured:
    con, parts = duckdb_over(task)
    for table in SPLIT:
        con.sql(f"create view {table} as {parts(table)}")
    for table in COPIED:
        con.sql(f"create view {table} as from s0.public.{table}")
    sql = query_text(task)
    return lambda: (con.sql(sql).fetch_arrow_table().num_rows, None)


def query_text(task: Task) -> str:
    return (QUERIES / f"{task.query}.sql").read_text().rstrip().removesuffix(";")


# --- rows by fetchall -----------------------------------------------------------------------------


def rows_psycopg(task: Task) -> Measured:
    import psycopg

    sql = task.shard_sql

    def read(url: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as con:
            return con.execute(sql).fetchall()

    return lambda: (len([row for part in task.on_each(read) for row in part]), None)


def rows_psycopg_binary(task: Task) -> Measured:
    import psycopg

    sql = task.shard_sql

    def read(url: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as con, con.cursor(binary=True) as cursor:
            return cursor.execute(sql).fetchall()

    return lambda: (len([row for part in task.on_each(read) for row in part]), None)


def rows_merganser(task: Task) -> Measured:
    import merganser

    con = merganser.connect(task.topology)

    def run() -> tuple[int, int | None]:
        with con.cursor() as cursor:
            return len(cursor.execute_fan_out(task.shard_sql).fetchall()), None

    return run


def rows_merganser_dicts(task: Task) -> Measured:
    import merganser

    con = merganser.connect(task.topology)

    def run() -> tuple[int, int | None]:
        with con.cursor(row_factory=merganser.dict_row) as cursor:
            return len(cursor.execute_fan_out(task.shard_sql).fetchall()), None

    return run


FRAMES: dict[str, Contestant] = {
    "psql, thrown away": psql,
    "merganser, batches alone": frames_collect,
    "merganser, con.sql(..).pl()": frames_merganser,
    "merganser, con.fan_out(..).pl()": frames_fan_out,
    "ConnectorX": frames_connectorx,
    "ADBC PostgreSQL driver": frames_adbc,
    "DuckDB": frames_duckdb,
}
PARTS: dict[str, dict[str, Contestant]] = {
    "frames": FRAMES,
    "columns": FRAMES,
    "parquet": {
        "merganser": parquet_merganser,
        "ConnectorX": parquet_connectorx,
        "ADBC PostgreSQL driver": parquet_adbc,
        "DuckDB": parquet_duckdb,
    },
    "rows": {
        "psycopg 3": rows_psycopg,
        "psycopg 3, binary": rows_psycopg_binary,
        "merganser": rows_merganser,
        "merganser, dicts": rows_merganser_dicts,
    },
    "queries": {"merganser": queries_merganser, "DuckDB": queries_duckdb},
}


# --- what they share ------------------------------------------------------------------------------


def duckdb_over(task: Task) -> tuple[Any, Callable[[str], str]]:
    """A connection with all shards attached, and what makes one relation of the parts of a table."""
    import duckdb
    import duckdb_extension_postgres_scanner as extension

    folder = pathlib.Path(extension.__file__).parent
    con = duckdb.connect()
    con.sql(f"load '{next(folder.rglob('*.duckdb_extension'))}'")
    for number, url in enumerate(task.urls):
        con.sql(f"attach '{url}' as s{number} (type postgres, read_only)")

    def parts(table: str) -> str:
        shards = range(len(task.urls))
        each = [f"({task.of(f's{number}.public.{table}', task.share)})" for number in shards]
        return " union all ".join(each)

    return con, parts


# Of the floor, which counts nothing.
UNKNOWN = -1


def measured(frame: Any) -> tuple[int, int | None]:
    # Not Polars' own estimate: it leaves out the views of short texts.
    return frame.height, None


def usage() -> tuple[float, int]:
    """CPU seconds, those of programs that were waited for included, and the peak of this process."""
    of = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = of.ru_utime + of.ru_stime + children.ru_utime + children.ru_stime
    # Kilobytes on Linux, bytes on macOS.
    return cpu, of.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_one(contestant: Contestant, task: Task) -> None:
    """In a process of its own: what one contestant takes, as JSON."""
    run = contestant(task)
    cpu_before, peak_before = usage()
    begun = time.perf_counter()
    count, arrow_bytes = run()
    wall = time.perf_counter() - begun
    cpu, peak = usage()
    found = {"rows": count, "bytes": arrow_bytes, "wall": wall}
    print(json.dumps(found | {"cpu": cpu - cpu_before, "peak": peak - peak_before}))


def run_rust(program: pathlib.Path, task: Task) -> dict[str, Any]:
    """What ``collect()`` of the Rust library takes; it tells rows, bytes of COPY, and its peak in KiB."""
    cpu_before, _ = usage()
    begun = time.perf_counter()
    command = [program, "child", "collect", task.sql, *task.urls]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    wall = time.perf_counter() - begun
    cpu = usage()[0] - cpu_before
    return {"rows": int(said[0]), "bytes": None, "cpu": cpu, "wall": wall, "peak": int(said[2]) * 1024}


Runs = dict[str, list[dict[str, Any]]]


def run_rounds(
    part: str, task: Task, rounds: int, rust: pathlib.Path | None
) -> tuple[Runs, dict[str, str]]:
    """What the contestants took, and why some of them failed."""
    found: Runs = {name: [] for name in [*([RUST] if rust else []), *PARTS[part]]}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        if rust:
            found[RUST].append(run_rust(rust, task))
        for name in PARTS[part]:
            if name in failed:
                continue
            command = [sys.executable, __file__, task.topology, part, "--rows", task.rows]
            command += ["--one", name, "--query", task.query]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode:
                failed[name] = done.stderr.strip().rpartition("\n")[2]
            else:
                found[name].append(json.loads(done.stdout))
    counts = {run["rows"] for runs in found.values() for run in runs} - {UNKNOWN}
    if len(counts) > 1:
        raise SystemExit(f"{part} {task.query}: they do not have the same rows: {sorted(counts)}")
    return found, failed


def print_part(part: str, task: Task, rounds: int, rust: pathlib.Path | None) -> bool:
    """Whether none failed."""
    found, failed = run_rounds(part, task, rounds, rust)
    base = next((runs for runs in found.values() if runs), None)
    if base is None:
        print(f"\n{part}: nobody answered\n")
        for name, reason in failed.items():
            print(f"- {name}: {reason}")
        return False
    rows = max(run["rows"] for runs in found.values() for run in runs)
    # To which all peaks are compared.
    arrow_bytes = next((run["bytes"] for runs in found.values() for run in runs if run["bytes"]), None)
    print(f"\n{part}: {rows:,} rows, {rounds} rounds\n")
    print("| | CPU s | ratio | wall s | ratio | peak MB | of the Arrow bytes |")
    print("|---|---|---|---|---|---|---|")
    for name, runs in found.items():
        if name in failed:
            print(f"| {name} | failed: {failed[name]} |")
            continue
        # Programs that were waited for have memory of their own.
        peak = median(run["peak"] for run in runs) if runs[0]["rows"] != UNKNOWN else None
        cells = [
            f"{median(run['cpu'] for run in runs):.2f}",
            f"{ratio('cpu', runs, base):.2f}",
            f"{median(run['wall'] for run in runs):.2f}",
            f"{ratio('wall', runs, base):.2f}",
            "" if peak is None else f"{peak / 1e6:.0f}",
            "" if peak is None or arrow_bytes is None else f"{peak / arrow_bytes:.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return not failed


def print_queries(task: Task, rounds: int) -> bool:
    """Whether none failed. A line for each query, and one for those that all have answered."""
    names = list(PARTS["queries"])
    print(f"\nqueries: seconds of wall time, {rounds} rounds\n")
    print(f"| | {' | '.join(names)} | ratio | CPU: {' | '.join(names)} |")
    print("|---|" + "---|" * (2 * len(names) + 1))
    sums = {(kind, name): 0.0 for kind in ("wall", "cpu") for name in names}
    all_answered = True
    for path in sorted(QUERIES.glob("q*.sql")):
        found, failed = run_rounds("queries", replace(task, query=path.stem), rounds, None)
        if failed:
            all_answered = False
            print(f"| {path.stem} | {' | '.join(failed.get(name, '') for name in names)} |", flush=True)
            continue
        took = {
            (kind, name): median(run[kind] for run in found[name]) for kind, name in sums
        }
        for key, seconds in took.items():
            sums[key] += seconds
        print_query(path.stem, names, took)
    print_query("sum", names, sums)
    return all_answered


def print_query(label: str, names: list[str], took: dict[tuple[str, str], float]) -> None:
    walls = [took["wall", name] for name in names]
    cells = [f"{wall:.2f}" for wall in walls]
    cells.append(f"{walls[0] / walls[-1]:.2f}")
    cells += [f"{took['cpu', name]:.2f}" for name in names]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def ratio(kind: str, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> float:
    return median(run[kind] / first[kind] for run, first in zip(runs, base))


median = statistics.median
RUST = "Rust, collect()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topology", type=pathlib.Path, help="the topology file of TPC-H shards")
    parser.add_argument("part", nargs="?", choices=PARTS, help="all of them unless one is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, help="rows to read: all, or a million tuples, unless set")
    parser.add_argument("--rust", type=pathlib.Path, help="the Rust benchmark scan, for frames")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--query", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rust and (options.part != "frames" or options.rows):
        parser.error("--rust is for all rows of frames")
    all_answered = True
    for part in [options.part] if options.part else PARTS:
        rows = options.rows if options.rows is not None else (1_000_000 if part == "rows" else 0)
        columns = "l_orderkey, l_extendedprice" if part == "columns" else "*"
        # A query is one over all rows.
        rows = 0 if part == "queries" else rows
        task = Task(options.topology, rows, columns, options.query)
        if options.one:
            run_one(PARTS[part][options.one], task)
        elif part == "queries":
            all_answered &= print_queries(task, options.rounds)
        else:
            all_answered &= print_part(part, task, options.rounds, options.rust)
    if not all_answered:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
