//! Text and bytes that were read with offsets, as Polars holds them: views.
//!
//! Polars makes such views of what it imports, and keeps what they point to: both would be in memory.

use std::sync::Arc;

use merganser::arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, RecordBatch, RecordBatchOptions, StringViewArray,
};
use merganser::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use merganser::{Error, ErrorKind};

/// The schema of batches that [`with_views`] makes.
pub(crate) fn view_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(view_field);
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata.clone()))
}

fn view_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        _ => return field.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The same rows; of values the long ones alone are copied.
///
/// # Errors
/// A fault of ours, if the schema is not that of [`view_schema`].
pub(crate) fn with_views(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns = batch.columns().iter().map(view).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot make views of text").with_source(error)
    })
}

fn view(array: &ArrayRef) -> ArrayRef {
    // Made anew without the array's own memory, which can go then.
    match array.data_type() {
        DataType::Utf8 => {
            let views: StringViewArray = array.as_string::<i32>().into();
            Arc::new(views.gc())
        }
        DataType::Binary => {
            let views: BinaryViewArray = array.as_binary::<i32>().into();
            Arc::new(views.gc())
        }
        _ => array.clone(),
    }
}
