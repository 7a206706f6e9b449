"""Connections: ``merganser.connect(...)``."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from . import _merganser, errors
from ._progress import Lines
from ._query import Query
from .cursor import Cursor
from .errors import InterfaceError, NotSupportedError, ProgrammingError
from .params import numbered

if TYPE_CHECKING:
    from typing_extensions import Self

    from .rows import RowFactory

__all__ = ["REPLICATED", "Column", "Connection", "Report", "Table", "connect"]

#: How ``connect(tables=...)`` is told of a table of which every shard holds all rows.
REPLICATED: dict[str, Any] = {"replicated": True}

_DEFAULT_FILE = "merganser.toml"


def connect(
    *targets: str | os.PathLike[str],
    shards: Sequence[str] | Mapping[str, str] | None = None,
    tables: Mapping[str, str | Mapping[str, Any]] | None = None,
    session: Mapping[str, Any] | None = None,
    finish: str | None = None,
    connections_per_shard: int | None = None,
    timeout: float | None = None,
    adbc: bool = True,
) -> Connection:
    """A connection to many PostgreSQL databases as one.

    ``connect("merganser.toml")`` reads a topology file, and ``connect()`` that of the current folder.
    Without a file, name the databases and say how the tables are spread over them::

        connect(
            shards=["postgresql://app@db0/sales", "postgresql://app@db1/sales"],
            tables={
                "orders": "o_orderkey",  # each row on one shard, by this column
                "lineitem": {"shard_key": "l_orderkey", "colocation": "order"},
                "nation": merganser.REPLICATED,
            },
        )

    ``connect(url, url)`` is short for ``shards``. Without ``tables`` only fan-outs can run.
    Nothing is connected yet: the first query does that.

    session:
        settings of every session, as the file's ``[session]`` has them: ``{"timezone": "Europe/Berlin"}``
    finish:
        ``"off"``, or the URL of the server on which queries are finished; one of the shards unless set
    connections_per_shard:
        as many queries run at once; 4 unless set
    timeout:
        the seconds that a query may take, unless it says otherwise
    adbc:
        whether the connection is one of ADBC too, if ``adbc-driver-manager`` is installed. pandas and
        Polars read Arrow from such a connection, and rows from others; but pandas takes neither
        ``params`` nor ``chunksize`` then.
    """
    path, found = _targets(targets)
    if shards is not None:
        if path is not None or found:
            raise InterfaceError("connect takes a file, URLs, or shards=..: one of them")
        found = list(shards.items()) if isinstance(shards, Mapping) else _unnamed(shards)
        if not found:
            raise ProgrammingError("shards is empty", hint='shards=["postgresql://user@host/db"]')
    if path is None and not found:
        path = _default_file()
    if path is not None:
        for name, value in (("tables", tables), ("session", session), ("finish", finish)):
            if value is not None:
                raise InterfaceError(
                    f"{name} is for connections without a topology file",
                    hint=f"write it into {path}",
                )
    native = _merganser.connect(
        path,
        found,
        [_table(name, kind) for name, kind in (tables or {}).items()],
        dict(session or {}),
        finish,
        connections_per_shard,
    )
    if adbc:
        from adbc_driver_merganser import dbapi

        if dbapi.HAS_DRIVER_MANAGER:
            return dbapi.Connection(native, timeout)
    return Connection(native, timeout)


_URLS = ("postgresql://", "postgres://")


def _targets(
    targets: tuple[str | os.PathLike[str], ...],
) -> tuple[str | None, list[tuple[str | None, str]]]:
    """The topology file, or the shards."""
    urls = [target for target in targets if isinstance(target, str) and _is_connection(target)]
    if urls:
        if len(urls) < len(targets):
            raise InterfaceError("connect takes a file or URLs, not both")
        return None, _unnamed(urls)
    if len(targets) > 1:
        raise InterfaceError(
            "connect takes one topology file", hint="URLs begin with postgresql://"
        )
    for target in targets:
        if not isinstance(target, (str, os.PathLike)):
            raise InterfaceError(
                f"connect takes the path of a file or a URL, not {type(target).__name__}",
                hint="a list of URLs is given by name: connect(shards=[..])",
            )
        return os.fspath(target), []
    return None, []


def _is_connection(target: str) -> bool:
    """Whether it is a URL or libpq's key=value text, and no path."""
    return target.startswith(_URLS) or ("=" in target and not os.path.exists(target))


def _unnamed(urls: Iterable[str]) -> list[tuple[str | None, str]]:
    if isinstance(urls, str):
        raise InterfaceError("shards is a list of URLs, not one text", hint="shards=[url]")
    found: list[tuple[str | None, str]] = []
    for url in urls:
        if not isinstance(url, str):
            # Not shown: it may hold a password.
            raise InterfaceError(f"a shard is given by its URL, not by a {type(url).__name__}")
        found.append((None, url))
    return found


def _default_file() -> str:
    if not os.path.exists(_DEFAULT_FILE):
        raise ProgrammingError(
            f"no databases: no file, no URL, and no {_DEFAULT_FILE} in this folder",
            hint='merganser.connect("merganser.toml"), or connect(shards=["postgresql://.."])',
        )
    return _DEFAULT_FILE


def _table(
    name: str, kind: str | Mapping[str, Any]
) -> tuple[str, str | None, str | None, str | None]:
    """What the native module takes for a table: name, key, colocation group and shard index."""
    if isinstance(kind, str):
        return name, kind, None, None
    known = {"shard_key", "colocation", "shard_index", "replicated"}
    if not isinstance(kind, Mapping) or not kind.keys() <= known:
        raise InterfaceError(
            f"table {name!r}: expected its shard key, or a dict with {', '.join(sorted(known))}",
            hint='tables={"orders": "o_orderkey", "nation": merganser.REPLICATED}',
        )
    key = kind.get("shard_key")
    if bool(kind.get("replicated")) == (key is not None):
        raise InterfaceError(f"table {name!r}: either shard_key or replicated=True is needed")
    return name, key, kind.get("colocation"), kind.get("shard_index")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a :class:`Table`."""

    name: str
    type: str
    is_nullable: bool


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
    #: How the shards differ on it; a query that names it is refused with this.
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
        memory, batch_rows, batch_bytes, finish_rows, finish_bytes:
            the bounds of the query; see the README
        """
        text, values = numbered(sql, params)
        native = self._native(text, values, timeout=timeout, order=order, **options)
        return Query(self, native, sql)

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
        return Query(self, native, sql)

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

    def close(self) -> None:
        """Ends what still runs, and closes all connections. Closing again is no error."""
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

    def _with_timeout(self, options: dict[str, Any]) -> dict[str, Any]:
        if options.get("timeout") is None:
            options["timeout"] = self._timeout
        return options
