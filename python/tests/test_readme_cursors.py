"""The blocks of the README's parts on cursors and ParallelConnection run, one after the other."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["README.dbapi.md"])
def test_the_blocks_run(con, urls, name):
    text = (FOLDER / name).read_text()
    space = {"con": con, "urls": urls}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert blocks
    for block in blocks:
        # So that a traceback names the line of the README.
        lines_before = "\n" * (text.count("\n", 0, block.start()) + 1)
        exec(compile(lines_before + block[1], name, "exec"), space)
