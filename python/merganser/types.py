"""Types of the package's own: ranges, named tuples; and what PEP 249 asks of a module: the kinds of
columns, and what the package can do."""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
import re
import uuid
from collections import namedtuple
from typing import Any, NamedTuple

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Column",
    "Date",
    "DateFromTicks",
    "Range",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "apilevel",
    "paramstyle",
    "threadsafety",
]

#: PEP 249.
apilevel = "2.0"
#: Threads may share the module and connections, but no cursor.
threadsafety = 2
#: Of cursors; ``con.sql`` takes ``$1``, ``$2``, ..
paramstyle = "pyformat"


class Range(NamedTuple):
    """A range of PostgreSQL, as a row holds it, and as a parameter.

    A bound of ``None`` is no bound. The empty range has no bounds at all.
    """

    lower: Any = None
    upper: Any = None
    bounds: str = "[)"
    """Whether the bounds belong to it: ``[`` and ``]`` do, ``(`` and ``)`` do not; ``""`` if it is
    empty."""
    empty: bool = False

    @property
    def lower_inc(self) -> bool:
        """Whether the lower bound belongs to the range."""
        return not self.empty and self.lower is not None and self.bounds[0] == "["

    @property
    def upper_inc(self) -> bool:
        """Whether the upper bound belongs to the range."""
        return not self.empty and self.upper is not None and self.bounds[1] == "]"

    def __contains__(self, value: object) -> bool:
        """Whether a value lies in the range."""
        if self.empty or value is None:
            return False
        item: Any = value
        if self.lower is not None and (
            item < self.lower or (item == self.lower and not self.lower_inc)
        ):
            return False
        return self.upper is None or item < self.upper or (item == self.upper and self.upper_inc)

    def __bool__(self) -> bool:
        """Whether the range holds anything."""
        return not self.empty


class TypeObject:
    """A kind of column of PEP 249: it equals the type code of every column of that kind."""

    def __init__(self, name: str, types: frozenset[str]) -> None:
        self._name = name
        self._types = types

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other in self._types
        return self is other

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"merganser.{self._name}"


BINARY = TypeObject("BINARY", frozenset({"bytea", "geometry", "geography"}))
DATETIME = TypeObject(
    "DATETIME",
    frozenset({"date", "time", "timetz", "timestamp", "timestamptz", "interval"}),
)
NUMBER = TypeObject(
    "NUMBER",
    frozenset({"int2", "int4", "int8", "oid", "xid", "cid", "xid8", "float4", "float8", "numeric"}),
)
ROWID = TypeObject("ROWID", frozenset({"oid"}))
STRING = TypeObject(
    "STRING", frozenset({"text", "varchar", "bpchar", "name", '"char"', "citext", "enum"})
)


@functools.lru_cache(maxsize=1024)
def row_type(name: str, fields: tuple[str, ...]) -> type[tuple[Any, ...]]:
    """A named tuple of these fields, whose instances can be pickled although no module holds it.

    Names that Python cannot have are ``_1``, ``_2``, .., as in ``collections.namedtuple``.
    """
    base = namedtuple(name, fields, rename=True)  # type: ignore[misc]

    def reduce(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return _row, (name, fields, tuple(row))

    return type(name, (base,), {"__slots__": (), "__reduce__": reduce})


def _row(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    return row_type(name, fields)(*values)


EPOCH = datetime.datetime(1970, 1, 1)
EPOCH_UTC = EPOCH.replace(tzinfo=datetime.UTC)


def _exact_number(text: str) -> float | decimal.Decimal:
    """A float where it holds the number of a JSON text to its last digit, else a Decimal."""
    number = float(text)
    # Fifteen digits always survive the way to a float and back, unless it over- or underflows.
    if len(text) <= 15 and "e" not in text and "E" not in text:
        return number
    exact = decimal.Decimal(text)
    return number if math.isfinite(number) and decimal.Decimal(repr(number)) == exact else exact


parse_json = json.JSONDecoder(parse_float=_exact_number).decode
"""What a row holds of a ``json`` or ``jsonb``; no digit of a number is lost."""


class Column(NamedTuple):
    """A column of a result, as PEP 249 describes it."""

    name: str
    type_code: str
    """PostgreSQL's name of the type; it compares equal to one of STRING, NUMBER, .."""
    display_size: int | None
    internal_size: int | None
    """Bytes of a value, where all have the same."""
    precision: int | None
    scale: int | None
    null_ok: bool | None

    @classmethod
    def of(cls, name: str, pg_type: str) -> Column:
        """The column of this name and PostgreSQL type, such as ``numeric(15,2)``."""
        type_code = _MODIFIERS.sub("", pg_type)
        modifiers = _MODIFIERS.search(pg_type)
        precision = scale = None
        if type_code == "numeric" and modifiers is not None:
            precision, scale = map(int, modifiers[1].split(","))
        return cls(name, type_code, None, _SIZES.get(type_code), precision, scale, None)


_MODIFIERS = re.compile(r" ?\(([^)]*)\)")

# Bytes of a value, of the types whose values all have the same.
_SIZES = {
    "bool": 1,
    "int2": 2,
    "int4": 4,
    "int8": 8,
    "oid": 4,
    "xid8": 8,
    "float4": 4,
    "float8": 8,
    "uuid": 16,
    "date": 4,
    "time": 8,
    "timetz": 12,
    "timestamp": 8,
    "timestamptz": 8,
    "interval": 16,
}

# The constructors of PEP 249.
Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:
    """The day, here, of these seconds since 1970."""
    return Date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> datetime.time:
    """The time of day, here, of these seconds since 1970."""
    return Timestamp.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """The instant of these seconds since 1970, in this machine's time zone."""
    return Timestamp.fromtimestamp(ticks).astimezone()


def uuid_of(value: bytes) -> uuid.UUID:
    """The UUID of sixteen bytes.

    Its class would first find out in which of six ways it is given: a quarter of the time.
    """
    made = object.__new__(uuid.UUID)
    object.__setattr__(made, "int", int.from_bytes(value, "big"))
    object.__setattr__(made, "is_safe", uuid.SafeUUID.unknown)
    return made
