"""Three shards, and one database with the rows of all of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import merganser
from server import Missing, Server

# What a shell runs in the background is started with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARDS = 3
ITEMS = 300

#: Some values of every type, and a row of NULLs; rows go to shards by their id.
EVERYTHING = {
    "b": ("boolean", "true"),
    "i2": ("smallint", "(-32768)"),
    "i4": ("integer", "2147483647"),
    "i8": ("bigint", "9007199254740993"),
    "o": ("oid", "4294967295"),
    "f4": ("real", "'1.5'"),
    "f8": ("double precision", "'-0.1'"),
    "n": ("numeric", "'12345.6700'"),
    "n2": ("numeric(12,2)", "'12345.67'"),
    "t": ("text", "'Ärger \"quoted\" \\ '"),
    "v": ("varchar(10)", "'abc'"),
    "c": ("char(5)", "'ab'"),
    "bin": ("bytea", "'\\x00ff'"),
    "u": ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    "d": ("date", "'2024-02-29'"),
    "ti": ("time", "'12:34:56.789'"),
    "tz": ("timetz", "'12:34:56+02'"),
    "ts": ("timestamp", "'2024-02-29 12:34:56.789012'"),
    "tstz": ("timestamptz", "'2024-02-29 12:34:56+02'"),
    "iv": ("interval", "'3 days 04:05:06.7'"),
    "js": ("json", '\'{"a": [1, 2.5, null]}\''),
    "jb": ("jsonb", '\'{"a": {"b": true}}\''),
    "inet": ("inet", "'10.0.0.1/8'"),
    "bit": ("bit(3)", "'101'"),
    "arr": ("integer[]", "'{1,NULL,3}'"),
    "arr2": ("text[][]", "'{{a,b},{c,d}}'"),
    "mood": ("mood", "'happy'"),
    "pair": ("pair", "'(1,x)'"),
    "r4": ("int4range", "'[1,5)'"),
    "rts": ("tstzrange", "'[2024-01-01 00:00+00,)'"),
    "mr": ("int4multirange", "'{[1,3),[5,7)}'"),
}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    try:
        running = Server()
    except Missing as missing:
        if os.environ.get("CI") or os.environ.get("MERGANSER_REQUIRE_POSTGRES"):
            raise
        pytest.skip(f"SKIPPED {missing}")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def databases(server: Server) -> list[str]:
    """The URLs of the shards, and behind them that of the database with all rows."""
    names = [f"shard{number}" for number in range(SHARDS)] + ["one"]
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        for name in names:
            admin.execute(f"CREATE DATABASE {name}")
    for number, name in enumerate(names):
        where = "" if name == "one" else f"WHERE id % {SHARDS} = {number}"
        with psycopg.connect(server.url(name), autocommit=True) as admin:
            _fill(admin, where)
    return [server.url(name) for name in names]


def _fill(admin: psycopg.Connection, where: str) -> None:
    admin.execute(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, amount numeric(12,2), "
        "at timestamptz NOT NULL, kind int NOT NULL)"
    )
    admin.execute(
        "INSERT INTO items SELECT id, 'item ' || id, CASE WHEN id % 10 > 0 THEN id * 1.25 END, "
        "timestamptz '2024-01-01 00:00+00' + id * interval '1 hour', id % 5 "
        f"FROM generate_series(0, {ITEMS - 1}) id {where}"
    )
    admin.execute("CREATE TABLE kinds (id int PRIMARY KEY, label text NOT NULL)")
    admin.execute("INSERT INTO kinds SELECT id, 'kind ' || id FROM generate_series(0, 4) id")
    admin.execute("CREATE VIEW dear_items AS SELECT * FROM items WHERE amount > 100")
    admin.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    admin.execute("CREATE TYPE pair AS (number integer, word text)")
    columns = ", ".join(f"{name} {sql_type}" for name, (sql_type, _) in EVERYTHING.items())
    values = ", ".join(f"({value})::{sql_type}" for sql_type, value in EVERYTHING.values())
    nulls = ", ".join(f"NULL::{sql_type}" for sql_type, _ in EVERYTHING.values())
    admin.execute(f"CREATE TABLE everything (id bigint PRIMARY KEY, {columns})")
    rows = f"SELECT 1 AS id, {values} UNION ALL SELECT 2, {nulls}"
    admin.execute(f"INSERT INTO everything SELECT * FROM ({rows}) rows {where}")
    admin.execute("ANALYZE")


@pytest.fixture(scope="session")
def urls(databases: list[str]) -> list[str]:
    return databases[:SHARDS]


@pytest.fixture(scope="session")
def one_url(databases: list[str]) -> str:
    return databases[SHARDS]


@pytest.fixture(scope="session")
def topology(urls: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topology file of the shards."""
    path = tmp_path_factory.mktemp("topology") / "merganser.toml"
    shards = "".join(
        f'[[shard]]\nname = "s{number}"\nurl = "{url}"\n' for number, url in enumerate(urls)
    )
    tables = "".join(
        f'[[table]]\nname = "{name}"\nshard_key = "id"\ncolocation = "id"\n'
        f'shard_index = "id % {SHARDS}"\n'
        for name in ("items", "everything")
    )
    path.write_text(f'{shards}{tables}[[table]]\nname = "kinds"\nreplicated = true\n')
    return path


@pytest.fixture
def program() -> str:
    """The program merganser."""
    # `./dev python` says where it has built it.
    found = os.environ.get("MERGANSER_PROGRAM") or shutil.which("merganser")
    if found is None:
        assert not os.environ.get("CI")
        pytest.skip("SKIPPED no program merganser: MERGANSER_PROGRAM says where it is")
    return found


@pytest.fixture
def demo(program: str, tmp_path: Path) -> Iterator[Path]:
    """The folder of ``merganser demo --keep``, whose servers run."""
    folder = tmp_path / "demo"
    command = [program, "demo", "--keep", "--shards", "3", "--scale", "0.01", "--dir", folder]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield folder
    finally:
        if (folder / "stop.sh").exists():
            subprocess.run(["sh", folder / "stop.sh"], check=True)


@pytest.fixture
def con(topology: Path) -> Iterator[merganser.Connection]:
    with merganser.connect(topology) as connection:
        yield connection


@pytest.fixture
def admin() -> Iterator[Callable[[str], psycopg.Connection]]:
    """Opens plain connections to single databases."""
    opened = []

    def connect(url: str) -> psycopg.Connection:
        opened.append(psycopg.connect(url, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def marked(urls: list[str], admin: Callable[[str], psycopg.Connection]) -> Callable[[], list[object]]:
    """What servers' processes do that run a statement with the mark ``/* marked */``."""
    watching = admin(urls[0])

    def look() -> list[object]:
        return watching.execute(
            "SELECT datname, pid, wait_event, clock_timestamp() - query_start, query "
            "FROM pg_stat_activity WHERE state = 'active' "
            "AND query LIKE '%/* marked *' || '/%' AND pid <> pg_backend_pid()"
        ).fetchall()

    return look


@pytest.fixture
def backends(marked: Callable[[], list[object]]) -> Callable[[], int]:
    """How many of them there are."""
    return lambda: len(marked())


@pytest.fixture
def no_backend_left(marked: Callable[[], list[object]]) -> Callable[[], None]:
    """Waits until no marked statement runs any more."""
    return lambda: wait_until(lambda: not marked(), lambda: f"still running: {marked()}")


def wait_until(holds: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
    """Waits for something that will happen soon; generously, machines may be busy."""
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.02)


def without_port(text: str) -> str:
    """A text with the ports of servers taken out."""
    return re.sub(r":\d{4,5}/", ":PORT/", text)
