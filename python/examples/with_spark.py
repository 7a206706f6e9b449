"""A query over many PostgreSQL databases as a dataframe of Spark, read by all of its executors.

    ./dev demo --keep --dir ~/merganser-demo && cd ~/merganser-demo
    pip install merganser pyspark pyarrow pandas       # Spark 4, with Java 17 or later
    python with_spark.py

README.md beside this file says who keeps the snapshots, and for how long.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, functions
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

import merganser

TOPOLOGY = "merganser.toml"
SQL = "SELECT l_orderkey, l_linenumber, l_returnflag, l_extendedprice FROM lineitem"


class Merganser(DataSource):
    """``spark.read.format("merganser")``, of parts that the program keeps."""

    @classmethod
    def name(cls) -> str:
        return "merganser"

    def reader(self, schema: StructType) -> Reader:
        return Reader(self.options["topology"], self.options["parts"], schema)


class Reader(DataSourceReader):
    def __init__(self, topology: str, parts: str, schema: StructType) -> None:
        self._topology = topology
        self._parts = parts
        self._schema = schema

    # Spark calls this in a process of its own, which ends at once: it could keep no snapshot.
    def partitions(self) -> list[InputPartition]:
        return [InputPartition(part) for part in self._parts.splitlines()]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """What an executor does with one part."""
        schema = to_arrow_schema(self._schema, timezone="UTC")
        with merganser.connect(self._topology) as con:
            part = con.read_partition(partition.value)
            # Spark wants its own types: an enum of PostgreSQL is a string there.
            yield from pa.RecordBatchReader.from_stream(part).cast(schema)


def dataframe(spark: SparkSession, parts: merganser.Partitions, topology: str) -> DataFrame:
    """The rows of all parts. Each executor has a topology file of its own under this path."""
    spark.dataSource.register(Merganser)
    return (
        spark.read.format("merganser")
        .schema(from_arrow_schema(pa.schema(parts.schema)))
        .option("topology", topology)
        .option("parts", b"\n".join(parts).decode())
        .load()
    )


def main() -> None:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    with merganser.connect(TOPOLOGY) as con:
        plain = con.sql(
            "SELECT count(*), sum(l_extendedprice)::numeric(15, 2) FROM lineitem"
        ).rows()[0]
        print("one answer:", *plain)
        # As long as this block lasts, the parts can be read, and have the rows of this moment. A
        # dataframe is read anew by each action.
        with con.sql(SQL).partitions(partition_bytes=1 << 20) as parts:
            lines = dataframe(spark, parts, str(Path(TOPOLOGY).resolve()))
            rows, price = lines.agg(
                functions.count("*"), functions.sum("l_extendedprice")
            ).collect()[0]
            distinct = lines.select("l_orderkey", "l_linenumber").distinct().count()
        print(f"{len(parts)} parts:", rows, price)
        assert (rows, price) == plain and distinct == rows
    spark.stop()


if __name__ == "__main__":
    main()
