"""Parameters: from Python values to PostgreSQL's text and types, and from ``%s`` to ``$1``.

A value travels as text, and its type stands in the SQL, as ``($1::timestamptz)``. Without it the
server would take the type of what stands beside the parameter: ``date_column > $1`` would cut the
time off a datetime, and ``integer_column > $1`` would refuse ``Decimal("2.5")``. ``str`` and
``None`` have no type of their own, so that a string can stand for a value of any type.

===========================  ==============================================================
Python                       PostgreSQL
===========================  ==============================================================
``None``, ``NaT``, ``NA``    NULL, of the type that stands beside it
``str``                      as a quoted literal: the type that stands beside it, else text
``bool``                     ``bool``
``int``                      as the same number in SQL: ``int4``, else ``int8``, else ``numeric``
``float``                    ``float8``
``Decimal``                  ``numeric``
``bytes``, ``bytearray``,    ``bytea``
``memoryview``
``datetime``                 ``timestamptz`` if it is aware, else ``timestamp``
``date``                     ``date``
``time``                     ``timetz`` if it is aware, else ``time``
``timedelta``                ``interval``
``UUID``                     ``uuid``
``Range``                    as a quoted literal
``list``                     an array of its elements' type; lists in it are dimensions
numpy, pyarrow, Polars,      the same; what is missing in it is NULL
pandas (one column)
===========================  ==============================================================

Everything else is a :class:`ParameterError`, which says what to pass instead.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .errors import DataError, ProgrammingError
from .types import Range

__all__ = ["ParameterError", "adapt", "numbered", "pyformat", "to_text"]


class ParameterError(ProgrammingError, TypeError):
    """A parameter cannot be given to PostgreSQL: wrong in its type, number or name."""


def pyformat(
    sql: str, params: Sequence[Any] | Mapping[str, Any] | None
) -> tuple[str, list[str | None]]:
    """SQL with ``%s`` and ``%(name)s`` as SQL with ``$1``, and the texts of its values.

    As in psycopg 3: where parameters are given, and be it an empty list, ``%%`` is a percent sign
    and every other ``%`` has to be a placeholder, also within strings and comments; where none are
    given (``None``), the SQL is left alone. A name may occur several times.
    """
    _check_sql(sql)
    if params is None:
        return sql, []
    parts, keys = _split(sql)
    values = _values_of(keys, params, sql)
    placeholders, texts = _placeholders(values)
    order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    out = [parts[0]]
    for key, part in zip(keys, parts[1:], strict=True):
        out += [placeholders[order[key]], part]
    return "".join(out), texts


def numbered(sql: str, params: Sequence[Any] | None) -> tuple[str, list[str | None]]:
    """SQL with ``$1`` as SQL in which the types of the values stand, and the texts of the values."""
    _check_sql(sql)
    if params is None:
        return sql, []
    if isinstance(params, Mapping):
        raise ParameterError(
            "the parameters of $1, $2, .. are a list, not a mapping",
            hint="a cursor takes names: cursor.execute('.. %(name)s ..', {'name': value})",
        )
    placeholders, texts = _placeholders(list(_sequence(params)))
    out, end = [], 0
    for start, stop, number in _numbers(sql):
        # A number that is too high or 0 is left for the server to tell.
        if 1 <= number <= len(placeholders):
            out += [sql[end:start], placeholders[number - 1]]
            end = stop
    return "".join(out) + sql[end:], texts


def to_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it; ``None`` is NULL."""
    return adapt(value)[0]


def adapt(value: Any) -> tuple[str | None, str | None]:
    """A value as PostgreSQL reads it, and its type; no type where what stands beside it decides."""
    if value is None:
        return None, None
    adapter = _ADAPTERS.get(type(value)) or _adapter_of(value)
    return adapter(value)


def _check_sql(sql: Any) -> None:
    if not isinstance(sql, str):
        raise ParameterError(
            f"SQL is a str, not {_name(sql)}",
            hint="decode bytes, and call as_string() of psycopg's SQL objects",
        )


def _placeholders(values: Sequence[Any]) -> tuple[list[str], list[str | None]]:
    placeholders, texts = [], []
    for number, value in enumerate(values, 1):
        try:
            text, sql_type = adapt(value)
        except (ParameterError, DataError) as error:
            error.args = (f"parameter {number}: {error.args[0]}",)
            raise
        texts.append(text)
        placeholders.append(f"(${number}::{sql_type})" if sql_type else f"${number}")
    return placeholders, texts


# --- %s -------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"%(?:\(([^)]*)\)(.)|(.)|$)", re.DOTALL)


def _split(sql: str) -> tuple[list[str], list[int] | list[str]]:
    """The texts around the placeholders, and for each its name or position."""
    parts: list[str] = []
    positions: list[int] = []
    names: list[str] = []
    text, end = "", 0
    for match in _PLACEHOLDER.finditer(sql):
        text += sql[end : match.start()]
        end = match.end()
        name, named_format, plain_format = match.groups()
        if plain_format == "%":
            text += "%"
            continue
        form = plain_format if name is None else named_format
        if form is None or form in "( \n":
            raise ParameterError(
                f"incomplete placeholder {match.group()!r}{_where(sql, match.start())}",
                hint="a percent sign is written %% where parameters are given",
            )
        if form not in "sbt":
            raise ParameterError(
                f"{match.group()!r} is no placeholder{_where(sql, match.start())}",
                hint="placeholders are %s and %(name)s whatever the type; "
                "a percent sign is written %% where parameters are given",
            )
        if name is None:
            positions.append(len(positions))
        else:
            names.append(name)
        parts.append(text)
        text = ""
    if positions and names:
        raise ParameterError("%s and %(name)s cannot be mixed in one query")
    return [*parts, text + sql[end:]], names or positions


def _values_of(
    keys: list[int] | list[str], params: Sequence[Any] | Mapping[str, Any], sql: str
) -> list[Any]:
    """One value for each key, in the order in which the keys first occur."""
    if keys and isinstance(keys[0], str):
        if not isinstance(params, Mapping):
            raise ParameterError(
                f"placeholders with names need a mapping, not {_name(params)}",
                hint="cursor.execute(sql, {'name': value})",
            )
        missing = sorted({repr(key) for key in keys if key not in params})
        if missing:
            raise ParameterError(f"no value for the placeholder {', '.join(missing)}")
        return [params[key] for key in dict.fromkeys(keys)]
    if isinstance(params, Mapping):
        if not keys:
            return []
        raise ParameterError("%s needs a list of values, not a mapping", hint="or write %(name)s")
    values = list(_sequence(params))
    if len(values) != len(keys):
        dollar = not keys and any(True for _ in _numbers(sql))
        raise ParameterError(
            f"the query has {_count(len(keys), 'placeholder')}, "
            f"and {_count(len(values), 'value')} came",
            hint="a cursor's placeholders are %s and %(name)s; $1 is for con.sql"
            if dollar
            else None,
        )
    return values


def _sequence(params: Any) -> Sequence[Any]:
    if isinstance(params, Sequence) and not isinstance(params, (str, bytes, bytearray)):
        return params
    raise ParameterError(
        f"parameters are a list, not {_name(params)}",
        hint="a single value too: [value]",
    )


def _where(sql: str, position: int) -> str:
    line = sql.count("\n", 0, position) + 1
    column = position - sql.rfind("\n", 0, position)
    return f" at line {line}, column {column}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- $1 -------------------------------------------------------------------------------------------

# What PostgreSQL's scan.l reads as one token, as far as it may hold a dollar sign.
_TOKEN = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | '(?:[^']|'')*(?:'|\Z)
    | "(?:[^"]|"")*(?:"|\Z)
    | --[^\r\n]*
    | (?P<comment>/\*)
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    | [^\W\d][\w$]*
    | \$(?P<number>\d+)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def _numbers(sql: str) -> Iterator[tuple[int, int, int]]:
    """Where ``$1``, ``$2``, .. stand as parameters: start, end and number."""
    position = 0
    while token := _TOKEN.search(sql, position):
        position = token.end()
        if token["comment"]:
            position = _end_of_comment(sql, position)
        elif token["number"]:
            yield token.start(), token.end(), int(token["number"])


def _end_of_comment(sql: str, position: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


# --- values ---------------------------------------------------------------------------------------


def _str(value: str) -> tuple[str, None]:
    return _checked(value), None


def _checked(text: str) -> str:
    if "\0" in text:
        raise DataError(
            "a string with a NUL character, which PostgreSQL's text cannot hold",
            hint="pass bytes for bytea",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"a string that is no Unicode text: {error}") from None
    # A subclass's text may print otherwise.
    return str.__str__(text)


def _int(value: int) -> tuple[str, str]:
    return int.__repr__(value), _int_type(value, value)


def _int_type(least: int, most: int) -> str:
    if -(2**31) <= least and most < 2**31:
        return "int4"
    return "int8" if -(2**63) <= least and most < 2**63 else "numeric"


def _float(value: float) -> tuple[str, str]:
    if math.isfinite(value):
        return float.__repr__(value), "float8"
    if math.isnan(value):
        return "NaN", "float8"
    return ("Infinity" if value > 0 else "-Infinity"), "float8"


def _decimal(value: decimal.Decimal) -> tuple[str, str]:
    return ("NaN" if value.is_nan() else str(value)), "numeric"


def _bytes(value: bytes | bytearray | memoryview) -> tuple[str, str]:
    return "\\x" + bytes(value).hex(), "bytea"


def _datetime(value: datetime.datetime) -> tuple[str | None, str | None]:
    if value != value:  # pandas.NaT is a datetime that equals nothing
        return None, None
    if getattr(value, "nanosecond", 0):
        raise DataError(
            f"{value} has nanoseconds, and PostgreSQL's timestamps end at microseconds",
            hint="round it first: value.round('us')",
        )
    offset = value.utcoffset()
    return value.isoformat(" "), "timestamp" if offset is None else "timestamptz"


def _time(value: datetime.time) -> tuple[str, str]:
    if value.tzinfo is None:
        return value.isoformat(), "time"
    if value.utcoffset() is None:
        raise ParameterError(
            f"the offset of {value!r} from UTC depends on a day",
            hint="give it a fixed offset: datetime.timezone(datetime.timedelta(hours=..))",
        )
    return value.isoformat(), "timetz"


def _timedelta(value: datetime.timedelta) -> tuple[str | None, str | None]:
    if value != value:
        return None, None
    if getattr(value, "nanoseconds", 0):
        raise DataError(
            f"{value} has nanoseconds, and PostgreSQL's intervals end at microseconds",
            hint="round it first: value.round('us')",
        )
    return f"{value.days} days +{value.seconds}.{value.microseconds:06} seconds", "interval"


def _range(value: Range) -> tuple[str, None]:
    if value.empty:
        return "empty", None
    lower, upper = (
        "" if bound is None else _quoted(_scalar_text(bound))
        for bound in (value.lower, value.upper)
    )
    return f"{value.bounds[0]}{lower},{upper}{value.bounds[1]}", None


def _scalar_text(value: Any) -> str:
    text, _ = adapt(value)
    if text is None or isinstance(value, (list, Range)):
        raise ParameterError(f"{_name(value)} is no bound of a range")
    return text


def _enum(value: enum.Enum) -> tuple[str | None, str | None]:
    if isinstance(value, (str, int, float)):
        return adapt(value.value)
    raise ParameterError(
        f"{_name(value)} is an enum, of which PostgreSQL may know the name or the value",
        hint="pass member.name or member.value",
    )


_ADAPTERS: dict[type, Callable[[Any], tuple[str | None, str | None]]] = {
    bool: lambda value: ("true" if value else "false", "bool"),
    int: _int,
    float: _float,
    str: _str,
    decimal.Decimal: _decimal,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    datetime.datetime: _datetime,
    datetime.date: lambda value: (value.isoformat(), "date"),
    datetime.time: _time,
    datetime.timedelta: _timedelta,
    uuid.UUID: lambda value: (str(value), "uuid"),
    Range: _range,
    list: lambda value: _list(value),
}


def _adapter_of(value: Any) -> Callable[[Any], tuple[str | None, str | None]]:
    """How a value is adapted whose very type is not in the table."""
    if isinstance(value, enum.Enum):
        return _enum
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and getattr(value, "ndim", None) == 0:
        return _numpy_scalar
    if module == "pandas" and type(value).__name__ == "NAType":
        return lambda _: (None, None)
    if hasattr(value, "columns"):
        raise ParameterError(f"{_name(value)} is a table", hint="pass one column: value['name']")
    if any(
        hasattr(value, name) for name in ("tolist", "to_list", "to_pylist", "__arrow_c_array__")
    ):
        return _column
    # The first that fits: datetime comes before date, of which it is a subclass.
    for known, adapter in _ADAPTERS.items():
        if isinstance(value, known):
            return adapter
    raise ParameterError(f"cannot pass {_name(value)} to PostgreSQL", hint=_cure(value))


def _cure(value: Any) -> str:
    if isinstance(value, tuple):
        return "use = ANY(%s) with a list where psycopg2 took IN %s with a tuple"
    if isinstance(value, dict):
        return "pass json.dumps(value), and write %s::jsonb"
    if isinstance(value, (set, frozenset, range, Iterator)):
        return "pass a list: list(value)"
    return "pass str(value), with a cast in the query where the type matters: %s::type"


def _name(value: Any) -> str:
    name = type(value).__qualname__
    module = type(value).__module__
    name = name if module == "builtins" else f"{module}.{name}"
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _numpy_scalar(value: Any) -> tuple[str | None, str | None]:
    if value.dtype.kind not in "mM":
        return adapt(value.item())
    micros = value.astype(f"{value.dtype.kind}8[us]")
    if value == value and micros != value:
        raise DataError(
            f"{value!r} does not fit PostgreSQL's times, which end at microseconds",
            hint="round it first",
        )
    return adapt(micros.item())


# --- lists ----------------------------------------------------------------------------------------


def _column(value: Any) -> tuple[str | None, str | None]:
    """The array of a column: of numpy, of pandas or of Arrow."""
    if type(value).__module__.startswith("numpy") and value.dtype.kind in "mM":
        return _list([_numpy_item(item) for item in value])
    if type(value).__module__.startswith("pandas") and hasattr(value, "notna"):
        # pandas says NaN for what is missing.
        value = value.astype(object).where(value.notna(), None)
    for name in ("to_pylist", "to_list", "tolist"):
        if convert := getattr(value, name, None):
            items = convert()
            if isinstance(items, list):
                return _list(items)
    raise ParameterError(
        f"cannot pass {_name(value)} to PostgreSQL", hint="pass a list: list(value)"
    )


def _numpy_item(value: Any) -> Any:
    """A time of numpy as Python's, or ``None`` for NaT."""
    _numpy_scalar(value)
    return value.astype(f"{value.dtype.kind}8[us]").item()


def _list(value: list[Any]) -> tuple[str, str | None]:
    items = value
    if _holds_lists(value):
        items = list(_leaves(value, _shape(value)))
    write, element = _items_writer(items)
    return _array_text(value, write), None if element is None else f"{element}[]"


def _array_text(value: list[Any], write: Callable[[list[Any]], Iterator[str]]) -> str:
    if _holds_lists(value):
        return "{" + ",".join(_array_text(item, write) for item in value) + "}"
    return "{" + ",".join(write(value)) + "}"


def _holds_lists(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], list)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _leaves(value: list[Any], shape: list[int]) -> Iterator[Any]:
    """The items of lists within lists, which have to be of one length, as PostgreSQL's are."""
    if len(value) != shape[0]:
        raise ParameterError(
            f"lists of {shape[0]} and of {len(value)} items beside each other are no array",
            hint="the dimensions of PostgreSQL's arrays have one length each; pad with None",
        )
    for item in value:
        if isinstance(item, list) != (len(shape) > 1):
            raise ParameterError("an array holds lists or values, not both beside each other")
        if len(shape) > 1:
            yield from _leaves(item, shape[1:])
        else:
            yield item


def _items_writer(items: list[Any]) -> tuple[Callable[[list[Any]], Iterator[str]], str | None]:
    """What writes the items of an array, and their common type.

    The three types that columns of data have are written without a look at each item.
    """
    types = set(map(type, items))
    if types == {int}:
        return lambda part: map(str, part), _int_type(min(items), max(items))
    if types == {str}:
        return lambda part: (_quoted(_checked(item)) for item in part), None
    if types == {float}:
        return lambda part: (_float(item)[0] for item in part), "float8"
    elements = {adapt(item)[1] for item in items if item is not None}
    return _write_items, _common_type(elements, items)


def _write_items(items: list[Any]) -> Iterator[str]:
    for item in items:
        text, element = adapt(item)
        if text is None:
            yield "NULL"
        else:
            yield text if element in _PLAIN else _quoted(text)


# Types whose texts hold nothing that an array literal would take for its own.
_PLAIN = frozenset({"bool", "int4", "int8", "numeric", "float8", "uuid"})
_NUMBERS = ["int4", "int8", "numeric", "float8"]


def _common_type(elements: set[str | None], items: list[Any]) -> str | None:
    if len(elements) <= 1:
        return next(iter(elements), None)
    if elements <= {"int4", "int8", "numeric"} or elements <= {"int4", "int8", "float8"}:
        return max((element for element in elements if element), key=_NUMBERS.index)
    names = sorted({_name(item) for item in items if item is not None})
    raise ParameterError(
        f"a list with items of several types is no array: {', '.join(names)}",
        hint="convert them to one type first",
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
