"""What a row is: factories for ``cursor(row_factory=...)``.

A factory is called with the cursor once a query has been executed, and returns what makes a row of
the tuple of its values. The names are those of psycopg 3, whose own factories, and whose
predecessor's cursor classes, are taken for the ones here of the same meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .errors import ProgrammingError
from .types import row_type

if TYPE_CHECKING:
    from .cursor import Cursor

__all__ = [
    "DictRow",
    "RowFactory",
    "RowMaker",
    "class_row",
    "dict_row",
    "namedtuple_row",
    "scalar_row",
    "tuple_row",
]

RowMaker = Callable[[tuple[Any, ...]], Any]
RowFactory = Callable[["Cursor"], RowMaker]


def tuple_row(cursor: Cursor) -> RowMaker:
    """A row is a tuple of its values; the default."""
    return tuple


def dict_row(cursor: Cursor) -> RowMaker:
    """A row is a dict from names to values.

    Two columns of one name are an error: one of them would be lost.
    """
    names = _different_names(cursor)
    return lambda values: dict(zip(names, values, strict=True))


def namedtuple_row(cursor: Cursor) -> RowMaker:
    """A row is a named tuple; a name that Python cannot have, or that comes twice, becomes ``_1``,
    ``_2``, .. after its place."""
    return row_type("Row", tuple(_names(cursor)))._make  # type: ignore[attr-defined,no-any-return]


def scalar_row(cursor: Cursor) -> RowMaker:
    """A row is its first value."""
    if not _names(cursor):
        raise ProgrammingError("the query has no column, so its rows have no first value")
    return itemgetter(0)


def class_row(cls: type[Any]) -> RowFactory:
    """A row is an object of this class, made with the names of the columns as keywords."""

    def factory(cursor: Cursor) -> RowMaker:
        names = _different_names(cursor)
        return lambda values: cls(**dict(zip(names, values, strict=True)))

    return factory


class DictRow(tuple[Any, ...]):
    """A tuple whose values can be had by name too, as the rows of psycopg2's ``DictCursor``."""

    _index: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            key = self._index[key]
        return super().__getitem__(key)

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._index)

    def values(self) -> Iterator[Any]:
        """The values."""
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values."""
        return zip(self._index, self, strict=True)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of the column of this name, or the default."""
        return self[key] if key in self._index else default

    def __reduce__(self) -> tuple[Any, ...]:
        return _dict_row_of, (self.keys(), tuple(self))


def dictrow_row(cursor: Cursor) -> RowMaker:
    """A row is a :class:`DictRow`."""
    return _dict_row_class(_different_names(cursor))


def _dict_row_class(names: list[str]) -> type[DictRow]:
    return type("DictRow", (DictRow,), {"_index": {name: at for at, name in enumerate(names)}})


def _dict_row_of(names: list[str], values: tuple[Any, ...]) -> DictRow:
    return _dict_row_class(names)(values)


def known_factory(given: Any) -> RowFactory:
    """The factory that is meant: one of psycopg reads what only its own cursors have."""
    module = getattr(given, "__module__", None) or ""
    name = getattr(given, "__name__", "")
    if module.partition(".")[0] in ("psycopg", "psycopg2"):
        if name in _OF_PSYCOPG:
            return _OF_PSYCOPG[name]
        raise ProgrammingError(
            f"{module}.{name} is for psycopg's own cursors",
            hint="row_factory takes merganser.dict_row, merganser.namedtuple_row and their like",
        )
    if not callable(given):
        raise ProgrammingError(
            f"{given!r} is no row factory",
            hint="row_factory takes merganser.dict_row, merganser.namedtuple_row and their like",
        )
    return given  # type: ignore[no-any-return]


_OF_PSYCOPG: dict[str, RowFactory] = {
    "tuple_row": tuple_row,
    "dict_row": dict_row,
    "namedtuple_row": namedtuple_row,
    "scalar_row": scalar_row,
    "cursor": tuple_row,
    "RealDictCursor": dict_row,
    "DictCursor": dictrow_row,
    "NamedTupleCursor": namedtuple_row,
}


def _names(cursor: Cursor) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def _different_names(cursor: Cursor) -> list[str]:
    names = _names(cursor)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProgrammingError(
            f"several columns are called {', '.join(map(repr, twice))}, and a row by name can hold "
            "only one of each",
            hint="give them names of their own with AS, or take tuples",
        )
    return names
