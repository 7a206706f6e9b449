"""The notebook of ``examples`` runs from top to bottom, over servers of ``merganser demo --keep``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet

TOUR = Path(__file__).resolve().parent.parent / "examples" / "tour.py"


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
