"""Queries as they were asked: ``con.sql(...)`` and ``con.fan_out(...)``."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import _frames
from ._partitions import Key, Partitions, key_of
from ._plan import Plan
from ._progress import Shown, Snapshot

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from ._merganser import NativeQuery, Reader, Schema

__all__ = ["PartitionRead", "Query", "Verified"]

Progress = bool | Callable[[Snapshot], object] | None


@dataclass(frozen=True, slots=True)
class Verified:
    """An answer that was the same as that of one PostgreSQL with all rows."""

    rows: int
    #: How many expressions the query orders by, and how many of them could be compared.
    order_keys: int
    order_keys_compared: int
    #: Whether sums of floats were compared up to their last digits.
    float_order: bool
    _text: str

    def __str__(self) -> str:
        return self._text


class Rows:
    """Rows that are read anew each time somebody wants them: of a query, or of a part of one."""

    __slots__ = ("_native", "_schema")

    def __init__(self, native: NativeQuery) -> None:
        self._native = native
        self._schema: Schema | None = None

    @property
    def schema(self) -> Schema:
        """Names and types of the columns. The first time a shard is asked; the query does not run."""
        if self._schema is None:
            self._schema = self._native.describe()
        return self._schema

    # --- all rows at once -------------------------------------------------------------------------

    def arrow(self, progress: Progress = None) -> pyarrow.Table:
        """All rows as a table of pyarrow.

        ``progress=True`` shows a bar; a function is called some times a second with a
        :class:`merganser.Progress`, and what it raises ends the query.
        """
        return _frames.table(self._collect(progress))

    def pl(self, progress: Progress = None) -> polars.DataFrame:
        """All rows as a dataframe of Polars; ``progress`` as in :meth:`arrow`."""
        return _frames.polars(self._collect(progress, text_views=True))

    def df(
        self, progress: Progress = None, *, dtype_backend: str | None = None
    ) -> pandas.DataFrame:
        """All rows as a dataframe of pandas; ``progress`` as in :meth:`arrow`.

        The dtypes are those that pandas gives Arrow data: NumPy's, and its own for text and times.
        Integers with NULLs get pandas' nullable dtypes, because a float would lose digits.
        ``dtype_backend`` is that of pandas' own readers: ``"pyarrow"`` keeps Arrow's types.
        """
        return _frames.pandas(self._collect(progress), dtype_backend)

    def rows(self, progress: Progress = None) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python objects, without pyarrow; see :mod:`merganser.cursor`."""
        with Shown.of(progress) as tell:
            return self._native.collect(tell, for_rows=True).fetch_rows()

    # --- rows as they come ------------------------------------------------------------------------

    def reader(self) -> Reader:
        """The rows as they come, in bounded memory: an iterator of batches, and a context manager.

        A batch, and the reader itself, go wherever Arrow data does. To close a reader ends its query.
        """
        return self._native.stream()

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        compression: str | None = None,
        row_group_rows: int | None = None,
        duplicate_columns: str | None = None,
        csv_escape_formulas: bool = False,
        progress: Progress = None,
    ) -> int:
        """Writes all rows into a file, in bounded memory; how many they were.

        The file is there when it is complete, and not before. ``format`` is ``"parquet"``, ``"csv"``,
        ``"json"``, ``"ndjson"``, ``"arrow"``, ``"arrow-stream"`` or ``"table"``; without it the name of
        the file tells. ``compression`` is ``"zstd"``, ``"snappy"`` or ``"none"``; ``duplicate_columns``
        ``"error"`` or ``"rename"``. ``csv_escape_formulas`` puts a ``'`` before what a spreadsheet would
        compute when it opens the file, which changes the data.
        """
        with Shown.of(progress) as tell:
            rows, _ = self._native.write(
                os.fspath(path),
                format=format,
                compression=compression,
                row_group_rows=row_group_rows,
                duplicate_columns=duplicate_columns,
                csv_escape_formulas=csv_escape_formulas,
                progress=tell,
            )
        return rows

    def cancel(self) -> None:
        """Ends every run that is under way, on every shard; from any thread."""
        self._native.cancel()

    # --- for other libraries ----------------------------------------------------------------------

    def __arrow_c_schema__(self) -> object:
        return self._native.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    def _collect(self, progress: Progress, *, text_views: bool = False) -> Reader:
        with Shown.of(progress) as tell:
            return self._native.collect(tell, text_views)


class Query(Rows):
    """SQL with its values and options. It runs anew each time somebody wants its rows.

    It goes wherever Arrow data does: ``polars.DataFrame(q)``, ``pyarrow.table(q)``,
    ``duckdb.sql("FROM q")``. To print it runs nothing.
    """

    __slots__ = ("_sql",)

    def __init__(self, native: NativeQuery, sql: str) -> None:
        super().__init__(native)
        self._sql = sql

    @property
    def sql(self) -> str:
        """The text as it was given."""
        return self._sql

    @property
    def missing_shards(self) -> dict[str, str]:
        """The shards that the rows go without, and why each is missing, where
        ``allow_missing_shards=True`` lets them: of the run that has begun last, complete once all its
        rows are read. An answer with any of them is a part of the answer."""
        return dict(self._native.missing_shards)

    def explain(self, analyze: bool = False, verbose: bool = False) -> Plan:
        """What runs where, without running it. With ``analyze`` it is run for that, its rows are
        dropped, and the plan tells what each step did. With ``verbose`` its text says why each step
        is exact, and which merges were judged before; its JSON says so anyway."""
        return Plan(*self._native.explain(analyze, verbose))

    def mogrify(self) -> str:
        """The text with its values in place of ``$1``, ``$2``, ..; a shard is asked for their types."""
        return self._native.mogrify()

    def verify(self, url: str) -> Verified:
        """Runs the query here and on one PostgreSQL that holds all rows, and compares.

        Raises :class:`merganser.Mismatch` at the first difference.
        """
        found = self._native.verify(url)
        text = found.pop("text")
        return Verified(**found, _text=text)

    def partitions(
        self,
        *,
        lease: float | None = None,
        partition_bytes: int | None = None,
        key: Key = None,
    ) -> Partitions:
        """Cuts the query into parts that other processes read, with ``con.read_partition(part)``.

        Each row is in one part, as a snapshot of its shard shows it that is taken now, whatever others
        write. The snapshots are kept until the partitions are closed, this program ends, or the lease is
        over. Parts are ranges of a table's blocks where the query is one SELECT of one table; a query
        that cannot be cut so has a part for each shard; one whose rows are merged (ORDER BY, LIMIT,
        aggregates over several shards) raises :class:`NotSupportedError`.

        lease:
            the seconds that the parts can be read at most; 6 hours unless set
        partition_bytes:
            about how much of a table a part has, at least 1 MiB; 64 MiB unless set
        key:
            seals the parts, which hold SQL that their readers run: who does not know it can make none.
            The environment's ``MERGANSER_PARTITION_KEY`` unless set
        """
        return Partitions(self._native.partitions(key_of(key), lease, partition_bytes))

    def __repr__(self) -> str:
        kind = "fan-out" if self._native.is_fan_out else "query"
        return f"<merganser {kind}, not run: {' '.join(self._sql.split())}>"

    def _repr_html_(self) -> str:
        columns = ""
        if self._schema is not None:
            cells = "".join(
                f"<tr><td>{html.escape(name)}</td><td>{html.escape(pg_type)}</td></tr>"
                for name, pg_type, _ in self._schema.columns
            )
            columns = f"<table><tr><th>column</th><th>type</th></tr>{cells}</table>"
        return f"<pre>{html.escape(self._sql)}</pre>{columns}"


class PartitionRead(Rows):
    """A part of a query; made by :meth:`merganser.Connection.read_partition`. It is read anew each time
    somebody wants its rows, which are always the same, and goes wherever Arrow data does."""

    __slots__ = ()

    @property
    def shard(self) -> str:
        """The name of the shard that has the rows."""
        shard = self._native.shard
        assert shard is not None
        return shard

    @property
    def blocks(self) -> tuple[int, int] | None:
        """The first block of the table, and the one behind the last; ``None`` for all of the shard. The
        last part of a table has no end in practice."""
        return self._native.blocks

    @property
    def expires(self) -> datetime:
        """When the lease ends, in UTC."""
        expires = self._native.expires
        assert expires is not None
        return datetime.fromtimestamp(expires, UTC)

    def __repr__(self) -> str:
        blocks = "all rows" if self.blocks is None else "blocks {}..{}".format(*self.blocks)
        return f"<merganser part of a query, not read: {blocks} of {self.shard}>"
