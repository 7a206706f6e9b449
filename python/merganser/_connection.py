"""Connections: what ``merganser.connect(...)`` gives."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from . import _merganser, errors
from ._progress import Lines
from ._partitions import Key, key_of
from ._query import PartitionRead, Query
from .cursor import Cursor
from .errors import InterfaceError, NotSupportedError, ProgrammingError
from .params import numbered

if TYPE_CHECKING:
    from typing_extensions import Self

    from .rows import RowFactory

__all__ = ["Column", "Connection", "Report", "Table"]

@dataclass(frozen=True, slots=True)
class Column:
    """A column of a :class:`Table`."""

    name: str
    type: str
    is_nullable: bool
    #: How the shards differ on it; a query that names it is refused with this.
    difference: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the topology, or a view, as all shards have it."""

    schema: str
    name: str
    #: ``"sharded"``, ``"replicated"`` or ``"view"``.
    kind: str
    #: The column by which rows were assigned to shards.
    key: str | None
    colocation: str | None
    shard_index: str | None
    columns: tuple[Column, ...]
    #: How the shards differ on it. A query that takes all columns is refused with this; any query,
    #: unless it is a difference of the columns or of their order.
    difference: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What :meth:`Connection.inspect` has found."""

    #: How each table is spread, and why that is believed, one dict for each.
    tables: list[dict[str, Any]]
    #: Where the shards differ: the table, if it is about one, and a sentence.
    drift: list[tuple[str | None, str]]
    warnings: list[str]
    _text: str = field(repr=False)
    _toml: str = field(repr=False)

    def __str__(self) -> str:
        return self._text

    def toml(self) -> str:
        """A topology file of what was found. It holds the URLs as they were given, with their
        passwords, if there are any."""
        return self._toml

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the topology file, which only its owner may read. One that is there is an error."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(self._toml)


class Connection:
    """Many PostgreSQL databases as one; made by :func:`merganser.connect`.

    It may be used by several threads at once. Each query is a read-only transaction of its own on
    every shard. It is a context manager, which closes it.
    """

    Warning: ClassVar[type[errors.Warning]] = errors.Warning
    Error: ClassVar[type[errors.Error]] = errors.Error
    InterfaceError: ClassVar[type[errors.InterfaceError]] = errors.InterfaceError
    DatabaseError: ClassVar[type[errors.DatabaseError]] = errors.DatabaseError
    DataError: ClassVar[type[errors.DataError]] = errors.DataError
    OperationalError: ClassVar[type[errors.OperationalError]] = errors.OperationalError
    IntegrityError: ClassVar[type[errors.IntegrityError]] = errors.IntegrityError
    InternalError: ClassVar[type[errors.InternalError]] = errors.InternalError
    ProgrammingError: ClassVar[type[errors.ProgrammingError]] = errors.ProgrammingError
    NotSupportedError: ClassVar[type[errors.NotSupportedError]] = errors.NotSupportedError

    _cursor_type: ClassVar[type[Cursor]] = Cursor

    def __init__(self, cluster: _merganser.Cluster, timeout: float | None = None) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()

    # --- asking -----------------------------------------------------------------------------------

    def sql(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        timeout: float | None = None,
        order: str | None = None,
        **options: Any,
    ) -> Query:
        """SQL as if one PostgreSQL held all rows. Nothing is sent before its rows are wanted.

        ``params`` are the values of ``$1``, ``$2``, .. as Python objects; see :mod:`merganser.params`.

        timeout:
            the seconds that the whole query may take
        order:
            of rows of different shards where the statement leaves it open: ``"shard"``, or
            ``"first_come"``, so that no shard waits for another; that unless set
        numeric:
            how ``numeric`` without precision is read: ``"decimal(38,20)"`` unless set, any other
            ``"decimal(p,s)"``, ``"text"`` or ``"float64"``
        interval:
            ``"text"``, or months, days and nanoseconds
        unrepresentable:
            what becomes of values that Arrow cannot hold, as infinite dates: ``"error"`` unless set,
            ``"null"`` or ``"text"``
        session:
            settings for this query alone: ``{"timezone": "Europe/Berlin"}``
        merge:
            ``"gather"`` fetches the tables, and lets one server do all the rest
        finish_relations:
            ``"text"`` or ``"temporary"``: how the server that finishes is handed rows
        system_catalogs:
            ``True`` lets the first shard answer, of itself, what reads no table of users:
            ``version()``, ``pg_catalog``, ``information_schema``
        allow_missing_shards:
            ``True`` goes without shards that cannot be reached, or are lost before their first row,
            where the rows of each shard are final; :attr:`Query.missing_shards` tells which
        max_skew:
            the seconds within which all shards are read, such as ``0.05``, or the query is refused;
            Parquet and Arrow files have what it was in their metadata
        retries:
            how often a shard's query may run again when it is lost before its first rows; 3 unless set
        memory, batch_rows, batch_bytes, finish_rows, finish_bytes:
            the bounds of the query; see the README
        """
        text, values = numbered(sql, params)
        native = self._native(text, values, timeout=timeout, order=order, **options)
        return Query(native, sql)

    def fan_out(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        merge_sql: str | None = None,
        timeout: float | None = None,
        order: str | None = None,
        **options: Any,
    ) -> Query:
        """The same SQL on every shard as it is; all their rows, as by UNION ALL.

        ``merge_sql`` is a query of DataFusion over these rows, the table ``shards``. The other
        options are those of :meth:`sql`.
        """
        text, values = numbered(sql, params)
        native = self._native_fan_out(
            text, values, merge_sql=merge_sql, timeout=timeout, order=order, **options
        )
        return Query(native, sql)

    def read_partition(
        self,
        partition: bytes | str,
        *,
        key: Key = None,
        timeout: float | None = None,
        **options: Any,
    ) -> PartitionRead:
        """A part of a query that :meth:`Query.partitions` or ``merganser partitions`` has cut, in this
        process or another. Nothing is sent before its rows are wanted.

        It can be read while its lease lasts, by whoever has a topology file of the same shards, tables
        and settings, where the servers of the URLs have the snapshots: those it was cut on, no replicas.

        key:
            that of :meth:`Query.partitions`: the environment's ``MERGANSER_PARTITION_KEY`` unless set
        session:
            the settings that the query had
        timeout, numeric, interval, unrepresentable, memory, batch_rows:
            as in :meth:`sql`; what was set for the query is not in its parts
        """
        return PartitionRead(
            self._native_partition(partition, key, timeout=timeout, **options)
        )

    def cursor(self, row_factory: RowFactory | None = None, **options: Any) -> Cursor:
        """A cursor of PEP 249. ``options`` are those of :meth:`sql`, for all that it executes."""
        self._cluster.check()
        return self._cursor_type(self, row_factory=row_factory, **options)

    def execute(self, sql: str, params: Any = None, **options: Any) -> Cursor:
        """Executes a query with a new cursor."""
        return self.cursor().execute(sql, params, **options)

    # --- the databases ----------------------------------------------------------------------------

    @property
    def shards(self) -> list[str]:
        """The names of the shards, in the order of the topology."""
        return self._cluster.shards

    def tables(self) -> list[Table]:
        """The tables of the topology, and the views of the databases."""
        return [
            Table(
                **{key: value for key, value in table.items() if key != "columns"},
                columns=tuple(Column(*column) for column in table["columns"]),
            )
            for table in self._cluster.tables()
        ]

    def inspect(
        self,
        shard_keys: Mapping[str, str] | None = None,
        *,
        verify: bool = False,
        sample_above: int | None = None,
        progress: Any = None,
    ) -> Report:
        """Finds out how the tables are spread over the shards, and where the shards differ.

        ``shard_keys`` names columns that are known: ``{"orders": "o_orderkey"}``; the others are
        guessed from the data. ``verify`` reads all rows, where otherwise tables of more than
        ``sample_above`` rows (1,000,000) are sampled. ``progress`` is called with a line for each
        thing that is read; ``True`` prints them to stderr.
        """
        with Lines.of(progress) as tell:
            keys = list((shard_keys or {}).items())
            found = self._cluster.inspect(keys, verify, sample_above, tell)
        return Report(
            found["tables"], found["drift"], found["warnings"], found["text"], found["toml"]
        )

    def refresh(self) -> None:
        """Forgets what is known of tables, views, types and functions: after ``CREATE``, ``ALTER`` or
        ``GRANT`` on the shards."""
        self._cluster.refresh()

    # --- its end ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._cluster.closed

    @property
    def autocommit(self) -> bool:
        """Always true: each query is a read-only transaction of its own."""
        return True

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if not value:
            raise NotSupportedError(
                "there is no transaction over several databases",
                hint="each query reads one snapshot of each shard; leave autocommit alone",
            )

    def commit(self) -> None:
        """Ends the results of the cursors. Nothing was changed that could be made permanent."""
        self._cluster.check()
        for cursor in list(self._cursors):
            cursor._end_result()

    def rollback(self) -> None:
        """The same as :meth:`commit`."""
        self.commit()

    def cancel(self) -> None:
        """Ends every query that runs on this connection, from any thread."""
        self._cluster.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A ``with`` block in which Ctrl-C cancels every query of this connection at once.

        What this package waits for itself, Ctrl-C cancels anyway. This is for libraries that read
        queries by threads of their own, as DuckDB does::

            with con.interruptible():
                duckdb.sql("SELECT count(*) FROM q").show()

        ``KeyboardInterrupt`` leaves the block, whatever the library makes of it. It is for the main
        thread, the only one that hears signals. A handler of SIGINT that is there goes on to be
        called; if it raises nothing, nothing is cancelled.
        """
        before = signal.getsignal(signal.SIGINT)
        if not callable(before):
            # Ctrl-C is ignored, or ends the process.
            yield
            return
        raised: list[BaseException] = []

        def handler(number: int, frame: FrameType | None) -> None:
            try:
                before(number, frame)
            except BaseException as interrupt:
                raised.append(interrupt)
                # Also what a thread of the library is about to begin.
                self._cluster.interrupt()
                raise

        try:
            signal.signal(signal.SIGINT, handler)
        except ValueError:
            raise InterfaceError(
                "interruptible() is for the main thread, the only one that hears signals",
                hint="con.cancel() ends the queries of a connection from any thread",
            ) from None
        try:
            yield
        except Exception as error:
            # Libraries make errors of their own of it.
            if raised:
                raise raised[0] from error
            raise
        else:
            # Or nothing at all.
            if raised:
                raise raised[0]
        finally:
            self._cluster.resume()
            # Somebody else may have set another meanwhile.
            if signal.getsignal(signal.SIGINT) is handler:
                signal.signal(signal.SIGINT, before)

    def close(self) -> None:
        """Ends what still runs, and the leases of partitions, and closes all connections. Closing again
        is no error."""
        self._cluster.close()

    def __enter__(self) -> Self:
        self._cluster.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"shards {', '.join(self.shards)}"
        return f"<{type(self).__module__}.{type(self).__qualname__}: {state}>"

    # --- for queries and cursors ------------------------------------------------------------------

    def _native(
        self, sql: str, params: list[str | None], **options: Any
    ) -> _merganser.NativeQuery:
        self._cluster.check()
        if not self._cluster.has_tables:
            raise ProgrammingError(
                "this connection knows no tables, so no query can be planned",
                hint="say how they are spread: connect(shards=.., tables={'orders': 'o_orderkey'}), "
                "or a topology file; or send the text to every shard as it is: con.fan_out(sql)",
            )
        return self._cluster.query(sql, params, **self._with_timeout(options))

    def _native_fan_out(
        self, sql: str, params: list[str | None], **options: Any
    ) -> _merganser.NativeQuery:
        return self._cluster.fan_out(sql, params, **self._with_timeout(options))

    def _native_partition(
        self, partition: bytes | str, key: Key = None, **options: Any
    ) -> _merganser.NativeQuery:
        sealed = partition.encode() if isinstance(partition, str) else bytes(partition)
        # A line of a file may come with its end.
        return self._cluster.read_partition(
            sealed.strip(), key_of(key), **self._with_timeout(options)
        )

    def _with_timeout(self, options: dict[str, Any]) -> dict[str, Any]:
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return options
