"""What every cursor has: the ways of PEP 249 to fetch, each over one method that gives rows."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from .errors import InterfaceError, ProgrammingError

__all__ = ["Fetching"]


class Fetching(ABC):
    """A cursor as far as it hands out rows. It is for one thread at a time."""

    def __init__(self) -> None:
        self.arraysize = 1
        self._alone = _Alone(self._check_open)

    @abstractmethod
    def _check_open(self) -> None:
        """Raises once it is closed."""

    @abstractmethod
    def _fetch(self, limit: int | None) -> list[Any]:
        """The next rows, all that are left for ``None``; fewer only when no more are left."""

    @abstractmethod
    def close(self) -> None:
        """Gives up the result; every use is an error from then on."""

    def fetchone(self) -> Any:
        """The next row; ``None`` when all were fetched."""
        with self._alone:
            rows = self._fetch(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, ``arraysize`` of them unless told; fewer only when no more are left."""
        size = self.arraysize if size is None else size
        if size < 0:
            raise ProgrammingError(f"cannot fetch {size} rows")
        with self._alone:
            return self._fetch(size)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        with self._alone:
            return self._fetch(None)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._alone:
            rows = self._fetch(1)
        if not rows:
            raise StopIteration
        return rows[0]

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing, as PEP 249 allows."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing, as PEP 249 allows."""

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Alone:
    """For one call, nothing else may use a cursor, and it has to be open."""

    __slots__ = ("_busy", "_check_open")

    def __init__(self, check_open: Callable[[], None]) -> None:
        self._check_open = check_open
        self._busy = threading.Lock()

    def __enter__(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise InterfaceError(
                "another thread is using this cursor",
                hint="let each thread make a cursor of its own",
            )
        try:
            self._check_open()
        except BaseException:
            self._busy.release()
            raise

    def __exit__(self, *exception: object) -> None:
        self._busy.release()
