"""One SQL statement in, many PostgreSQL databases, one dataframe out.

::

    import merganser

    con = merganser.connect("merganser.toml")
    q = con.sql("SELECT o_orderstatus, count(*) AS n FROM orders WHERE o_orderdate >= $1 GROUP BY 1",
                [date(1998, 1, 1)])
    q.pl(), q.df(), q.arrow()         # Polars, pandas, pyarrow
    polars.DataFrame(q)               # and wherever else Arrow data goes

An answer is what one PostgreSQL with all rows would give, or it is an error with the reason. Beside
it there are the cursors of PEP 249 (``con.cursor()``) and :class:`ParallelConnection`.
"""

import atexit

from . import _merganser
from ._connect import connect
from ._connection import Column, Connection, Report, Table
from ._log import enable_logging
from ._merganser import Batch, Reader, Schema
from ._open import REPLICATED
from ._partitions import Partitions
from ._plan import Plan
from ._progress import ShardProgress
from ._progress import Snapshot as Progress
from ._query import PartitionRead, Query, Verified
from .cursor import Cursor
from .errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    Mismatch,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    QueryCancelled,
    QueryTimeout,
    Warning,
)
from .params import ParameterError
from .parallel import ParallelConnection
from .rows import class_row, dict_row, namedtuple_row, scalar_row, tuple_row
from .types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Range,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    apilevel,
    paramstyle,
    threadsafety,
)

__version__: str = _merganser.__version__

# No query goes on on a server that nobody waits for any more.
atexit.register(_merganser.shut_down)

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "REPLICATED",
    "ROWID",
    "STRING",
    "Batch",
    "Binary",
    "Column",
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
    "Mismatch",
    "NotSupportedError",
    "OperationalError",
    "ParallelConnection",
    "ParameterError",
    "PartitionRead",
    "Partitions",
    "Plan",
    "ProgrammingError",
    "Progress",
    "Query",
    "QueryCancelled",
    "QueryTimeout",
    "Range",
    "Reader",
    "Report",
    "Schema",
    "ShardProgress",
    "Table",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Verified",
    "Warning",
    "apilevel",
    "class_row",
    "connect",
    "dict_row",
    "enable_logging",
    "namedtuple_row",
    "paramstyle",
    "scalar_row",
    "threadsafety",
    "tuple_row",
]
