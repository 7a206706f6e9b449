"""``merganser.connect(...)``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ._connection import Connection
from ._open import open_cluster

__all__ = ["connect"]


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
        as many queries run, and partitions are kept, at once, and others wait; 4 unless set
    timeout:
        the seconds that a query may take, unless it says otherwise
    adbc:
        whether the connection is one of ADBC too, if ``adbc-driver-manager`` is installed. pandas and
        Polars read Arrow from such a connection, and rows from others; but pandas takes neither
        ``params`` nor ``chunksize`` then.
    """
    cluster = open_cluster(
        targets,
        shards=shards,
        tables=tables,
        session=session,
        finish=finish,
        connections_per_shard=connections_per_shard,
    )
    if adbc:
        from adbc_driver_merganser import dbapi

        if dbapi.HAS_DRIVER_MANAGER:
            return dbapi.Connection(cluster, timeout)
    return Connection(cluster, timeout)
