"""The cursor of PEP 249.

What a row holds, for each type of PostgreSQL:

===========================  =================================================================
``bool``                     ``bool``
``int2 int4 int8 oid``       ``int``
``float4 float8``            ``float``, of a ``float4`` that which PostgreSQL prints
``numeric``                  ``Decimal``, of PostgreSQL's own scale; NaN and infinities too
``text varchar bpchar``,     ``str``
enums
``bytea``, geometries        ``bytes``
``date time timetz``         ``date``, ``time``, aware ``time``
``timestamp``                ``datetime``
``timestamptz``              aware ``datetime``, in UTC
``interval``                 ``timedelta``; with months it is a ``DataError``
``uuid``                     ``UUID``
``json jsonb``               what it says: ``dict``, ``list``, ``str``, ``int``, ``float``, ..; a
                             number with more digits than a ``float`` holds is a ``Decimal``
arrays, pgvector             ``list``, nested by dimension
composite types              a named tuple
ranges, multiranges          :class:`merganser.Range`, a ``list`` of them
``hstore``                   ``dict``
all others                   ``str``, as PostgreSQL prints it
===========================  =================================================================

NULL is ``None``. A value that its class cannot hold (an infinite date, a year above 9999) is a
``DataError`` that names the column and the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from . import _frames
from ._fetching import Fetching
from .errors import InterfaceError, ProgrammingError
from .params import pyformat
from .rows import RowFactory, RowMaker, known_factory, tuple_row
from .types import Column

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from ._connection import Connection
    from ._merganser import NativeQuery, Reader

__all__ = ["Cursor"]

Params = Sequence[Any] | Mapping[str, Any]


class Cursor(Fetching):
    """Executes queries one after the other, and hands out the rows of the last one.

    Rows are read as they are fetched: in memory are those that were fetched, and a few batches.
    The ways to fetch may be mixed, each row is given once, in order. Where a shard fails, the call
    that meets the failure raises, and so does every fetch after it until something else is
    executed: the rows that came before are no answer.

    A cursor is for one thread at a time; a connection may have any number of cursors.
    """

    # What `execute` does with its SQL.
    _fan_out = False

    def __init__(
        self, connection: Connection, row_factory: RowFactory | None = None, **options: Any
    ) -> None:
        self.connection = connection
        self.row_factory = tuple_row if row_factory is None else known_factory(row_factory)
        self._options = options
        self._query: NativeQuery | None = None
        self._reader: Reader | None = None
        self._make_row: RowMaker | None = None
        self._description: list[Column] | None = None
        self._rowcount = -1
        self._decimals = self._nan_is_null = False
        self._more: Iterator[Callable[[], None]] | None = None
        self._closed = False
        self._ended = "nothing was executed"
        super().__init__()
        connection._cursors.add(self)

    # --- executing --------------------------------------------------------------------------------

    def execute(self, operation: str, parameters: Params | None = None, **options: Any) -> Self:
        """Runs a query; ``%s`` and ``%(name)s`` stand for values, see :mod:`merganser.params`.

        What was executed before is given up. The answer is that of one PostgreSQL with all rows,
        where the connection knows the tables; ``execute_fan_out`` asks every shard as it is.
        ``options`` are those of ``con.sql``, for this query.
        """
        with self._alone:
            self._start(operation, parameters, options)
        return self

    def execute_fan_out(
        self,
        operation: str,
        parameters: Params | None = None,
        *,
        merge_sql: str | None = None,
        **options: Any,
    ) -> Self:
        """Runs the same SQL on every shard, and appends the rows; ``merge_sql`` is a query over
        them, which it knows as the table ``shards``."""
        if merge_sql is not None:
            options["merge_sql"] = merge_sql
        with self._alone:
            self._start(operation, parameters, options, fan_out=True)
        return self

    def executemany(
        self, operation: str, seq_of_parameters: Iterable[Params], **options: Any
    ) -> Self:
        """Runs a query once for each of the parameters; ``nextset`` goes on to the next result.

        Merganser only reads, so this is not for ``INSERT``. For many keys, one query with
        ``= ANY(%s)`` and a list is far faster.
        """
        runs = (partial(self._start, operation, each, options) for each in seq_of_parameters)
        with self._alone:
            if not self._run_next(runs):
                self._end("executemany had no parameters, so that nothing was executed")
        return self

    def nextset(self) -> bool | None:
        """Goes on to the next result of ``executemany``; ``None`` if there is none."""
        with self._alone:
            if self._more is not None and self._run_next(self._more):
                return True
            self._end("there are no more results")
            return None

    def mogrify(self, operation: str, parameters: Params | None = None, **options: Any) -> str:
        """The SQL with the values in place, as it would run on the first shard; nothing runs.

        PostgreSQL is asked for the types of the values.
        """
        with self._alone:
            numbered, texts = pyformat(operation, parameters)
            native = self.connection._native_fan_out
            return native(numbered, texts, **{**self._options, **options}).mogrify()

    def cancel(self) -> None:
        """Ends what the cursor runs, on every shard; for another thread, while this one waits."""
        query, reader = self._query, self._reader
        if query is not None:
            query.cancel()
        if reader is not None:
            reader.cancel()

    # --- what came --------------------------------------------------------------------------------

    @property
    def description(self) -> list[Column] | None:
        """The columns of the result; ``None`` when there is none."""
        return self._description

    @property
    def rowcount(self) -> int:
        """The number of rows of the result, once a fetch has found its end; -1 until then."""
        return self._rowcount

    @property
    def missing_shards(self) -> dict[str, str]:
        """The shards that the result goes without, and why, where ``allow_missing_shards=True`` lets
        them; complete once all rows are fetched."""
        return {} if self._query is None else dict(self._query.missing_shards)

    @property
    def rownumber(self) -> int | None:
        """How many rows of the result were fetched; ``None`` when there is no result."""
        return None if self._reader is None or self._reader.closed else self._reader.rownumber

    @property
    def lastrowid(self) -> None:
        """``None``: nothing is inserted."""

    # --- fetching ---------------------------------------------------------------------------------

    def fetch_arrow(self) -> _frames.Stream:
        """The rows that are left as an object with ``__arrow_c_stream__``, which is read once."""
        with self._alone:
            return _frames.Stream(self._hand_over())

    def fetch_arrow_table(self) -> pyarrow.Table:
        """The rows that are left as a table of pyarrow."""
        with self._alone:
            return _frames.table(self._hand_over(whole=True))

    fetchallarrow = fetch_arrow_table

    def fetch_record_batch(self) -> pyarrow.RecordBatchReader:
        """The rows that are left as pyarrow's reader of batches, which come as they are read."""
        with self._alone:
            return _frames.record_batches(self._hand_over())

    def fetch_df(self) -> pandas.DataFrame:
        """The rows that are left as a dataframe of pandas."""
        with self._alone:
            return _frames.pandas(self._hand_over(whole=True))

    def fetch_polars(self) -> polars.DataFrame:
        """The rows that are left as a dataframe of Polars."""
        with self._alone:
            return _frames.polars(self._hand_over(whole=True, text_views=True))

    # --- its end ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its connection."""
        return self._closed or self.connection.closed

    def close(self) -> None:
        """Gives up the result, cancelling what still runs; every use is an error from then on."""
        self._closed = True
        self._end("the cursor is closed")

    def __repr__(self) -> str:
        state = (
            "closed" if self.closed else self._ended if self._reader is None else "with a result"
        )
        return f"<{type(self).__module__}.{type(self).__qualname__}: {state}>"

    # --- within -----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed", hint="make another: con.cursor()")
        if self.connection.closed:
            raise InterfaceError(
                "the connection of this cursor is closed",
                hint="connect again: merganser.connect(..)",
            )

    def _start(
        self,
        sql: str,
        params: Params | None,
        options: dict[str, Any],
        fan_out: bool | None = None,
    ) -> None:
        fan_out = self._fan_out if fan_out is None else fan_out
        self._end("what was executed last failed")
        numbered, texts = pyformat(sql, params)
        native = self.connection._native_fan_out if fan_out else self.connection._native
        self._begin(partial(native, numbered, texts), {**self._options, **options})

    def _begin(self, query: Callable[..., NativeQuery], options: dict[str, Any]) -> None:
        """Runs what is made with these options, as the result of the cursor."""
        # Text holds each number with the scale that PostgreSQL gave it; Arrow gets decimals of it. A
        # query over the rows of the shards has to compute with numbers.
        as_text = "numeric" not in options and "merge_sql" not in options
        if as_text:
            options["numeric"] = "text"
        self._decimals = as_text and options.get("unrepresentable") != "text"
        self._nan_is_null = options.get("unrepresentable") == "null"
        self._query = query(**options)
        reader = self._query.stream()
        self._reader = reader
        self._description = [Column.of(name, pg_type) for name, pg_type, _ in reader.columns]
        try:
            self._make_row = self.row_factory(self)
        except BaseException:
            self._end("what was executed last failed")
            raise

    def _run_next(self, runs: Iterator[Callable[[], None]]) -> bool:
        for run in runs:
            run()
            self._more = runs
            return True
        return False

    def _fetch(self, limit: int | None) -> list[Any]:
        reader = self._result()
        rows = reader.fetch_rows(limit)
        if limit is None or len(rows) < limit:
            self._rowcount = reader.rownumber
        if self._make_row is tuple:
            return rows
        return list(map(self._make_row, rows))  # type: ignore[arg-type]

    def _hand_over(self, *, whole: bool = False, text_views: bool = False) -> Reader:
        """What gives the rows that are left to a library of Arrow.

        As a whole they are read here, with our exceptions and Ctrl-C; a library that waits for the
        next batch has only texts of errors. Text as views is for Polars, which holds no other.
        """
        reader = self._result()
        if self._decimals:
            reader = self._reader = reader.with_decimals(self._nan_is_null)
            self._decimals = False
        if text_views:
            reader = self._reader = reader.with_views()
        if whole:
            reader.load()
        self._reader = None
        self._ended = "the rows were handed over as Arrow"
        return reader

    def _result(self) -> Reader:
        if self._reader is None:
            raise ProgrammingError(
                f"there is no result to fetch from: {self._ended}", hint="execute a query first"
            )
        return self._reader

    def _end_result(self) -> None:
        """The connection's commit and rollback end what its cursors read."""
        self._end("the transaction was ended by commit or rollback")

    def _end(self, why: str) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        self._query = self._make_row = self._description = self._more = None
        self._rowcount = -1
        self._ended = why
