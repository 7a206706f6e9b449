//! What fuzz targets and their seeds agree on.
//!
//! An input of `decode` is a byte for the length of chunks, one for the rows of a batch, one for
//! what becomes of unrepresentable values, one for the number of columns, one for the type of each
//! column, and then COPY BINARY data.

/// The types that a byte chooses from; behind them come those that users make
/// (`merganser::fuzzing::made_types`). New ones at the end, or old corpora lose their meaning.
pub const TYPES: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "oid",
    "xid",
    "cid",
    "xid8",
    "float4",
    "float8",
    "numeric",
    "\"char\"",
    "name",
    "text",
    "varchar",
    "bpchar",
    "xml",
    "json",
    "jsonb",
    "jsonpath",
    "bytea",
    "uuid",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit",
    "varbit",
    "pg_lsn",
    "refcursor",
    "int2vector",
    "oidvector",
    "numeric(15,2)",
    "numeric(38,0)",
    "numeric(38,38)",
    "numeric(76,30)",
    "numeric(12,-2)",
    "numeric(2,5)",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tsrange",
    "tstzrange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "datemultirange",
    "tsmultirange",
    "tstzmultirange",
    "int4[]",
    "int8[]",
    "text[]",
    "bool[]",
    "float8[]",
    "bytea[]",
    "uuid[]",
    "jsonb[]",
    "timestamptz[]",
    "numeric(5,2)[]",
    "\"char\"[]",
    "int4[][]",
    "text[][][]",
    "int8[][][][][][]",
    "int4range[]",
    "int4multirange[]",
];

/// The most columns of an input.
pub const MAX_COLUMNS: usize = 16;

/// The bytes before the COPY BINARY data of an input with these columns, read in chunks of 7
/// bytes and batches of 4 rows. `None` where there are too many, or one of another type.
pub fn head(columns: &[&str]) -> Option<Vec<u8>> {
    if columns.len() > MAX_COLUMNS {
        return None;
    }
    let mut head = vec![7, 4, 0, u8::try_from(columns.len()).ok()?];
    for column in columns {
        let index = TYPES.iter().position(|known| known == column)?;
        head.push(u8::try_from(index).ok()?);
    }
    Some(head)
}
