"""TPC-DS over shards next to one PostgreSQL that has all rows, in one run.

    merganser demo --shards 5 --scale 0.01 --keep --dir FOLDER
    pip install -r requirements.txt                # in a virtual environment
    python bench.py FOLDER/merganser.toml          # loads scale 0.1 at first, then all 99 queries
    python bench.py FOLDER/merganser.toml --queries 1,59 --relations temporary --verify

Four of the five servers are the shards, the last one has all rows; the data and the queries are those of
DuckDB's generator, of the version that has it built in. The tables of sales and returns are split by
ticket or order, the inventory by item, all others are copies.

``one`` is the statement on the one server, as EXPLAIN ANALYZE measures it; ``text`` and ``tables`` are
the planned query, without the time that planning takes, with the rows of steps handed over in SQL text
and in temporary tables. All are in seconds, the median of some rounds. A query that is refused has no
time, one that does not end has ``> limit``. ``--verify`` compares each answer with that of the one server
instead.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib

import duckdb
import psycopg
from psycopg import sql as pg

DATABASE = "tpcds"
SHARDS = 4

# The tables that are split: their keys, and the group of tables whose equal keys are together.
SHARDED = {
    "store_sales": ("ss_ticket_number", "ticket"),
    "store_returns": ("sr_ticket_number", "ticket"),
    "catalog_sales": ("cs_order_number", "catalog_order"),
    "catalog_returns": ("cr_order_number", "catalog_order"),
    "web_sales": ("ws_order_number", "web_order"),
    "web_returns": ("wr_order_number", "web_order"),
    "inventory": ("inv_item_sk", "item"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("topology", type=pathlib.Path, help="that of `merganser demo --shards 5`")
    parser.add_argument("--program", default="merganser", help="the program")
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--queries", help="numbers, with commas between")
    parser.add_argument("--relations", default="text,temporary", help="text, temporary or both")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=60, help="seconds for one query")
    parser.add_argument("--verify", action="store_true", help="compare answers instead of times")
    options = parser.parse_args()

    urls = [shard["url"] for shard in tomllib.loads(options.topology.read_text())["shard"]]
    if len(urls) != SHARDS + 1:
        sys.exit(f"{options.topology} has {len(urls)} servers, not {SHARDS + 1}")
    shards, whole = urls[:SHARDS], urls[SHARDS]
    database = f"{DATABASE}_{str(options.scale).replace('.', '_')}"
    generator = duckdb.connect()
    load(generator, database, options.scale, shards, whole)
    topology = options.topology.with_name(f"{database}.toml")
    topology.write_text(declared(generator, [of(url, database) for url in shards]))

    numbered = dict(generator.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall())
    wanted = [int(number) for number in options.queries.split(",")] if options.queries else numbered
    queries = {number: numbered[number].strip().rstrip(";") for number in wanted}
    bench = Bench(options, topology, of(whole, database))
    forms = options.relations.split(",")
    bench.verify(queries, forms) if options.verify else bench.measure(queries, forms)


def of(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{database}"


def load(
    generator: duckdb.DuckDBPyConnection, database: str, scale: float, shards: list[str], whole: str
) -> None:
    """Generates the rows, and puts them into all servers that do not have them yet."""
    generator.execute("LOAD tpcds")
    # The whole comes last: if it is there, all are.
    if exists(whole, database):
        generator.execute("CALL dsdgen(sf = 0)")
        return
    print(f"generating and loading TPC-DS at scale {scale}", file=sys.stderr)
    generator.execute(f"CALL dsdgen(sf = {scale})")
    for number, url in enumerate([*shards, whole]):
        with psycopg.connect(url, autocommit=True) as con:
            con.execute(f"DROP DATABASE IF EXISTS {database}_new")
            con.execute(f"CREATE DATABASE {database}_new")
        with psycopg.connect(of(url, f"{database}_new")) as con:
            fill(generator, con, number if number < SHARDS else None)
        with psycopg.connect(of(url, f"{database}_new"), autocommit=True) as con:
            con.execute("VACUUM ANALYZE")
        with psycopg.connect(url, autocommit=True) as con:
            con.execute(f"DROP DATABASE IF EXISTS {database}")
            con.execute(f"ALTER DATABASE {database}_new RENAME TO {database}")


def exists(url: str, database: str) -> bool:
    with psycopg.connect(url) as con:
        sql = "SELECT FROM pg_database WHERE datname = %s"
        return con.execute(sql, [database]).fetchone() is not None


def tables(generator: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The names of all tables, and the statements that make them."""
    return dict(generator.execute("SELECT table_name, sql FROM duckdb_tables()").fetchall())


def fill(
    generator: duckdb.DuckDBPyConnection, con: psycopg.Connection, shard: int | None
) -> None:
    """Makes the tables of one database, with the rows of a shard or all of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.csv"
        for table, create in tables(generator).items():
            con.execute(create)
            part = ""
            if shard is not None and table in SHARDED:
                part = f" WHERE {SHARDED[table][0]} % {SHARDS} = {shard}"
            generator.execute(f"COPY (SELECT * FROM {table}{part}) TO '{path}' (FORMAT csv, HEADER false)")
            into = pg.SQL("COPY {} FROM STDIN (FORMAT csv)").format(pg.Identifier(table))
            with con.cursor().copy(into) as copy, path.open("rb") as rows:
                while data := rows.read(1 << 20):
                    copy.write(data)
            if table not in SHARDED and table != "inventory":
                key = con.execute(f"SELECT * FROM {table} LIMIT 0").description[0].name
                con.execute(f"CREATE INDEX ON {table} ({key})")


def declared(generator: duckdb.DuckDBPyConnection, urls: list[str]) -> str:
    """The topology file."""
    text = ""
    for number, url in enumerate(urls):
        text += f'[[shard]]\nname = "s{number}"\nurl = "{url}"\n\n'
    for table in tables(generator):
        text += f'[[table]]\nname = "{table}"\n'
        if table in SHARDED:
            key, group = SHARDED[table]
            text += f'shard_key = "{key}"\ncolocation = "{group}"\nshard_index = "{key} % {len(urls)}"\n\n'
        else:
            text += "replicated = true\n\n"
    return text


class Bench:
    def __init__(self, options: argparse.Namespace, topology: pathlib.Path, whole: str) -> None:
        self.limit = options.limit
        self.rounds = options.rounds
        self.whole = whole
        program = shutil.which(options.program) or options.program
        self.command = lambda *arguments: [
            *(program, *arguments, "-c", str(topology)),
            *("--timeout", f"{options.limit}s"),
        ]

    def measure(self, queries: dict[int, str], forms: list[str]) -> None:
        """Prints a table of times, and below it their sums over what all could answer."""
        header = ["query", "one", *(name for form in forms for name in (NAMES[form], "/ one"))]
        print(f"| {' | '.join(header)} |\n|{' ---: |' * len(header)}")
        sums = [0.0] * (1 + len(forms))
        for number, query in queries.items():
            rounds = [
                [self.on_one(query), *(self.planned(query, form) for form in forms)]
                for _ in range(self.rounds)
            ]
            times = [median(column) for column in zip(*rounds, strict=True)]
            cells = [shown(times[0])]
            for time in times[1:]:
                both = isinstance(time, float) and isinstance(times[0], float)
                cells += [shown(time), f"{time / times[0]:.2f}" if both else ""]
            print(f"| q{number:02} | {' | '.join(cells)} |", flush=True)
            if all(isinstance(time, float) for time in times):
                sums = [before + time for before, time in zip(sums, times, strict=True)]
        cells = [f"{sums[0]:.2f}"]
        for total in sums[1:]:
            cells += [f"{total:.2f}", f"{total / sums[0]:.2f}" if sums[0] else ""]
        print(f"| sum | {' | '.join(cells)} |")

    def verify(self, queries: dict[int, str], forms: list[str]) -> None:
        for number, query in queries.items():
            for form in forms:
                flags = ["--verify", self.whole, "--finish-relations", form, "--format", "none"]
                done = self.run("query", query, *flags)
                said = " ".join(done.stderr.split())
                print(f"q{number:02} {form}: {'equal' if done.returncode == 0 else said}", flush=True)

    def on_one(self, query: str) -> float | str:
        """The time on the one server."""
        with psycopg.connect(self.whole) as con:
            con.execute(f"SET statement_timeout = '{self.limit}s'")
            con.execute("SET max_parallel_workers_per_gather = 0")
            try:
                explained = con.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {query}").fetchone()
            except psycopg.errors.QueryCanceled:
                return f"> {self.limit}"
            except psycopg.Error as error:
                return f"no: {type(error).__name__}"
        [[plan]] = explained
        return (plan["Planning Time"] + plan["Execution Time"]) / 1000

    def planned(self, query: str, form: str) -> float | str:
        """The time of all steps of the planned query."""
        flags = ["--analyze", "--format", "json", "--finish-relations", form]
        done = self.run("explain", query, *flags)
        if done.returncode == 0:
            steps = json.loads(done.stdout)["steps"]
            return sum(step["analysis"]["seconds"] for step in steps)
        return f"> {self.limit}" if "did not end within" in done.stderr else "refused"

    def run(self, command: str, query: str, *flags: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PGOPTIONS": "-c max_parallel_workers_per_gather=0"}
        arguments = [*self.command(command), *flags, query]
        return subprocess.run(arguments, capture_output=True, text=True, env=environment)


NAMES = {"text": "text", "temporary": "tables"}


def median(values: tuple[float | str, ...]) -> float | str:
    """The time in the middle, or what happened in its place."""
    times = [value for value in values if isinstance(value, float)]
    return statistics.median(times) if len(times) == len(values) else values[0]


def shown(time: float | str) -> str:
    return f"{time:.2f}" if isinstance(time, float) else time


if __name__ == "__main__":
    main()
