"""Many connections as one: every query runs on all of them, and the rows are their union.

.. code:: python

    pdb = ParallelConnection(["postgresql://db0/shop", "postgresql://db1/shop"])
    cursor = pdb.cursor()
    cursor.execute("SELECT * FROM orders WHERE customer = %s", (1543,))
    cursor.fetchall()

There is no planner here: the SQL goes to every database as it is, so ``count(*)`` gives one row
from each. ``merganser.connect`` answers as one database would.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from functools import partial
from operator import methodcaller
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

from . import errors
from ._connect import connect
from ._fetching import Fetching
from .cursor import Cursor
from .errors import InterfaceError, NotSupportedError, ProgrammingError
from .rows import RowFactory

__all__ = ["ParallelConnection"]


class ParallelConnection:
    """Runs every query on all connections, in parallel, and gives the union of their rows, in the
    order of the connections.

    ``connections`` are, all of one kind:

    - connection strings of PostgreSQL: URLs or ``key=value``;
    - connections of psycopg2 or psycopg, or pools of them: their connection strings are taken, with
      the password, and Merganser opens connections of its own. These do not see what a transaction
      of a given connection has not committed, nor its temporary tables and ``SET``;
    - connections of any other driver with the methods of PEP 249, or pools of them: their own
      cursors are used, each connection by one thread. ``native=False`` does that with those of
      psycopg2 and psycopg too.

    ``names`` are what errors call the databases; ``options`` are those of ``merganser.connect``.

    Where one database fails, the call raises, and names each that failed: the rows of the others
    are no answer. The exception's ``failures`` are pairs of a name and what that database raised.

    Any number of cursors can be open at once. What a cursor has can be called on the connection
    too, and means the cursor that was opened last.
    """

    def __init__(
        self,
        connections: Iterable[Any],
        *,
        names: Sequence[str] | None = None,
        native: bool | None = None,
        **options: Any,
    ) -> None:
        if isinstance(connections, str):
            raise ProgrammingError(
                "the connections are a list, not a str", hint="ParallelConnection([url, ...])"
            )
        self._given = [_Given(connection) for connection in connections]
        if not self._given:
            raise ProgrammingError("a ParallelConnection needs a connection at least")
        self._names = _names(names, len(self._given))
        self._open_cursors: list[Any] = []
        self._closed = False
        wants_native = all(given.is_postgres for given in self._given) if native is None else native
        self._backend: _Native | _Threads = (
            _Native(self._given, self._names, options)
            if wants_native
            else _Threads(self._given, self._names, options)
        )

    @property
    def connections(self) -> list[Any]:
        """What was given: connections, pools or strings without what may be a password."""
        return [given.shown for given in self._given]

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor over all connections.

        It takes what the cursors of the given connections take; of psycopg2's and psycopg's
        arguments a name, ``cursor_factory`` and ``row_factory`` have a meaning to Merganser.
        """
        self._check_open()
        cursor = self._backend.cursor(*args, **kwargs)
        self._open_cursors = [other for other in self._open_cursors if not other.closed]
        self._open_cursors.append(cursor)
        return cursor

    def execute(self, sql: str, args: Any = None) -> Any:
        """``execute`` of the last cursor; of a new one if there is none."""
        if not any(not cursor.closed for cursor in self._open_cursors):
            self.cursor()
        return self._last_cursor().execute(sql, args)

    def fetchone(self) -> Any:
        """``fetchone`` of the last cursor."""
        return self._last_cursor().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """``fetchmany`` of the last cursor."""
        return self._last_cursor().fetchmany(size)  # type: ignore[no-any-return]

    def fetchall(self) -> list[Any]:
        """``fetchall`` of the last cursor."""
        return self._last_cursor().fetchall()  # type: ignore[no-any-return]

    def mogrify(self, sql: str, args: Any = None) -> Any:
        """``mogrify`` of the last cursor."""
        if not any(not cursor.closed for cursor in self._open_cursors):
            self.cursor()
        return self._last_cursor().mogrify(sql, args)

    def commit(self) -> None:
        """Ends what the cursors read, and commits the connections that were given."""
        self._check_open()
        self._backend.end_transactions("commit")

    def rollback(self) -> None:
        """Ends what the cursors read, and rolls the connections that were given back."""
        self._check_open()
        self._backend.end_transactions("rollback")

    def putconn(self, pools: Iterable[Any]) -> None:
        """Closes this, and gives each connection back to the pool at its place."""
        pools = list(pools)
        if len(pools) != len(self._given):
            raise ProgrammingError(
                f"{len(pools)} pools for {len(self._given)} connections",
                hint="putconn takes one pool for each connection, in their order",
            )
        self.close()
        triples = zip(self._names, pools, self._given, strict=True)
        _all_or_error(
            "go back to their pools",
            [(name, partial(pool.putconn, given.it)) for name, pool, given in triples],
        )

    def close(self) -> None:
        """Closes all cursors and what this has opened itself.

        Connections that were given stay open; those that came from a given pool go back to it.
        """
        if self._closed:
            return
        self._closed = True
        # All of it, also where some of it fails.
        with ExitStack() as closing:
            closing.callback(self._backend.close)
            for cursor in self._open_cursors:
                closing.callback(cursor.close)
        self._open_cursors = []

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._given)} connections"
        return f"<merganser.ParallelConnection: {state}>"

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the ParallelConnection is closed", hint="make another of the connections"
            )

    def _last_cursor(self) -> Any:
        self._check_open()
        for cursor in reversed(self._open_cursors):
            if not cursor.closed:
                return cursor
        raise ProgrammingError("there is no open cursor", hint="call cursor() and execute() first")


# --- what was given -------------------------------------------------------------------------------


class _Given:
    """One of the connections, as it was given."""

    def __init__(self, it: Any) -> None:
        self.it = it
        self.is_string = isinstance(it, str)
        self.is_pool = hasattr(it, "getconn") and hasattr(it, "putconn")
        self.is_postgres = self.is_string or _is_psycopg(it)
        if not (self.is_string or self.is_pool or hasattr(it, "cursor")):
            raise ProgrammingError(
                f"a {type(it).__qualname__} is no connection",
                hint="give connection strings, connections with a cursor() method, or pools with "
                "getconn() and putconn()",
            )

    @property
    def shown(self) -> Any:
        return "a connection string" if self.is_string else self.it

    def connection_string(self) -> str:
        """The connection string of PostgreSQL, with the password."""
        if self.is_string:
            return self.it  # type: ignore[no-any-return]
        if not self.is_pool:
            return _connection_string(self.it)
        connection = self.it.getconn()
        try:
            return _connection_string(connection)
        finally:
            self.it.putconn(connection)


def _is_psycopg(it: Any) -> bool:
    modules = {cls.__module__.partition(".")[0] for cls in type(it).__mro__}
    return not modules.isdisjoint({"psycopg", "psycopg2", "psycopg_pool"})


def _connection_string(connection: Any) -> str:
    info = getattr(connection, "info", None)
    if info is None:
        raise ProgrammingError(
            f"a {type(connection).__qualname__} has no connection string",
            hint="give connection strings, or connections and pools that are not asynchronous",
        )
    if connection.closed:
        raise InterfaceError(
            "the connection string of a closed connection cannot be had",
            hint="give open connections, or connection strings",
        )
    # psycopg2's dsn and both libraries' parameters leave the password out.
    parameters = info.get_parameters() if hasattr(info, "get_parameters") else info.dsn_parameters
    parameters = {key: value for key, value in parameters.items() if value != ""}
    if info.password:
        parameters["password"] = info.password
    return " ".join(f"{key}={_quoted(value)}" for key, value in parameters.items())


def _quoted(value: str) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"connection {index}" for index in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise ProgrammingError(f"{count} connections need as many names, each of its own")
    return list(names)


# --- through Merganser ----------------------------------------------------------------------------


class _FanOutCursor(Cursor):
    """A cursor that asks every shard as it is."""

    _fan_out = True


class _Native:
    """PostgreSQL, over Merganser's own connections."""

    def __init__(self, given: list[_Given], names: list[str], options: dict[str, Any]) -> None:
        strangers = [name for name, it in zip(names, given, strict=True) if not it.is_postgres]
        if strangers:
            raise ProgrammingError(
                f"{', '.join(strangers)}: no connection of PostgreSQL, so Merganser cannot open it"
            )
        self._given = given
        shards = dict(zip(names, (it.connection_string() for it in given), strict=True))
        self._connection = connect(shards=shards, adbc=False, **options)

    def cursor(
        self,
        name: str | None = None,
        cursor_factory: Any = None,
        *,
        row_factory: RowFactory | None = None,
        scrollable: bool | None = None,
        withhold: bool = False,
        **options: Any,
    ) -> Cursor:
        if scrollable or withhold:
            raise NotSupportedError("a cursor reads forward, and within its transaction")
        options.setdefault("order", "shard")
        return _FanOutCursor(self._connection, row_factory or cursor_factory, **options)

    def end_transactions(self, how: str) -> None:
        getattr(self._connection, how)()
        for it in self._given:
            if not it.is_string and not it.is_pool:
                getattr(it.it, how)()

    def close(self) -> None:
        self._connection.close()


# --- through the cursors of any driver ------------------------------------------------------------


class _Threads:
    """Any driver: its own cursors, each connection by a thread of its own."""

    def __init__(self, given: list[_Given], names: list[str], options: dict[str, Any]) -> None:
        if options:
            raise ProgrammingError(
                f"{', '.join(sorted(options))}: options are for connections to PostgreSQL"
            )
        if any(it.is_string for it in given):
            raise ProgrammingError(
                "connection strings cannot stand beside connections of another driver",
                hint="give connections, or strings, but not both",
            )
        self._lanes: list[_Lane] = []
        self._borrowed: list[tuple[Any, Any]] = []
        try:
            for name, it in zip(names, given, strict=True):
                self._lanes.append(_Lane(name, self._connection(it)))
        except BaseException:
            self.close()
            raise

    def _connection(self, given: _Given) -> Any:
        if not given.is_pool:
            return given.it
        connection = given.it.getconn()
        self._borrowed.append((given.it, connection))
        return connection

    def cursor(self, *args: Any, **kwargs: Any) -> _ThreadsCursor:
        return _ThreadsCursor(self._lanes, args, kwargs)

    def end_transactions(self, how: str) -> None:
        _in_parallel([(lane, getattr(lane.connection, how)) for lane in self._lanes])

    def close(self) -> None:
        with ExitStack() as closing:
            for pool, connection in self._borrowed:
                closing.callback(pool.putconn, connection)
            for lane in self._lanes:
                closing.callback(lane.close)
        self._borrowed = []


class _Lane:
    """A connection and the only thread that uses it."""

    def __init__(self, name: str, connection: Any) -> None:
        self.name = name
        self.connection = connection
        self._works: _Works = SimpleQueue()
        # A daemon, so that no query keeps an interpreter from its end.
        Thread(target=_do_works, args=[self._works], name=f"merganser {name}", daemon=True).start()
        self._finish = weakref.finalize(self, self._works.put, None)

    def do(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._works.put((future, work))
        return future

    def interrupt(self) -> None:
        """Ends what the connection runs, if its driver can do that."""
        for name in ("cancel_safe", "cancel", "interrupt"):
            if callable(stop := getattr(self.connection, name, None)):
                try:
                    stop()
                except Exception:
                    continue
                return

    def close(self) -> None:
        self._finish()


_Works = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


def _do_works(works: _Works) -> None:
    """What a lane's thread does until there is nothing more to come.

    It knows the queue alone, so that it does not keep a lane that everybody has forgotten.
    """
    while (item := works.get()) is not None:
        future, work = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
        del item, future, work


def _in_parallel(works: list[tuple[_Lane, Callable[[], Any]]]) -> list[Any]:
    """What each lane's work returns, in order; raises if one of them fails, once all have ended."""
    futures = [(lane, lane.do(work)) for lane, work in works]
    try:
        wait([future for _, future in futures])
    except BaseException:
        # Ctrl-C: the threads must not use the connections any more once this has returned.
        for lane, future in futures:
            if not future.cancel() and not future.done():
                lane.interrupt()
        wait([future for _, future in futures])
        raise
    _raise_failures([(lane.name, future.exception()) for lane, future in futures])
    return [future.result() for _, future in futures]


def _all_or_error(what: str, works: list[tuple[str, Callable[[], Any]]]) -> None:
    """Does all of it, also where some of it fails, and then raises."""
    failures: list[tuple[str, BaseException | None]] = []
    for name, work in works:
        try:
            work()
        except Exception as error:
            failures.append((name, error))
    _raise_failures(failures, what)


def _raise_failures(
    outcomes: list[tuple[str, BaseException | None]], what: str = "run the query"
) -> None:
    failures = [(name, error) for name, error in outcomes if error is not None]
    if not failures:
        return
    for _, error in failures:
        if not isinstance(error, Exception):
            raise error
    texts = [f"{name}: {type(error).__name__}: {str(error).strip()}" for name, error in failures]
    message = texts[0]
    if len(outcomes) > 1 and len(failures) > 1:
        message = f"{len(failures)} connections failed to {what}; {'; '.join(texts)}"
    first_name, first = failures[0]
    raised = _class_like(first)(
        message,
        kind="server",
        shard=first_name,
        sqlstate=getattr(first, "sqlstate", None) or getattr(first, "pgcode", None),
        hint=_hint(first),
    )
    raised.failures = failures  # type: ignore[attr-defined]
    raise raised from first


def _class_like(error: BaseException) -> type[errors.Error]:
    """Our class of PEP 249 of the same name as the driver's."""
    for cls in type(error).__mro__:
        ours = getattr(errors, cls.__name__, None)
        if isinstance(ours, type) and issubclass(ours, errors.Error):
            return ours
    return errors.DatabaseError


def _hint(error: BaseException) -> str | None:
    if "SQLite objects created in a thread" in str(error):
        return "open it with sqlite3.connect(.., check_same_thread=False)"
    return None


class _ThreadsCursor(Fetching):
    """One cursor of each connection."""

    def __init__(self, lanes: list[_Lane], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._lanes = lanes
        self.cursors = _in_parallel(
            [(lane, partial(lane.connection.cursor, *args, **kwargs)) for lane in lanes]
        )
        self.closed = False
        self._unread: list[int] = []
        self._failure: BaseException | None = None
        self._executed = False
        super().__init__()

    def execute(self, sql: Any, args: Any = None) -> _ThreadsCursor:
        """Runs the query on every connection."""
        parameters = () if args is None else (args,)
        return self._run(methodcaller("execute", sql, *parameters))

    def executemany(self, sql: Any, seq_of_args: Iterable[Any]) -> _ThreadsCursor:
        """Runs the query with each of the arguments on every connection."""
        seq_of_args = list(seq_of_args)
        return self._run(methodcaller("executemany", sql, seq_of_args))

    def mogrify(self, sql: Any, *args: Any) -> Any:
        """The SQL with the values in place, as the first connection's driver writes it."""
        with self._alone:
            return self._on(0, methodcaller("mogrify", sql, *args))

    @property
    def description(self) -> Any:
        """The columns; ``None`` when there is no result."""
        return getattr(self.cursors[0], "description", None) if self._executed else None

    @property
    def rowcount(self) -> int:
        """The rows of all connections, where each of their drivers knows its own; else -1."""
        counts = [getattr(cursor, "rowcount", -1) for cursor in self.cursors]
        return -1 if not self._executed or min(counts) < 0 else sum(counts)

    def close(self) -> None:
        """Closes the cursors of all connections."""
        if self.closed:
            return
        self.closed = True
        _in_parallel(
            [(lane, cursor.close) for lane, cursor in zip(self._lanes, self.cursors, strict=True)]
        )

    def _run(self, execute: Callable[[Any], Any]) -> _ThreadsCursor:
        with self._alone:
            self._executed, self._failure, self._unread = False, None, []
            try:
                _in_parallel(
                    [
                        (lane, partial(execute, cursor))
                        for lane, cursor in zip(self._lanes, self.cursors, strict=True)
                    ]
                )
                self._compare_columns()
            except BaseException as error:
                self._failure = error
                raise
            self._executed = True
            self._unread = list(range(len(self.cursors)))
        return self

    def _compare_columns(self) -> None:
        """Rows of one union have the same columns."""
        first: list[str] | None = None
        for lane, cursor in zip(self._lanes, self.cursors, strict=True):
            names = [column[0] for column in getattr(cursor, "description", None) or ()]
            if first is None:
                first = names
            elif names != first:
                raise ProgrammingError(
                    f"{lane.name} has the columns {', '.join(names)}, "
                    f"but {self._lanes[0].name} has {', '.join(first)}",
                    shard=lane.name,
                )

    def _on(self, index: int, work: Callable[[Any], Any]) -> Any:
        cursor = self.cursors[index]
        return _in_parallel([(self._lanes[index], partial(work, cursor))])[0]

    def _check_open(self) -> None:
        if self.closed:
            raise InterfaceError("the cursor is closed", hint="make another with cursor()")

    def _fetch(self, limit: int | None) -> list[Any]:
        if self._failure is not None:
            raise self._failure
        if not self._executed:
            raise ProgrammingError("there is no result to fetch from", hint="execute a query first")
        try:
            return self._all_left() if limit is None else self._some(limit)
        except BaseException as error:
            # What fails ends the result: the rows that came before are no answer.
            self._failure = error
            raise

    def _all_left(self) -> list[Any]:
        unread, self._unread = self._unread, []
        parts = _in_parallel([(self._lanes[i], self.cursors[i].fetchall) for i in unread])
        return list(itertools.chain.from_iterable(parts))

    def _some(self, limit: int) -> list[Any]:
        rows: list[Any] = []
        while self._unread and len(rows) < limit:
            missing = limit - len(rows)
            some = self._on(self._unread[0], methodcaller("fetchmany", missing))
            rows += some
            # PEP 249: fewer rows than wanted are the last, but not every driver keeps to it.
            if not some:
                del self._unread[0]
        return rows
