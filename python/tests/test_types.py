"""The stubs say what is there, and typical code of users passes the type checkers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent

CODE = """
import datetime
import merganser

with merganser.connect("merganser.toml", timeout=60) as con:
    q = con.sql("SELECT * FROM t WHERE d > $1", [datetime.date(1998, 1, 1)], order="shard")
    names: list[str] = q.schema.names
    rows: list[tuple[object, ...]] = q.rows()
    arm: str = q.explain(analyze=True).arm
    n: int = q.write("out.parquet", compression="zstd")
    with q.reader() as reader:
        for batch in reader:
            n += len(batch)
    with con.cursor(row_factory=merganser.dict_row) as cursor:
        cursor.execute("SELECT * FROM t WHERE k = %s", (1543,))
        for row in cursor:
            print(row)
    try:
        q.arrow(progress=lambda seen: print(seen.rows))
    except merganser.OperationalError as error:
        shard: str | None = error.shard
    with con.fan_out("SELECT * FROM t").partitions(lease=60, key=b"k") as parts:
        first: bytes = parts[0]
        most: list[bytes] = parts[1:]
        shard = con.read_partition(first, key="k", batch_rows=10).shard
        n += sum(len(con.read_partition(part).rows()) for part in parts)
    for table in con.tables():
        print(table.name, [column.type for column in table.columns])
"""


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_say_what_is_there():
    run("mypy.stubtest", "merganser._merganser", "--ignore-disjoint-bases")


def test_the_package_is_typed():
    run("mypy")


def test_typical_code_passes_mypy(tmp_path):
    file = tmp_path / "typical.py"
    file.write_text(CODE)
    run("mypy", "--strict", str(file))


def test_typical_code_passes_pyright(tmp_path):
    try:
        subprocess.run(["pyright", "--version"], capture_output=True, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("SKIPPED pyright cannot get its Node here")
    file = tmp_path / "typical.py"
    file.write_text(CODE)
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"extraPaths": ["{PACKAGE}"], "typeCheckingMode": "standard"}}'
    )
    done = subprocess.run(
        ["pyright", "-p", str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
