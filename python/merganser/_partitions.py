"""Queries in parts that other processes read: ``con.sql(..).partitions()``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, overload

from .errors import InterfaceError

if TYPE_CHECKING:
    from typing_extensions import Self

    from . import _merganser
    from ._merganser import Schema

__all__ = ["Key", "Partitions", "key_of"]

Key = bytes | str | None

#: The variable that holds the key, as for ``merganser partitions`` and ``read-partition``.
_KEY = "MERGANSER_PARTITION_KEY"


def key_of(key: Key) -> bytes:
    """The key of the seal: what is given, or that of the environment, or an empty one."""
    if key is None:
        return os.fsencode(os.environ.get(_KEY, ""))
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, (bytes, bytearray)):
        return bytes(key)
    raise InterfaceError(f"key is bytes or a text, not {type(key).__name__}")


class Partitions(Sequence[bytes]):
    """The parts of a query, as bytes, and the lease without which they cannot be read.

    A part is a line of JSON: it holds the statement with its values, and no URL, user or password. Any
    process may read it, with :meth:`merganser.Connection.read_partition` or ``merganser read-partition``,
    as often as it likes, while this object lives in the process that made it.

    It is a context manager, which closes it. The parts take turns of the shards, so that readers who
    take them in order do not all ask the same one.
    """

    def __init__(self, native: _merganser.Partitions) -> None:
        self._native = native
        self._sealed = native.sealed

    @property
    def schema(self) -> Schema:
        """Names and types of the columns."""
        return self._native.schema

    @property
    def expires(self) -> datetime:
        """When the lease ends by itself, in UTC."""
        return datetime.fromtimestamp(self._native.expires, UTC)

    @property
    def whole(self) -> str | None:
        """Why the rows of a shard are in one part, where they are."""
        return self._native.whole

    @property
    def closed(self) -> bool:
        """Whether the partitions or their connection were closed, or a check found the lease ended."""
        return self._native.closed

    def check(self) -> None:
        """Raises if the lease has ended, or the snapshot of a shard is lost: partitions that were not
        read then cannot be. The shards are asked every 5 seconds."""
        self._native.check()

    def close(self) -> None:
        """Ends the lease, and with it the transactions on the shards. Closing again is no error."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._sealed)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        return self._sealed[index]

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"can be read until {self.expires:%Y-%m-%d %H:%M:%S} UTC"
        return f"<merganser.Partitions: {len(self)}, {state}>"
