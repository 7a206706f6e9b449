"""Tables in the nested form of ADBC's GetObjects; see adbc.h."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from merganser._connection import Table
from merganser.errors import ProgrammingError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["reader"]

_DEPTHS = ("catalogs", "db_schemas", "tables", "columns")


def reader(
    tables: Iterable[Table],
    *,
    depth: str,
    catalog: str | None,
    db_schema: str | None,
    table: str | None,
    table_types: Sequence[str] | None,
    column: str | None,
) -> pyarrow.RecordBatchReader:
    """The objects that pass the filters, down to this depth."""
    import pyarrow

    if depth not in ("all", *_DEPTHS):
        raise ProgrammingError(
            f"depth is not {depth!r}", hint=f"it is all, {', '.join(_DEPTHS)}"
        )
    level = len(_DEPTHS) if depth == "all" else _DEPTHS.index(depth) + 1
    schemas = None
    if level > 1:
        kept = sorted(
            (
                found
                for found in tables
                if _matches(db_schema, found.schema)
                and (level == 2 or _matches(table, found.name))
                and (level == 2 or table_types is None or _type(found) in table_types)
            ),
            key=lambda found: (found.schema, found.name),
        )
        schemas = [
            {
                "db_schema_name": name,
                "db_schema_tables": [_table(found, level, column) for found in group]
                if level > 2
                else None,
            }
            for name, group in groupby(kept, lambda found: found.schema)
        ]
    rows = []
    if _matches(catalog, ""):
        rows = [{"catalog_name": "", "catalog_db_schemas": schemas}]
    return pyarrow.Table.from_pylist(rows, schema=_schema(pyarrow)).to_reader()


def _table(table: Table, level: int, column: str | None) -> dict[str, Any]:
    columns = None
    if level > 3:
        columns = [
            {
                "column_name": found.name,
                "ordinal_position": position,
                "remarks": found.difference,
                "xdbc_type_name": found.type,
                "xdbc_nullable": int(found.is_nullable),
                "xdbc_is_nullable": "YES" if found.is_nullable else "NO",
            }
            for position, found in enumerate(table.columns, 1)
            if _matches(column, found.name)
        ]
    return {
        "table_name": table.name,
        "table_type": _type(table),
        "table_columns": columns,
        "table_constraints": [] if level > 3 else None,
    }


def _type(table: Table) -> str:
    return "view" if table.kind == "view" else "table"


def _matches(pattern: str | None, name: str) -> bool:
    """Whether a name is like a pattern of SQL."""
    if pattern is None:
        return True
    parts = (
        ".*" if part == "%" else "." if part == "_" else re.escape(part)
        for part in re.split("([%_])", pattern)
    )
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


def _schema(pyarrow: Any) -> Any:
    text, short, whole = pyarrow.utf8(), pyarrow.int16(), pyarrow.int32()
    usage = pyarrow.struct(
        {
            "fk_catalog": text,
            "fk_db_schema": text,
            "fk_table": text,
            "fk_column_name": text,
        }
    )
    constraint = pyarrow.struct(
        {
            "constraint_name": text,
            "constraint_type": text,
            "constraint_column_names": pyarrow.list_(text),
            "constraint_column_usage": pyarrow.list_(usage),
        }
    )
    column = pyarrow.struct(
        {
            "column_name": text,
            "ordinal_position": whole,
            "remarks": text,
            "xdbc_data_type": short,
            "xdbc_type_name": text,
            "xdbc_column_size": whole,
            "xdbc_decimal_digits": short,
            "xdbc_num_prec_radix": short,
            "xdbc_nullable": short,
            "xdbc_column_def": text,
            "xdbc_sql_data_type": short,
            "xdbc_datetime_sub": short,
            "xdbc_char_octet_length": whole,
            "xdbc_is_nullable": text,
            "xdbc_scope_catalog": text,
            "xdbc_scope_schema": text,
            "xdbc_scope_table": text,
            "xdbc_is_autoincrement": pyarrow.bool_(),
            "xdbc_is_generatedcolumn": pyarrow.bool_(),
        }
    )
    table = pyarrow.struct(
        {
            "table_name": text,
            "table_type": text,
            "table_columns": pyarrow.list_(column),
            "table_constraints": pyarrow.list_(constraint),
        }
    )
    db_schema = pyarrow.struct(
        {"db_schema_name": text, "db_schema_tables": pyarrow.list_(table)}
    )
    return pyarrow.schema(
        {"catalog_name": text, "catalog_db_schemas": pyarrow.list_(db_schema)}
    )
