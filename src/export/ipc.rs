//! Arrow IPC: the file format (Feather version 2) and the stream format.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeListArray, Int32Array, ListArray, MapArray,
    RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatchWriter;

use super::{Compression, ExportOptions, missing_metadata};
use crate::missing::MissingShards;

/// Opens a writer of the stream format.
pub(super) fn stream_writer<W: Write>(
    writer: W,
    schema: &SchemaRef,
    options: &ExportOptions,
) -> Result<StreamWriter<W>, ArrowError> {
    StreamWriter::try_new_with_options(writer, schema, write_options(options)?)
}

/// Writes the file format.
///
/// A file has one dictionary per field, to which values may only be added, while each batch of a
/// merge may come with a dictionary of its own: keys are renumbered where they differ.
///
/// # Memory
/// One batch, and every different value of an enum column.
pub(super) struct IpcFileWriter<W: Write> {
    inner: FileWriter<W>,
    schema: SchemaRef,
    /// One per dictionary in the schema, depth first.
    dictionaries: Vec<Dictionary>,
    has_dictionaries: bool,
    missing: Option<MissingShards>,
}

impl<W: Write> IpcFileWriter<W> {
    pub(super) fn try_new(
        writer: W,
        schema: SchemaRef,
        options: &ExportOptions,
    ) -> Result<Self, ArrowError> {
        let options = write_options(options)?.with_dictionary_handling(DictionaryHandling::Delta);
        Ok(Self {
            inner: FileWriter::try_new_with_options(writer, &schema, options)?,
            has_dictionaries: schema
                .flattened_fields()
                .iter()
                .any(|field| matches!(field.data_type(), DataType::Dictionary(_, _))),
            schema,
            dictionaries: Vec::new(),
            missing: None,
        })
    }

    /// Names these shards in the file's metadata.
    pub(super) fn without(self, missing: Option<MissingShards>) -> Self {
        Self { missing, ..self }
    }
}

impl<W: Write> RecordBatchWriter for IpcFileWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if !self.has_dictionaries {
            return self.inner.write(batch);
        }
        let mut index = 0;
        let columns = batch
            .columns()
            .iter()
            .map(|column| unify(column, &mut self.dictionaries, &mut index))
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        self.inner.write(&batch)
    }

    fn close(mut self) -> Result<(), ArrowError> {
        if let Some((key, value)) = missing_metadata(self.missing.as_ref()) {
            self.inner.write_metadata(key, value);
        }
        self.inner.finish()
    }
}

fn write_options(options: &ExportOptions) -> Result<IpcWriteOptions, ArrowError> {
    let compression = match options.compression {
        Some(Compression::Zstd) => Some(CompressionType::ZSTD),
        // Snappy is refused before; uncompressed is what most readers can map into memory.
        _ => None,
    };
    IpcWriteOptions::default().try_with_compression(compression)
}

/// The values of a dictionary that were written so far.
#[derive(Debug, Default)]
struct Dictionary {
    values: Option<ArrayRef>,
    keys: HashMap<String, i32>,
}

impl Dictionary {
    /// The same strings as `array`, in terms of a dictionary that only grows.
    fn adopt(&mut self, array: &DictionaryArray<Int32Type>) -> Result<ArrayRef, ArrowError> {
        let theirs = array.values();
        if let Some(ours) = &self.values
            && (Arc::ptr_eq(ours, theirs) || ours == theirs)
        {
            // The same allocation each time, so that the writer need not compare either.
            let array = DictionaryArray::try_new(array.keys().clone(), Arc::clone(ours))?;
            return Ok(Arc::new(array));
        }
        let theirs: &StringArray = theirs.as_string();
        let known = self.keys.len();
        let mut added: Vec<&str> = Vec::new();
        let renumbered = theirs
            .iter()
            .map(|value| {
                let value = value?;
                if let Some(key) = self.keys.get(value) {
                    return Some(Ok(*key));
                }
                let Ok(key) = i32::try_from(self.keys.len()) else {
                    return Some(Err(ArrowError::DictionaryKeyOverflowError));
                };
                self.keys.insert(value.to_owned(), key);
                added.push(value);
                Some(Ok(key))
            })
            .map(Option::transpose)
            .collect::<Result<Vec<Option<i32>>, _>>()?;
        let ours = match &self.values {
            Some(ours) if added.is_empty() => Arc::clone(ours),
            Some(ours) => {
                let old = ours.as_string::<i32>().iter().take(known);
                let all = old.chain(added.iter().map(|value| Some(*value)));
                Arc::new(all.collect::<StringArray>()) as ArrayRef
            }
            None => Arc::new(StringArray::from(added)),
        };
        let ours = self.values.insert(ours);
        // A key of a NULL slot may point anywhere.
        let renumber = |key: Option<i32>| {
            let key = usize::try_from(key?).ok()?;
            renumbered.get(key).copied().flatten()
        };
        let keys: Int32Array = array.keys().iter().map(renumber).collect();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::clone(ours))?))
    }
}

/// Rebuilds an array so that every dictionary in it only grows; `index` counts them, depth first.
fn unify(
    array: &ArrayRef,
    dictionaries: &mut Vec<Dictionary>,
    index: &mut usize,
) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Dictionary(key, value)
            if **key == DataType::Int32 && **value == DataType::Utf8 =>
        {
            if dictionaries.len() == *index {
                dictionaries.push(Dictionary::default());
            }
            let dictionary = &mut dictionaries[*index];
            *index += 1;
            dictionary.adopt(array.as_dictionary())?
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = unify(list.values(), dictionaries, index)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                offsets,
                values,
                nulls,
            )?)
        }
        DataType::FixedSizeList(item, size) => {
            let list = array.as_fixed_size_list();
            let values = unify(list.values(), dictionaries, index)?;
            let (item, nulls) = (Arc::clone(item), list.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new_with_length(
                item,
                *size,
                values,
                nulls,
                list.len(),
            )?)
        }
        DataType::Struct(fields) => {
            let record = array.as_struct();
            let children = record.columns().iter();
            let children = children.map(|child| unify(child, dictionaries, index));
            let children = children.collect::<Result<Vec<_>, _>>()?;
            let nulls = record.nulls().cloned();
            let length = record.len();
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                children,
                nulls,
                length,
            )?)
        }
        DataType::Map(entries_field, ordered) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = unify(&entries, dictionaries, index)?;
            Arc::new(MapArray::try_new(
                Arc::clone(entries_field),
                map.offsets().clone(),
                entries.as_struct().clone(),
                map.nulls().cloned(),
                *ordered,
            )?)
        }
        _ => Arc::clone(array),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::array::{ListBuilder, StringDictionaryBuilder};
    use arrow::datatypes::{Field, Schema};
    use arrow::ipc::reader::{FileReader, StreamReader};

    use super::*;
    use crate::export::tests::every_type;

    fn file(batches: &[RecordBatch], options: &ExportOptions) -> Vec<RecordBatch> {
        let mut out = Vec::new();
        let mut writer = IpcFileWriter::try_new(&mut out, batches[0].schema(), options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.close().unwrap();
        let reader = FileReader::try_new(Cursor::new(out), None).unwrap();
        assert_eq!(reader.schema(), batches[0].schema());
        reader.map(Result::unwrap).collect()
    }

    fn stream(batches: &[RecordBatch], options: &ExportOptions) -> Vec<RecordBatch> {
        let mut out = Vec::new();
        let mut writer = stream_writer(&mut out, &batches[0].schema(), options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        RecordBatchWriter::close(writer).unwrap();
        let reader = StreamReader::try_new(Cursor::new(out), None).unwrap();
        assert_eq!(reader.schema(), batches[0].schema());
        reader.map(Result::unwrap).collect()
    }

    #[test]
    fn every_type_comes_back() {
        let batches = [every_type(), every_type()];
        let plain = ExportOptions::new();
        for options in [plain.clone(), plain.with_compression(Compression::Zstd)] {
            assert_eq!(file(&batches, &options), batches);
            assert_eq!(stream(&batches, &options), batches);
        }
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let schema = Arc::new(Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        assert_eq!(
            file(std::slice::from_ref(&batch), &ExportOptions::new())[0].num_rows(),
            3
        );
        assert_eq!(stream(&[batch], &ExportOptions::new())[0].num_rows(), 3);
    }

    /// An enum column, and an array of enums.
    fn moods(moods: &[Option<&str>]) -> RecordBatch {
        let plain: DictionaryArray<Int32Type> = moods.iter().copied().collect();
        let mut lists = ListBuilder::new(StringDictionaryBuilder::<Int32Type>::new());
        for mood in moods.iter().rev() {
            lists.append_value([*mood]);
        }
        let lists = lists.finish();
        let schema = Schema::new(vec![
            Field::new("mood", plain.data_type().clone(), true),
            Field::new("moods", lists.data_type().clone(), true),
        ]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(plain), Arc::new(lists)]).unwrap()
    }

    #[test]
    fn batches_may_have_different_dictionaries() {
        let batches = [
            moods(&[Some("sad"), None]),
            moods(&[Some("ok"), Some("sad")]),
            moods(&[Some("sad")]),
            moods(&[None]),
            moods(&[Some("happy"), Some("ok"), Some("sad")]),
        ];
        let text = |batch: &RecordBatch| {
            let columns = batch.schema().fields().len();
            let print = |column: usize| {
                let array = batch.column(column);
                let schema = batch.schema();
                let formatter =
                    crate::text::TextFormatter::try_new(schema.field(column), array.as_ref());
                let formatter = formatter.unwrap();
                let mut out = String::new();
                for row in 0..batch.num_rows() {
                    if !formatter.is_null(row) {
                        formatter.write(row, &mut out);
                    }
                    out.push(';');
                }
                out
            };
            (0..columns).map(print).collect::<Vec<_>>()
        };
        let expected: Vec<_> = batches.iter().map(text).collect();
        let read = |batches: Vec<RecordBatch>| batches.iter().map(text).collect::<Vec<_>>();
        assert_eq!(read(file(&batches, &ExportOptions::new())), expected);
        assert_eq!(read(stream(&batches, &ExportOptions::new())), expected);
    }
}
