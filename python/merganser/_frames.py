"""Arrow streams as the tables of pyarrow, pandas and Polars."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from ._merganser import Reader
from .errors import NotSupportedError

if TYPE_CHECKING:
    import pandas as _pandas
    import polars as _polars
    import pyarrow as _pyarrow

__all__ = ["ArrowStream", "Stream", "pandas", "polars", "record_batches", "table"]


class ArrowStream(Protocol):
    """Anything of the PyCapsule interface of Arrow that has rows."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class Stream:
    """The rows of a reader for whoever takes Arrow, once, and nothing but that.

    Polars takes what can be iterated for a list of tables, of which it wants the first.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __arrow_c_schema__(self) -> object:
        return self._reader.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._reader.__arrow_c_stream__(requested_schema)


def table(stream: ArrowStream) -> _pyarrow.Table:
    """The rows as a table of pyarrow."""
    return _library("pyarrow").table(stream)


def record_batches(stream: ArrowStream) -> _pyarrow.RecordBatchReader:
    """The rows as they come."""
    return _library("pyarrow").RecordBatchReader.from_stream(stream)


def polars(stream: ArrowStream) -> _polars.DataFrame:
    """The rows as a dataframe of Polars."""
    polars = _library("polars")
    for name, pg_type, arrow_type in stream.columns if isinstance(stream, Reader) else []:
        # Polars panics on them, and what a user catches does not catch that.
        if "Interval(" in arrow_type:
            raise NotSupportedError(
                f"column {name!r}: Polars has no type for an interval of months, days and time",
                hint='con.sql(.., interval="text"), or EXTRACT(epoch FROM ..) in the query',
            )
        if "Decimal256(" in arrow_type:
            raise NotSupportedError(
                f"column {name!r}: Polars has no decimals of more than 38 digits, as {pg_type} has",
                hint="cast it in the query: to numeric(38,..), float8 or text",
            )
    return polars.DataFrame(stream)


def pandas(stream: ArrowStream, dtype_backend: str | None = None) -> _pandas.DataFrame:
    """The rows as a dataframe of pandas, with these dtypes."""
    pandas = _library("pandas")
    pyarrow = _library("pyarrow")
    rows = pyarrow.table(stream)
    if dtype_backend == "pyarrow":
        return rows.to_pandas(types_mapper=pandas.ArrowDtype)
    nullable = _nullable_dtypes(pandas, pyarrow)
    if dtype_backend == "numpy_nullable":
        return rows.to_pandas(types_mapper=nullable.get)
    if dtype_backend is not None:
        raise NotSupportedError(
            f"dtype_backend is not {dtype_backend!r}",
            hint='it is None, "numpy_nullable" or "pyarrow"',
        )
    frame = rows.to_pandas()
    for index, column in enumerate(rows.columns):
        if pyarrow.types.is_integer(column.type) and column.null_count:
            dtype = nullable[column.type]
            series = pandas.Series(dtype.__from_arrow__(column), index=frame.index)
            frame.isetitem(index, series)
    return frame


def _nullable_dtypes(pandas: Any, pyarrow: Any) -> dict[Any, Any]:
    """pandas' own dtypes that know a NULL from a value, by the types of Arrow."""
    return {
        pyarrow.bool_(): pandas.BooleanDtype(),
        pyarrow.int8(): pandas.Int8Dtype(),
        pyarrow.int16(): pandas.Int16Dtype(),
        pyarrow.int32(): pandas.Int32Dtype(),
        pyarrow.int64(): pandas.Int64Dtype(),
        pyarrow.uint8(): pandas.UInt8Dtype(),
        pyarrow.uint16(): pandas.UInt16Dtype(),
        pyarrow.uint32(): pandas.UInt32Dtype(),
        pyarrow.uint64(): pandas.UInt64Dtype(),
        pyarrow.float32(): pandas.Float32Dtype(),
        pyarrow.float64(): pandas.Float64Dtype(),
        pyarrow.string(): pandas.StringDtype(),
    }


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise NotSupportedError(
            f"{name} is not installed",
            hint=f"pip install {name}; q.rows() and cursors need no other library",
        ) from error
