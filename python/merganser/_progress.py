"""How far a query is: ``progress=True``, or a function of the user."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TextIO

from .errors import InterfaceError

__all__ = ["Lines", "ShardProgress", "Shown", "Snapshot"]

RawShard = tuple[str, str, int, int, float]


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """How far one shard is."""

    shard: str
    #: ``"waiting"``, ``"connecting"``, ``"describing"``, ``"ready"``, ``"executing"``, ``"streaming"``,
    #: ``"done"`` or ``"failed"``.
    state: str
    #: Rows and bytes that have come.
    rows: int
    bytes: int
    #: Since SQL was first sent, until the last row.
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a query is, as ``progress`` functions get it."""

    shards: tuple[ShardProgress, ...]

    @property
    def rows(self) -> int:
        """Rows that have come of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes that have come of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def done(self) -> int:
        """How many shards have given all their rows."""
        return sum(shard.state == "done" for shard in self.shards)

    def __str__(self) -> str:
        megabytes = self.bytes / 1_000_000
        return f"{self.done}/{len(self.shards)} shards, {self.rows:,} rows, {megabytes:,.1f} MB"


class Shown:
    """Hands what the native module tells to whoever wants it; a context manager."""

    def __init__(self, tell: Callable[[Snapshot], object] | None, close: Callable[[], None]) -> None:
        self._tell = tell
        self._close = close

    @classmethod
    def of(cls, progress: object) -> Shown:
        """What ``progress=`` asks for."""
        if progress is None or progress is False:
            return cls(None, lambda: None)
        if progress is True:
            bar = _bar()
            return cls(bar.show, bar.close)
        if callable(progress):
            return cls(progress, lambda: None)
        raise InterfaceError(
            f"progress is True or a function, not {type(progress).__name__}",
            hint="the function gets a merganser.Progress",
        )

    def __enter__(self) -> Callable[[list[RawShard]], None] | None:
        tell = self._tell
        if tell is None:
            return None
        return lambda shards: void(tell(Snapshot(tuple(ShardProgress(*shard) for shard in shards))))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()


def void(_: object) -> None:
    """Drops a value."""


class Lines:
    """The same for what is told in lines."""

    def __init__(self, tell: Callable[[str], object] | None) -> None:
        self._tell = tell

    @classmethod
    def of(cls, progress: object) -> Lines:
        """What ``progress=`` asks for."""
        if progress is None or progress is False:
            return cls(None)
        if progress is True:
            return cls(lambda line: print(line, file=sys.stderr))
        if callable(progress):
            return cls(progress)
        raise InterfaceError(f"progress is True or a function, not {type(progress).__name__}")

    def __enter__(self) -> Callable[[str], object] | None:
        return self._tell

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return


def _bar() -> _Bar | _Line:
    return _Bar() if importlib.util.find_spec("tqdm") is not None else _Line(sys.stderr)


class _Bar:
    """tqdm's, in a terminal or in a notebook. How many rows will come is not known."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self._bar: Any = tqdm(unit=" rows", unit_scale=True, leave=False, delay=_PATIENCE)

    def show(self, snapshot: Snapshot) -> None:
        self._bar.set_postfix_str(
            f"{snapshot.done}/{len(snapshot.shards)} shards, {snapshot.bytes / 1_000_000:,.1f} MB",
            refresh=False,
        )
        self._bar.update(snapshot.rows - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Line:
    """A line on stderr, where somebody sees it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_seen = file.isatty() or "ipykernel" in sys.modules
        self._begun = time.monotonic()
        self._width = 0

    def show(self, snapshot: Snapshot) -> None:
        if self._is_seen and time.monotonic() - self._begun >= _PATIENCE:
            self._write(str(snapshot))

    def close(self) -> None:
        if self._width:
            self._write("")
            print(end="\r", file=self._file, flush=True)

    def _write(self, text: str) -> None:
        print("\r" + text.ljust(self._width), end="", file=self._file, flush=True)
        self._width = len(text)


#: A query that is done within so many seconds shows nothing.
_PATIENCE = 1.0
