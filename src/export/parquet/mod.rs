//! Parquet, in row groups that are bounded in rows and in bytes.

mod encode;
mod ranges;

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions};
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;

use self::encode::{Bounds, Encoder};
use super::workers::Workers;
use super::{
    ColumnRange, Compression, ExportOptions, FileWriter, Statistics, fence_metadata,
    missing_metadata,
};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::Remarks;

/// Writes Parquet; the schema with its extension types is kept in the file.
///
/// # Memory
/// About the size of one row group (see [`ExportOptions::with_row_group_bytes`]), however many rows
/// there are, one or two more that are being written, and 16 MiB of batches that wait.
pub(super) struct ParquetWriter<W: Write + Send> {
    encoder: Encoder<W>,
    remarks: Remarks,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn try_new(
        writer: W,
        schema: SchemaRef,
        options: &ExportOptions,
        workers: Arc<Workers>,
    ) -> Result<Self, ParquetError> {
        let (file, factory) = begin(writer, Arc::clone(&schema), options)?;
        let bounds = Bounds {
            rows: options.row_group_rows,
            bytes: options.row_group_bytes,
        };
        Ok(Self {
            encoder: Encoder::new(file, factory, schema, bounds, workers),
            remarks: Remarks::default(),
        })
    }

    /// Says this in the file's metadata.
    pub(super) fn with_remarks(self, remarks: Remarks) -> Self {
        Self { remarks, ..self }
    }
}

/// Writes the beginning of a file.
fn begin<W: Write + Send>(
    writer: W,
    schema: SchemaRef,
    options: &ExportOptions,
) -> Result<(SerializedFileWriter<W>, ArrowRowGroupWriterFactory), ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("merganser ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec(options.compression)?)
        .set_statistics_enabled(match options.statistics {
            Statistics::None => EnabledStatistics::None,
            Statistics::RowGroup => EnabledStatistics::Chunk,
            Statistics::Page => EnabledStatistics::Page,
        })
        // Lists and maps are named as the format asks: `list.element`, `key_value.key`.
        .set_coerce_types(true)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties);
    ArrowWriter::try_new_with_options(writer, schema, options)?.into_serialized_writer()
}

impl<W: Write + Send> FileWriter for ParquetWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        Ok(self.encoder.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<ColumnRange>, ArrowError> {
        let missing = missing_metadata(self.remarks.missing.as_ref());
        for (key, value) in missing.into_iter().chain(fence_metadata(&self.remarks)) {
            let metadata = KeyValue::new(key.to_owned(), value);
            self.encoder.append_key_value_metadata(metadata);
        }
        let schema = Arc::clone(self.encoder.schema());
        let metadata = self.encoder.close()?;
        Ok(ranges::of_columns(&metadata, &schema)?)
    }

    fn held_bytes(&self) -> usize {
        self.encoder.held_bytes()
    }

    fn end_row_group(&mut self) -> Result<(), ArrowError> {
        Ok(self.encoder.end_row_group()?)
    }

    fn file_bytes(&mut self) -> Result<Option<u64>, ArrowError> {
        Ok(Some(self.encoder.file_bytes()? as u64))
    }
}

/// zstd at level 1 unless told otherwise: files are a good deal smaller than with snappy, at a
/// speed that a network of PostgreSQL servers does not outrun, and every current reader has it.
fn codec(compression: Option<Compression>) -> Result<Codec, ParquetError> {
    Ok(match compression {
        Some(Compression::None) => Codec::UNCOMPRESSED,
        Some(Compression::Snappy) => Codec::SNAPPY,
        Some(Compression::Zstd) | None => Codec::ZSTD(ZstdLevel::try_new(1)?),
    })
}

/// Makes sure that Parquet can hold this schema.
pub(super) fn check(schema: &Schema, options: &ExportOptions) -> Result<()> {
    if schema.fields().is_empty() {
        return Err(Error::new(
            ErrorKind::Export,
            "Parquet cannot hold a result without columns",
        )
        .with_hint("select at least one column, or write another format: --format arrow"));
    }
    for field in schema.fields() {
        if let Some(reason) = obstacle(field) {
            return Err(Error::new(
                ErrorKind::Export,
                format!("column {:?}: Parquet cannot hold {reason}", field.name()),
            )
            .with_hint(format!(
                "{}cast the column in the query, for instance {:?}::text, or write another format: \
                 --format arrow",
                match holds_interval(field) {
                    true => "read intervals as text with --interval text, ",
                    false => "",
                },
                field.name()
            )));
        }
    }
    let schema = SchemaRef::new(schema.clone());
    match begin(std::io::sink(), schema, options) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::new(
            ErrorKind::Export,
            "Parquet cannot hold a result of this schema",
        )
        .with_hint("write another format: --format arrow")
        .with_source(source)),
    }
}

/// What in a field is beyond Parquet; `None` if nothing is.
fn obstacle(field: &Field) -> Option<String> {
    match field.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Some("an interval of months, days and microseconds".to_owned())
        }
        DataType::Struct(fields) if fields.is_empty() => {
            Some("a composite without fields".to_owned())
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| obstacle(field)),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => obstacle(item),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale < 0 =>
        {
            Some(format!("a decimal of the negative scale {scale}"))
        }
        DataType::Union(_, _) => Some("a union".to_owned()),
        _ => None,
    }
}

fn holds_interval(field: &Field) -> bool {
    match field.data_type() {
        DataType::Interval(_) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_interval(field)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            holds_interval(item)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::*;
    use arrow::util::display::array_value_to_string;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::export::tests::every_type;
    use crate::types::EXTENSION_NAME;

    fn parquet(batches: &[RecordBatch], options: &ExportOptions) -> Bytes {
        let mut out = Vec::new();
        let schema = batches[0].schema();
        check(&schema, options).unwrap();
        let workers = Arc::new(Workers::new(2));
        let mut writer = ParquetWriter::try_new(&mut out, schema, options, workers).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        Box::new(writer).finish().unwrap();
        out.into()
    }

    #[test]
    fn every_type_comes_back_with_its_metadata() {
        let batch = every_type();
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        let storable = names
            .iter()
            .enumerate()
            .filter(|(_, name)| *name != "interval");
        let storable: Vec<_> = storable.map(|(index, _)| index).collect();
        let batch = batch.project(&storable).unwrap();
        for compression in [Compression::None, Compression::Snappy, Compression::Zstd] {
            let options = ExportOptions::new().with_compression(compression);
            let file = parquet(std::slice::from_ref(&batch), &options);
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let created_by = builder.metadata().file_metadata().created_by();
            assert_eq!(
                created_by,
                Some(concat!("merganser ", env!("CARGO_PKG_VERSION")))
            );
            let read: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
            assert_eq!(read.len(), 1);
            let (schema, read_schema) = (batch.schema(), read[0].schema());
            for (index, field) in schema.fields().iter().enumerate() {
                let read_field = read_schema.field(index);
                assert_eq!(read_field.name(), field.name());
                // Fields within have the names of the format.
                let data_type = field.data_type();
                assert!(read_field.data_type().equals_datatype(data_type), "{field}");
                let extension = |field: &Field| field.metadata().get(EXTENSION_NAME).cloned();
                assert_eq!(extension(read_field), extension(field), "{field}");
                if matches!(data_type, DataType::Timestamp(_, Some(_))) {
                    // Its text takes a database of time zones, which DataFusion alone brings.
                    assert_eq!(read[0].column(index), batch.column(index), "{field}");
                    continue;
                }
                for row in 0..batch.num_rows() {
                    let text = |batch: &RecordBatch| {
                        array_value_to_string(batch.column(index), row).unwrap()
                    };
                    assert_eq!(text(&read[0]), text(&batch), "{field}");
                }
            }
        }
    }

    #[test]
    fn row_groups_are_bounded_in_rows_and_bytes() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
        // No value twice: a dictionary would make the groups small.
        let batch = |first: usize| {
            let texts = (first..first + 1_000).map(|n| format!("{n:01000}"));
            let texts = StringArray::from_iter_values(texts);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts)]).unwrap()
        };
        let batches: Vec<_> = (0..10).map(|n| batch(n * 1_000)).collect();
        let groups = |options: &ExportOptions| {
            let file = parquet(&batches, options);
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            assert_eq!(builder.metadata().file_metadata().num_rows(), 10_000);
            builder.metadata().num_row_groups()
        };
        let options = ExportOptions::new().with_compression(Compression::None);
        assert_eq!(groups(&options), 1);
        assert_eq!(groups(&options.clone().with_row_group_rows(2_500)), 4);
        let by_bytes = groups(&options.with_row_group_bytes(2_000_000));
        assert!((5..=10).contains(&by_bytes), "{by_bytes}");
    }

    #[test]
    fn memory_stays_within_a_row_group() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let mut state = 1i64;
        let options = ExportOptions::new().with_row_group_bytes(1 << 20);
        let workers = Arc::new(Workers::new(2));
        let sink = std::io::sink();
        let mut writer =
            ParquetWriter::try_new(sink, Arc::clone(&schema), &options, workers).unwrap();
        let mut peak = 0;
        for _ in 0..200 {
            let numbers = Int64Array::from_iter_values((0..8_192).map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                state
            }));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers)]);
            writer.write(&batch.unwrap()).unwrap();
            peak = peak.max(writer.encoder.held_bytes());
        }
        Box::new(writer).finish().unwrap();
        assert!(peak < 2 << 20, "{peak}");
    }

    #[test]
    fn what_parquet_cannot_hold_is_named_before_any_row() {
        let options = ExportOptions::new();
        let error = |data_type| {
            let schema = Schema::new(vec![Field::new("c", data_type, true)]);
            let error = check(&schema, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Export);
            assert!(error.hint().unwrap().contains("\"c\"::text"));
            error.message().to_owned()
        };
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        assert_eq!(
            error(DataType::new_list(interval, true)),
            "column \"c\": Parquet cannot hold an interval of months, days and microseconds"
        );
        assert!(error(DataType::Decimal128(3, -2)).contains("negative scale -2"));
        assert!(error(DataType::Struct(Fields::empty())).contains("without fields"));
        let error = check(&Schema::empty(), &options).unwrap_err();
        assert!(error.message().contains("without columns"));
    }

    /// What readers that do not know Arrow's schema go by.
    #[test]
    fn types_and_nested_fields_are_named_as_the_format_asks() {
        use parquet::basic::LogicalType;
        use parquet::file::reader::{FileReader, SerializedFileReader};

        let batch = every_type();
        let schema = batch.schema();
        let kept: Vec<_> = (0..batch.num_columns())
            .filter(|index| schema.field(*index).name() != "interval")
            .collect();
        let batch = batch.project(&kept).unwrap();
        let file = parquet(std::slice::from_ref(&batch), &ExportOptions::new());
        let reader = SerializedFileReader::new(file).unwrap();
        let columns = reader.metadata().file_metadata().schema_descr();
        let leaf = |path: &str| {
            let mut leaves = columns.columns().iter();
            let found = leaves.find(|leaf| leaf.path().string() == path);
            found.unwrap_or_else(|| panic!("no {path} in {columns:?}"))
        };
        assert_eq!(leaf("uuid").logical_type_ref(), Some(&LogicalType::Uuid));
        assert_eq!(leaf("json").logical_type_ref(), Some(&LogicalType::Json));
        leaf("array.list.element.list.element");
        leaf("hstore.key_value.key");
        leaf("hstore.key_value.value");
    }
}
