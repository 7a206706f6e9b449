"""Merganser's connections as those of ADBC's DB-API.

pandas takes a connection for one that gives Arrow if it is an instance of
``adbc_driver_manager.dbapi.Connection``, and Polars if its class lives in a module whose name begins
with ``adbc_``. So :class:`Connection` is both; of the base class nothing is used: there is no C
driver beneath. Without adbc-driver-manager the base is no other than Merganser's own class.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from merganser import _connection, _merganser, cursor as _cursor
from merganser._merganser import __version__
from merganser._open import open_cluster
from merganser._partitions import key_of
from merganser.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from merganser.params import pyformat
from merganser.types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    apilevel,
    paramstyle,
    threadsafety,
)

if TYPE_CHECKING:
    import pyarrow
    from typing_extensions import Self

    HAS_DRIVER_MANAGER: bool

    class _Base: ...
else:
    try:
        from adbc_driver_manager.dbapi import Connection as _Base
    except ImportError:
        HAS_DRIVER_MANAGER = False
        _Base = object
    else:
        HAS_DRIVER_MANAGER = True

__all__ = [
    "BINARY",
    "DATETIME",
    "HAS_DRIVER_MANAGER",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def connect(uri: str, *, timeout: float | None = None, **options: Any) -> Connection:
    """A connection by URI: ``merganser:///etc/merganser.toml``, or ``merganser:merganser.toml`` for a
    path from the current folder. ``options`` are those of :func:`merganser.connect`."""
    return Connection(open_cluster([_path(uri)], **options), timeout)


def _path(uri: str) -> str:
    parts = urllib.parse.urlsplit(uri)
    hint = "merganser:///folder/merganser.toml has three slashes"
    if parts.scheme != "merganser" or parts.netloc or parts.query or parts.fragment:
        raise ProgrammingError("the URI is not merganser:///PATH", hint=hint)
    if not parts.path:
        raise ProgrammingError("the URI names no topology file", hint=hint)
    return urllib.parse.unquote(parts.path)


class Cursor(_cursor.Cursor):
    """A cursor of :mod:`merganser.cursor`, with what ADBC's cursors have beyond it."""

    #: Whose snapshots it keeps.
    _partitions: _merganser.Partitions | None = None

    def execute(self, operation: str, parameters: Any = None, **options: Any) -> Self:
        """Runs a query; the placeholders are ``%s`` and ``%(name)s``. ``params`` is another name of
        ``parameters``."""
        parameters = options.pop("params", parameters)
        return super().execute(operation, parameters, **options)

    def executescript(self, operation: str) -> NoReturn:
        """Raises: nothing is written."""
        raise NotSupportedError(
            "Merganser runs one query at a time, and only reads", hint="execute them one by one"
        )

    def next(self) -> Any:
        """The next row."""
        return next(self)

    def adbc_cancel(self) -> None:
        """Ends what the cursor runs; from any thread."""
        self.cancel()

    def adbc_execute_schema(self, operation: str, parameters: Any = None) -> pyarrow.Schema:
        """The schema of a query, without running it."""
        import pyarrow

        sql, texts = pyformat(operation, parameters)
        return pyarrow.schema(self.connection._native(sql, texts, **self._options).describe())

    def adbc_prepare(self, operation: str) -> None:
        """Asks a shard whether the query is one; its parameters have no schema of Arrow."""
        self.adbc_execute_schema(operation)

    def adbc_ingest(self, *_: Any, **__: Any) -> NoReturn:
        """Raises: nothing is written."""
        raise NotSupportedError("Merganser only reads", hint="write to the shards themselves")

    def adbc_execute_partitions(
        self, operation: str, parameters: Any = None
    ) -> tuple[list[bytes], pyarrow.Schema]:
        """Cuts a query into parts, which any connection to the same shards reads with
        :meth:`adbc_read_partition`; and the schema of their rows. What has no parts, such as rows in an
        order, is refused; see :meth:`merganser.Query.partitions`.

        The cursor keeps the snapshots of the parts, for 6 hours at most: until it executes something
        else, or is closed. ``con.sql(..).partitions(..)`` has more to say on both.
        """
        import pyarrow

        with self._alone:
            self._give_up("the query was cut into partitions")
            sql, texts = pyformat(operation, parameters)
            native = self.connection._native(sql, texts, **self._options)
            self._partitions = native.partitions(key_of(None))
            return self._partitions.sealed, pyarrow.schema(self._partitions.schema)

    def adbc_read_partition(self, partition: bytes) -> None:
        """Reads a part of a query, whose rows can be fetched then."""
        with self._alone:
            self._end("the partition that was read last failed")
            known = {name: self._options[name] for name in _READING & self._options.keys()}
            self._begin(partial(self.connection._native_partition, partition), known)

    def close(self) -> None:
        """Gives up the result and the partitions; every use is an error from then on."""
        super().close()
        self._give_up("the cursor is closed")

    def _start(self, *arguments: Any, **options: Any) -> None:
        self._give_up("what was executed last failed")
        super()._start(*arguments, **options)

    def _give_up(self, why: str) -> None:
        self._end(why)
        partitions, self._partitions = self._partitions, None
        if partitions is not None:
            partitions.close()

    @property
    def adbc_statement(self) -> NoReturn:
        """Raises: there is no C driver beneath."""
        raise _no_driver()


class Connection(_connection.Connection, _Base):
    """A connection of :mod:`merganser`, with what ADBC's connections have beyond it."""

    _cursor_type = Cursor

    def __init__(self, cluster: Any, timeout: float | None = None) -> None:
        # The base's own would want a C driver.
        _connection.Connection.__init__(self, cluster, timeout)

    def __del__(self) -> None:
        """In place of the base's, which closes its driver."""

    def cursor(
        self,
        row_factory: Any = None,
        *,
        adbc_stmt_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Cursor:
        """A cursor; ``adbc_stmt_kwargs`` are options of ``con.sql`` too."""
        made = super().cursor(row_factory, **{**(adbc_stmt_kwargs or {}), **options})
        assert isinstance(made, Cursor)
        return made

    def execute(  # type: ignore[override]  # the names are ADBC's
        self,
        operation: str,
        parameters: Any = None,
        *,
        adbc_stmt_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Cursor:
        """Executes a query with a new cursor."""
        return self.cursor(adbc_stmt_kwargs=adbc_stmt_kwargs).execute(
            operation, parameters, **options
        )

    def adbc_cancel(self) -> None:
        """Ends what runs; from any thread."""
        self.cancel()

    def adbc_clone(self) -> Connection:
        """Another handle on the same connection: it has a pool of them."""
        self._cluster.check()
        return Connection(self._cluster, self._timeout)

    def adbc_get_info(self) -> dict[str | int, Any]:
        """What this is."""
        self._cluster.check()
        return {
            "vendor_name": "Merganser",
            "vendor_version": __version__,
            "driver_name": "adbc_driver_merganser",
            "driver_version": __version__,
            "vendor_sql": True,
            "vendor_substrait": False,
        }

    def adbc_get_table_types(self) -> list[str]:
        """The kinds of tables that queries can name."""
        return ["table", "view"]

    def adbc_get_objects(
        self,
        *,
        depth: str = "all",
        catalog_filter: str | None = None,
        db_schema_filter: str | None = None,
        table_name_filter: str | None = None,
        table_types_filter: Sequence[str] | None = None,
        column_name_filter: str | None = None,
    ) -> pyarrow.RecordBatchReader:
        """The tables and views that queries can name, in the nested form that ADBC prescribes.

        Filters are patterns of SQL's LIKE. The shards together are one catalog without a name.
        """
        from . import _objects

        return _objects.reader(
            self.tables(),
            depth=depth,
            catalog=catalog_filter,
            db_schema=db_schema_filter,
            table=table_name_filter,
            table_types=table_types_filter,
            column=column_name_filter,
        )

    def adbc_get_table_schema(
        self,
        table_name: str,
        *,
        catalog_filter: str | None = None,
        db_schema_filter: str | None = None,
    ) -> pyarrow.Schema:
        """The Arrow schema of a table."""
        import pyarrow

        names = [name for name in (db_schema_filter, table_name) if name is not None]
        quoted = ".".join('"' + name.replace('"', '""') + '"' for name in names)
        return pyarrow.schema(self.sql(f"SELECT * FROM {quoted}").schema)

    def adbc_get_statistics(self, **_: Any) -> NoReturn:
        """Raises: the shards' statistics are not those of their union."""
        raise NotSupportedError(
            "there are no statistics of all shards together", hint="ask the shards: con.fan_out(..)"
        )

    def adbc_get_statistic_names(self) -> NoReturn:
        """Raises, as :meth:`adbc_get_statistics`."""
        self.adbc_get_statistics()

    @property
    def adbc_connection(self) -> NoReturn:
        """Raises: there is no C driver beneath."""
        raise _no_driver()

    @property
    def adbc_database(self) -> NoReturn:
        """Raises: there is no C driver beneath."""
        raise _no_driver()

    @property
    def adbc_current_catalog(self) -> str:
        """The shards together are one catalog without a name."""
        return ""

    @property
    def adbc_current_db_schema(self) -> str:
        """The schema in which tables without one are looked up first."""
        (row,) = self.fan_out("SELECT coalesce(current_schema(), '')").rows()[:1]
        return str(row[0])


#: The options of a query that hold for reading a part of one, too.
_READING = {
    "timeout",
    "numeric",
    "interval",
    "unrepresentable",
    "batch_rows",
    "memory",
    "session",
}


def _no_driver() -> NotSupportedError:
    return NotSupportedError(
        "there is no C driver beneath this connection",
        hint="use its methods and those of its cursors",
    )
