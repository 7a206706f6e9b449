"""The blocks of the README run, one after the other, in the folder of the topology file."""

import re
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_blocks_run(urls, topology, tmp_path, monkeypatch):
    (tmp_path / "merganser.toml").write_text(topology.read_text())
    monkeypatch.chdir(tmp_path)
    text = README.read_text()
    space = {"urls": urls, "folder": tmp_path}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) > 10
    for block in blocks:
        # So that a traceback names the line of the README.
        lines_before = "\n" * (text.count("\n", 0, block.start()) + 1)
        exec(compile(lines_before + block[1], README.name, "exec"), space)
    space["con"].close()
