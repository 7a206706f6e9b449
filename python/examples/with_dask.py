"""A query over many PostgreSQL databases as a dataframe of Dask, read by all of its workers.

    ./dev demo --keep --dir ~/merganser-demo && cd ~/merganser-demo
    pip install merganser 'dask[dataframe]' pyarrow
    python with_dask.py

README.md beside this file says who keeps the snapshots, and for how long.
"""

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa

import merganser

TOPOLOGY = "merganser.toml"
# Dask adds up no decimals.
SQL = "SELECT l_orderkey, l_linenumber, (l_extendedprice * 100)::int8 AS cents FROM lineitem"


def read(part: bytes, topology: str) -> pd.DataFrame:
    """What a worker does with one part."""
    with merganser.connect(topology) as con:
        return con.read_partition(part).df(dtype_backend="pyarrow")


def dataframe(parts: merganser.Partitions, topology: str) -> dd.DataFrame:
    """The rows of all parts. Each worker has a topology file of its own under this path."""
    empty = pa.schema(parts.schema).empty_table()
    meta = empty.to_pandas(types_mapper=pd.ArrowDtype)
    return dd.from_map(read, list(parts), args=[topology], meta=meta)


def main() -> None:
    with merganser.connect(TOPOLOGY) as con:
        plain = con.sql(f"SELECT count(*), sum(cents)::int8 FROM ({SQL}) AS lines").rows()[0]
        print("one answer:", *plain)
        # As long as this block lasts, the parts can be read, and have the rows of this moment.
        with con.sql(SQL).partitions(partition_bytes=1 << 20) as parts:
            lines = dataframe(parts, TOPOLOGY)
            # Processes, as in a cluster; `distributed.Client` takes the same dataframe.
            cents, keys = dask.compute(
                lines["cents"].sum(),
                lines[["l_orderkey", "l_linenumber"]],
                scheduler="processes",
                num_workers=2,
            )
        print(f"{len(parts)} parts:", len(keys), cents)
        assert (len(keys), cents) == plain and not keys.duplicated().any()


if __name__ == "__main__":
    main()
