"""The exceptions of PEP 249, with what Merganser knows of a failure.

Every exception that the package raises about a database is an :class:`Error` and tells

``kind``
    who has to act: ``"config"``, ``"usage"``, ``"interface"``, ``"syntax"`` (the caller),
    ``"unsupported"``, ``"limit"``, ``"data"`` (the query), ``"connect"``, ``"server"``,
    ``"decode"`` (a server), ``"export"``, ``"timeout"``, ``"cancelled"`` (the machine),
    ``"execute"``, ``"internal"`` (Merganser), ``"mismatch"`` (a verification found a difference)
``shard``
    the name of the shard that failed first; ``None`` where no single shard is at fault
``phase``
    the stage in which it failed, as ``"connect"``, ``"plan"`` or ``"stream"``
``sqlstate``
    the five characters of the server's SQLSTATE, where a server answered
``hint``
    what to do about it; it is a note of the exception too, so that a traceback shows it

All of them but ``kind`` may be ``None``. No message holds a password.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "Mismatch",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "QueryCancelled",
    "QueryTimeout",
    "Warning",
    "from_native",
]


class Warning(Exception):
    """Part of PEP 249; Merganser raises none."""


class Error(Exception):
    """The base of all errors; see the module for its attributes."""

    kind: str
    shard: str | None
    phase: str | None
    sqlstate: str | None
    hint: str | None
    _kind = "usage"

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = None,
        shard: str | None = None,
        phase: str | None = None,
        sqlstate: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind or self._kind
        self.shard = shard
        self.phase = phase
        self.sqlstate = sqlstate
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")


class InterfaceError(Error):
    """The package is used in a way that makes no sense: on a closed cursor, after a fork."""

    _kind = "interface"


class DatabaseError(Error):
    """An error of a database, of a query or of what it delivered."""


class DataError(DatabaseError):
    """A value is at fault: a division by zero, or a date that the Python type does not have."""

    _kind = "data"


class OperationalError(DatabaseError):
    """What the databases or the machine did not manage: connections, resources, time."""


class IntegrityError(DatabaseError):
    """A constraint was violated; a query that only reads hardly ever does that."""


class InternalError(DatabaseError):
    """A fault of the server or of Merganser."""


class ProgrammingError(DatabaseError):
    """The SQL, its parameters or the topology are wrong."""


class NotSupportedError(DatabaseError):
    """The query is refused as its answer would not be exact, or the call has no meaning here."""

    _kind = "unsupported"


class QueryCancelled(OperationalError):
    """The query was stopped before its end."""


class QueryTimeout(OperationalError):
    """A deadline passed."""


class Mismatch(DatabaseError):
    """A verification found an answer that differs from that of the one PostgreSQL."""


def from_native(
    kind: str,
    message: str,
    *,
    sqlstate: str | None = None,
    shard: str | None = None,
    phase: str | None = None,
    hint: str | None = None,
) -> Error:
    """The exception for an error of the library: its class follows the kind, and the SQLSTATE
    where a server answered."""
    error_class = _of_sqlstate(sqlstate) if kind == "server" and sqlstate else None
    if error_class is None:
        error_class = _BY_KIND.get(kind, DatabaseError)
    return error_class(message, kind=kind, shard=shard, phase=phase, sqlstate=sqlstate, hint=hint)


def _of_sqlstate(sqlstate: str) -> type[Error] | None:
    if sqlstate == "57014":
        return QueryCancelled
    return _BY_SQLSTATE_CLASS.get(sqlstate[:2]) or _BY_SQLSTATE_CLASS.get(sqlstate[:1])


_BY_KIND: dict[str, type[Error]] = {
    "cancelled": QueryCancelled,
    "config": ProgrammingError,
    "connect": OperationalError,
    "data": DataError,
    "decode": DataError,
    "execute": InternalError,
    "export": OperationalError,
    "interface": InterfaceError,
    "internal": InternalError,
    "limit": OperationalError,
    "mismatch": Mismatch,
    "server": DatabaseError,
    "syntax": ProgrammingError,
    "timeout": QueryTimeout,
    "unsupported": NotSupportedError,
    "usage": InterfaceError,
}

# The classes of PostgreSQL's errcodes.txt, as PostgreSQL drivers of Python map them.
_BY_SQLSTATE_CLASS: dict[str, type[Error]] = {
    "08": OperationalError,
    "0A": NotSupportedError,
    "10": ProgrammingError,
    "20": ProgrammingError,
    "21": ProgrammingError,
    "22": DataError,
    "23": IntegrityError,
    "24": InternalError,
    "25": InternalError,
    "26": ProgrammingError,
    "27": OperationalError,
    "28": OperationalError,
    "2B": InternalError,
    "2D": InternalError,
    "2F": OperationalError,
    "34": ProgrammingError,
    "38": OperationalError,
    "39": OperationalError,
    "3B": OperationalError,
    "3D": ProgrammingError,
    "3F": ProgrammingError,
    "40": OperationalError,
    "42": ProgrammingError,
    "44": ProgrammingError,
    "53": OperationalError,
    "54": OperationalError,
    "55": OperationalError,
    "57": OperationalError,
    "58": OperationalError,
    "F": OperationalError,
    "H": OperationalError,
    "P": ProgrammingError,
    "X": InternalError,
}
