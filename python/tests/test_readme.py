"""The blocks of the READMEs run, one after the other, in the folder of a topology file."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent


def run(path: Path, space: dict) -> int:
    text = path.read_text()
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    for block in blocks:
        # So that a traceback names the line of the README.
        lines_before = "\n" * (text.count("\n", 0, block.start()) + 1)
        exec(compile(lines_before + block[1], str(path), "exec"), space)
    return len(blocks)


def test_the_package_s_own(urls, topology, tmp_path, monkeypatch):
    (tmp_path / "merganser.toml").write_text(topology.read_text())
    monkeypatch.chdir(tmp_path)
    space = {"urls": urls, "folder": tmp_path}
    assert run(PACKAGE / "README.md", space) > 10
    space["con"].close()


@pytest.fixture
def orders(urls, admin):
    """The table of which the README of the project tells, on every shard."""
    shards = [admin(url) for url in urls]
    for number, shard in enumerate(shards):
        shard.execute("CREATE TABLE orders (o_orderkey int, o_orderstatus text, o_orderdate date)")
        shard.execute("INSERT INTO orders VALUES (%s, 'O', '1999-01-01')", [number])
    yield
    for shard in shards:
        shard.execute("DROP TABLE orders")


def test_the_project_s(orders, topology, tmp_path, monkeypatch):
    table = '[[table]]\nname = "orders"\nshard_key = "o_orderkey"\n'
    (tmp_path / "merganser.toml").write_text(topology.read_text() + table)
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    assert run(PACKAGE.parent / "README.md", space) == 1
    assert space["q"].rows() == [("O", 3)]
    space["con"].close()
