"""The notebook of ``examples`` runs from top to bottom, over servers of ``merganser demo --keep``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

TOUR = Path(__file__).resolve().parent.parent / "examples" / "tour.py"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Path]:
    """The folder of the demo, whose servers run."""
    # `./dev python` says where it has built it.
    program = os.environ.get("MERGANSER_PROGRAM") or shutil.which("merganser")
    if program is None:
        assert not os.environ.get("CI")
        pytest.skip("SKIPPED no program merganser: MERGANSER_PROGRAM says where it is")
    folder = tmp_path / "demo"
    command = [program, "demo", "--keep", "--shards", "3", "--scale", "0.01", "--dir", folder]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield folder
    finally:
        if (folder / "stop.sh").exists():
            subprocess.run(["sh", folder / "stop.sh"], check=True)


def test_the_tour(demo):
    ended = subprocess.run(
        [sys.executable, TOUR],
        cwd=demo,
        env={**os.environ, "MPLBACKEND": "agg", "MPLCONFIGDIR": str(demo)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout
    assert "the shards: s0, s1, s2" in shown
    assert re.search(r"^lineitem +by l_orderkey +l_orderkey, ", shown, re.MULTILINE)
    assert "Combine: each shard computes partial aggregates" in shown
    # 24 months, 5 segments.
    assert "shape: (120, 4)" in shown
    assert 'column "o_total" does not exist' in shown
    assert pyarrow.parquet.read_metadata(demo / "orders.parquet").num_rows == 15_000
    assert (demo / "revenue.png").read_bytes().startswith(b"\x89PNG")
