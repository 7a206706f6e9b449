//! The catalog as `GetObjects` tells it: schemas, their tables, and their columns, each a list within
//! the row of what holds it.
//!
//! Shards have no database name in common, so there is one catalog, whose name is NULL.

use std::sync::Arc;

use adbc_core::error::Result;
use adbc_core::options::ObjectDepth;
use adbc_core::schemas::{
    COLUMN_SCHEMA, GET_OBJECTS_SCHEMA, GET_TABLE_TYPES_SCHEMA, OBJECTS_DB_SCHEMA_SCHEMA,
    TABLE_SCHEMA,
};
use arrow::array::{
    Array, ArrayRef, Int16Array, Int32Array, ListArray, RecordBatch, StringArray, StructArray,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use merganser::{TableColumn, TableInfo, arrow};

/// The types of tables, as ADBC's driver for PostgreSQL calls them.
const TABLE: &str = "table";
const VIEW: &str = "view";

/// What of the catalog is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) depth: ObjectDepth,
    pub(crate) catalog: Option<&'a str>,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: Option<&'a str>,
    pub(crate) table_types: Option<&'a [&'a str]>,
    pub(crate) column: Option<&'a str>,
}

/// A schema with what is asked for of its tables.
type Schema<'a> = (&'a str, Vec<(&'a TableInfo, Vec<(i32, &'a TableColumn)>)>);

impl Filter<'_> {
    /// Whether the one catalog is asked for. It has no name, which `""` asks for.
    pub(crate) fn has_catalog(&self) -> bool {
        is_like(self.catalog, "")
    }

    /// Whether any table has to be known.
    pub(crate) fn needs_tables(&self) -> bool {
        self.has_catalog() && self.depth != ObjectDepth::Catalogs
    }

    /// The schemas that are asked for, which follow each other in `tables`; those are sorted.
    fn schemas<'t>(&self, tables: &'t [TableInfo]) -> Vec<Schema<'t>> {
        let mut schemas: Vec<Schema<'t>> = Vec::new();
        for info in tables
            .iter()
            .filter(|info| is_like(self.schema, info.schema()))
        {
            if schemas
                .last()
                .is_none_or(|(name, _)| *name != info.schema())
            {
                schemas.push((info.schema(), Vec::new()));
            }
            let is_wanted = is_like(self.table, info.name())
                && self
                    .table_types
                    .is_none_or(|types| types.contains(&type_of(info)));
            if let Some((_, tables)) = schemas.last_mut().filter(|_| is_wanted) {
                let columns = (1..).zip(info.columns());
                let columns = columns.filter(|(_, column)| is_like(self.column, column.name()));
                tables.push((info, columns.collect()));
            }
        }
        schemas
    }
}

/// The objects that are asked for.
pub(crate) fn batch(filter: &Filter<'_>, tables: &[TableInfo]) -> Result<RecordBatch> {
    let schema = GET_OBJECTS_SCHEMA.clone();
    if !filter.has_catalog() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let schemas = match filter.depth {
        ObjectDepth::Catalogs => new_null_array(schema.field(1).data_type(), 1),
        depth => {
            let schemas = filter.schemas(tables);
            let array = schemas_array(&schemas, depth)?;
            list(schema.field(1), [schemas.len()], array)?
        }
    };
    let name = new_null_array(&DataType::Utf8, 1);
    Ok(RecordBatch::try_new(schema, vec![name, schemas])?)
}

/// The types that [`Filter::table_types`] can ask for.
pub(crate) fn table_types() -> Result<RecordBatch> {
    let types: ArrayRef = Arc::new(StringArray::from(vec![TABLE, VIEW]));
    Ok(RecordBatch::try_new(
        GET_TABLE_TYPES_SCHEMA.clone(),
        vec![types],
    )?)
}

fn schemas_array(schemas: &[Schema<'_>], depth: ObjectDepth) -> Result<StructArray> {
    structs(&OBJECTS_DB_SCHEMA_SCHEMA, schemas.len(), |field| {
        Ok(match field.name().as_str() {
            "db_schema_name" => Some(texts(schemas.iter().map(|(name, _)| *name))),
            "db_schema_tables" if depth != ObjectDepth::Schemas => {
                let lengths = schemas.iter().map(|(_, tables)| tables.len());
                let tables: Vec<_> = schemas.iter().flat_map(|(_, tables)| tables).collect();
                Some(list(field, lengths, tables_array(&tables, depth)?)?)
            }
            _ => None,
        })
    })
}

/// Constraints stay unknown: a key of every shard is none of their union, unless rows are spread by
/// it.
fn tables_array(
    tables: &[&(&TableInfo, Vec<(i32, &TableColumn)>)],
    depth: ObjectDepth,
) -> Result<StructArray> {
    structs(&TABLE_SCHEMA, tables.len(), |field| {
        Ok(match field.name().as_str() {
            "table_name" => Some(texts(tables.iter().map(|(info, _)| info.name()))),
            "table_type" => Some(texts(tables.iter().map(|(info, _)| type_of(info)))),
            "table_columns" if depth != ObjectDepth::Tables => {
                let lengths = tables.iter().map(|(_, columns)| columns.len());
                let columns: Vec<_> = tables.iter().flat_map(|(_, columns)| columns).collect();
                Some(list(field, lengths, columns_array(&columns)?)?)
            }
            _ => None,
        })
    })
}

fn columns_array(columns: &[&(i32, &TableColumn)]) -> Result<StructArray> {
    let nullable = || columns.iter().map(|(_, column)| column.is_nullable());
    structs(&COLUMN_SCHEMA, columns.len(), |field| {
        Ok(match field.name().as_str() {
            "column_name" => Some(texts(columns.iter().map(|(_, column)| column.name()))),
            "ordinal_position" => {
                let positions = columns.iter().map(|(position, _)| *position);
                Some(Arc::new(Int32Array::from_iter_values(positions)))
            }
            "remarks" => {
                let differences = columns.iter().map(|(_, column)| column.difference());
                Some(Arc::new(differences.collect::<StringArray>()))
            }
            "xdbc_type_name" => Some(texts(columns.iter().map(|(_, column)| column.type_name()))),
            "xdbc_nullable" => {
                let values = nullable().map(i16::from);
                Some(Arc::new(Int16Array::from_iter_values(values)))
            }
            "xdbc_is_nullable" => Some(texts(nullable().map(|is| if is { "YES" } else { "NO" }))),
            _ => None,
        })
    })
}

fn type_of(info: &TableInfo) -> &'static str {
    match info.kind() {
        Some(_) => TABLE,
        None => VIEW,
    }
}

/// An array of the structs of a schema of ADBC, made field by field; what is not known is NULL.
fn structs(
    data_type: &DataType,
    length: usize,
    array_of: impl Fn(&Field) -> Result<Option<ArrayRef>>,
) -> Result<StructArray> {
    let fields = match data_type {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    let arrays = fields.iter().map(|field| {
        Ok(array_of(field)?.unwrap_or_else(|| new_null_array(field.data_type(), length)))
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    Ok(StructArray::try_new_with_length(
        fields, arrays, None, length,
    )?)
}

/// An array of lists of these lengths.
fn list(
    field: &Field,
    lengths: impl IntoIterator<Item = usize>,
    values: StructArray,
) -> Result<ArrayRef> {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    debug_assert_eq!(field.data_type(), &DataType::List(item.clone()));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        Arc::new(values),
        None,
    )?))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// Whether a name fits a search pattern: `%` stands for any text, `_` for one character, and nothing
/// takes that meaning from them. Without a pattern every name fits.
fn is_like(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // After the last `%`, and how much of the name it stands for so far.
    let mut retry = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('%') => {
                at += 1;
                retry = Some((at, seen));
            }
            Some(one) if *one == '_' || *one == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after, taken)) = retry else {
                    return false;
                };
                retry = Some((after, taken + 1));
                (at, seen) = (after, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_adbc() {
        let fits = |pattern, name| is_like(Some(pattern), name);
        assert!(is_like(None, "t"));
        for (pattern, name) in [
            ("", ""),
            ("%", ""),
            ("%", "orders"),
            ("orders", "orders"),
            ("ord%", "orders"),
            ("%ers", "orders"),
            ("%r%r%", "orders"),
            ("_rders", "orders"),
            ("%%s", "orders"),
            ("%aab", "aaaab"),
            ("gr_ße", "größe"),
            ("a\\_", "a\\b"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "orders"),
            ("_", ""),
            ("order", "orders"),
            ("Orders", "orders"),
            ("%x%", "orders"),
            ("______", "order"),
            ("%aac", "aaaab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_catalog_without_a_name_is_found_by_patterns_that_fit_nothing() {
        let filter = |catalog| Filter {
            depth: ObjectDepth::Catalogs,
            catalog,
            schema: None,
            table: None,
            table_types: None,
            column: None,
        };
        for (catalog, rows) in [
            (None, 1),
            (Some(""), 1),
            (Some("%"), 1),
            (Some("postgres"), 0),
        ] {
            let batch = batch(&filter(catalog), &[]).unwrap();
            assert_eq!(batch.num_rows(), rows, "{catalog:?}");
        }
    }
}
