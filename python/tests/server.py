"""A throw-away PostgreSQL server, for the tests."""

from __future__ import annotations

import glob
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path


class Missing(Exception):
    """There is no PostgreSQL on this machine."""


def bindir() -> Path:
    """The folder of ``initdb``: that of ``MERGANSER_PG_BINDIR``, of the path, or where packages of
    systems put it; the newest version."""
    if chosen := os.environ.get("MERGANSER_PG_BINDIR"):
        return Path(chosen)
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    patterns = [
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/usr/local/pgsql/bin",
        "/opt/homebrew/opt/postgresql*/bin",
        "/usr/local/opt/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ]
    folders = [Path(folder) for pattern in patterns for folder in glob.glob(pattern)]
    folders = [folder for folder in folders if (folder / "initdb").exists()]
    if not folders:
        raise Missing("no PostgreSQL server programs (initdb, postgres) on this machine")
    return max(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", str(folder))])


class Server:
    """One server in a folder of its own, which trusts everybody on the loopback address."""

    def __init__(self) -> None:
        self._bindir = bindir()
        self._user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="merganser-test-"))
        self._data = self._folder / "data"
        if self._user is not None:
            os.chown(self._folder, *self._user)
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        self.port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "autovacuum": "off",
        }
        self._log = (self._folder / "log").open("wb")
        options = [f"-c{name}={value}" for name, value in settings.items()]
        self._process = subprocess.Popen(
            [self._bindir / "postgres", "-D", self._data, *options],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
            **self._identity(),
        )
        self._wait()

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Ends it at once, and removes its folder."""
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            # Waits for clients; the fast shutdown does not.
            self._process.send_signal(2)
            self._process.wait(30)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [self._bindir / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self._folder,
            **self._identity(),
        )
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []}

    def _wait(self) -> None:
        for _ in range(300):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port)
            except AssertionError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError((self._folder / "log").read_text())


def _unprivileged() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root; ``None`` if we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise Missing("PostgreSQL does not run as root, and there is no user nobody")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
