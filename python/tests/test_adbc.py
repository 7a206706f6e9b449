"""The ADBC driver in the package's own library, under the driver manager that users have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import adbc_driver_manager
import adbc_driver_manager.dbapi
import pytest

import adbc_driver_merganser
from merganser.__main__ import main

COUNT = "SELECT count(*) AS n, sum(kind) AS kinds FROM items"


def test_the_library_is_a_driver(topology: Path) -> None:
    connected = adbc_driver_manager.dbapi.connect(
        driver=adbc_driver_merganser.driver_path(),
        entrypoint=adbc_driver_merganser.ENTRYPOINT,
        db_kwargs={"uri": f"merganser://{topology}"},
    )
    with connected as con, con.cursor() as cursor:
        cursor.execute(COUNT)
        assert cursor.fetchall() == [(300, 600)]
        cursor.execute("SELECT name FROM items WHERE id = $1", (7,))
        assert cursor.fetch_arrow_table().to_pydict() == {"name": ["item 7"]}
        with pytest.raises(adbc_driver_manager.Error, match="does not exist"):
            cursor.execute("SELECT * FROM nowhere")


def test_a_manifest_makes_the_name_enough(
    topology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [sys.executable, "-m", "merganser", "adbc-install", "--venv", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    folder = tmp_path / "etc" / "adbc" / "drivers"
    assert str(folder / "merganser.toml") in done.stdout
    monkeypatch.setenv("ADBC_DRIVER_PATH", str(folder))
    with adbc_driver_manager.dbapi.connect(f"merganser://{topology}") as con:
        with con.cursor() as cursor:
            cursor.execute(COUNT)
            assert cursor.fetchone() == (300, 600)


def test_what_cannot_be_installed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adbc-install", "--venv", str(tmp_path / "missing")]) == 1
    assert "is not a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["adbc-install", "--user", "--system"])
    assert ended.value.code == 2
