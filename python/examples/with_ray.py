"""A query over many PostgreSQL databases as a dataset of Ray, read by all of its workers.

    ./dev demo --keep --dir ~/merganser-demo && cd ~/merganser-demo
    pip install merganser 'ray[data]' pyarrow
    python with_ray.py

README.md beside this file says who keeps the snapshots, and for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

import merganser

TOPOLOGY = "merganser.toml"
SQL = "SELECT l_orderkey, l_linenumber, l_returnflag, l_extendedprice FROM lineitem"


class Parts(Datasource):
    """The rows of all parts. Each worker has a topology file of its own under this path."""

    def __init__(self, parts: merganser.Partitions, topology: str) -> None:
        super().__init__()
        self._parts = list(parts)
        self._schema = pa.schema(parts.schema)
        self._topology = topology

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        # How many rows and bytes a part has is not known before it is read.
        unknown = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None)
        return [
            ReadTask(
                reader(part, self._topology),
                unknown,
                schema=self._schema,
                per_task_row_limit=per_task_row_limit,
            )
            for part in self._parts
        ]

    def estimate_inmemory_data_size(self) -> int | None:
        return None


def reader(part: bytes, topology: str) -> Callable[[], Iterator[pa.Table]]:
    """What a worker does with one part."""

    def read() -> Iterator[pa.Table]:
        with merganser.connect(topology) as con:
            for batch in pa.RecordBatchReader.from_stream(con.read_partition(part)):
                yield pa.Table.from_batches([batch])

    return read


def main() -> None:
    ray.init(num_cpus=2, object_store_memory=256 << 20, include_dashboard=False)
    with merganser.connect(TOPOLOGY) as con:
        plain = con.sql(
            "SELECT count(*), sum(l_extendedprice)::numeric(15, 2) FROM lineitem"
        ).rows()[0]
        print("one answer:", *plain)
        # As long as this block lasts, the parts can be read, and have the rows of this moment.
        with con.sql(SQL).partitions(partition_bytes=1 << 20) as parts:
            lines = ray.data.read_datasource(Parts(parts, TOPOLOGY)).materialize()
        rows, price = lines.count(), lines.sum("l_extendedprice")
        keys = lines.groupby(["l_orderkey", "l_linenumber"]).count().count()
        print(f"{len(parts)} parts:", rows, price)
        assert (rows, price) == plain and keys == rows


if __name__ == "__main__":
    main()
