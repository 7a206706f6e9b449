use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::export::ExportOptions;
use crate::export::parquet::begin;

const BOUNDS: Bounds = Bounds {
    rows: 5_000,
    bytes: 1 << 20,
};

fn schema() -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("list", DataType::List(item), true),
    ]))
}

/// Batches of all sizes, of which some columns are slower than others.
fn batches() -> Vec<RecordBatch> {
    let sizes = [1, 2_048, 3, 10_000, 0, 777];
    let mut first = 0;
    let mut batches = Vec::new();
    for rows in sizes.into_iter().cycle().take(30) {
        let numbers = first..first + rows;
        let texts = numbers
            .clone()
            .map(|n| (n % 3 != 0).then(|| format!("{:x}", n * n)));
        let mut lists = ListBuilder::new(StringBuilder::new());
        for n in numbers.clone() {
            lists.append_value((0..n % 4).map(|k| Some(format!("{}", n * k))));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(numbers)),
            Arc::new(StringArray::from_iter(texts)),
            Arc::new(lists.finish()),
        ];
        batches.push(RecordBatch::try_new(schema(), columns).unwrap());
        first += rows;
    }
    batches
}

fn encoder(workers: usize, out: &mut Vec<u8>) -> Encoder<&mut Vec<u8>> {
    let (file, factory) = begin(out, schema(), &ExportOptions::new()).unwrap();
    let workers = Arc::new(Workers::new(workers));
    Encoder::new(file, factory, schema(), BOUNDS, workers)
}

#[test]
fn the_bytes_do_not_depend_on_who_was_faster() {
    let encoded = |workers| {
        let mut out = Vec::new();
        let mut encoder = encoder(workers, &mut out);
        for batch in batches() {
            encoder.write(&batch).unwrap();
        }
        let metadata = encoder.close().unwrap();
        assert!(metadata.num_row_groups() > 10);
        let rows = batches().iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(metadata.file_metadata().num_rows(), rows as i64);
        let largest = metadata.row_groups().iter().map(|group| group.num_rows());
        assert!(largest.max().unwrap() <= BOUNDS.rows as i64);
        out
    };
    let alone = encoded(1);
    for workers in [2, 3, 8] {
        assert!(encoded(workers) == alone, "{workers} workers");
    }
}

#[test]
fn rows_keep_their_order() {
    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let mut out = Vec::new();
    let mut encoder = encoder(3, &mut out);
    for batch in batches() {
        encoder.write(&batch).unwrap();
    }
    encoder.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(out)).unwrap();
    let read: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let (read, written) = (
        concat_batches(&read[0].schema(), &read).unwrap(),
        concat_batches(&schema(), &batches()).unwrap(),
    );
    assert_eq!(read.num_rows(), written.num_rows());
    for (read, written) in read.columns().iter().zip(written.columns()).take(2) {
        assert_eq!(read, written);
    }
    let lists = |batch: &RecordBatch| batch.column(2).as_list::<i32>().values().clone();
    assert_eq!(&lists(&read), &lists(&written));
}

#[test]
fn what_fails_in_a_thread_is_told_once_and_ends_all() {
    let mut out = Vec::new();
    let mut encoder = encoder(2, &mut out);
    let good = batches().remove(1);
    encoder.write(&good).unwrap();
    // A column of a type that its encoder does not expect.
    let wrong = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("list", DataType::Utf8, true),
    ]);
    let mut columns = good.columns().to_vec();
    columns[2] = columns[1].clone();
    let wrong = RecordBatch::try_new(Arc::new(wrong), columns).unwrap();
    let told = catch_unwind(AssertUnwindSafe(|| {
        encoder.write(&wrong)?;
        for _ in 0..1_000 {
            encoder.write(&good)?;
        }
        Ok::<_, ParquetError>(())
    }));
    assert!(!matches!(told, Ok(Ok(()))));
}

#[test]
fn a_panic_of_a_thread_is_one_of_the_writer() {
    let signal = Signal::default();
    signal.fail(Failure::Panic(Box::new("broken")));
    signal.fail(Failure::Error(ParquetError::General("second".to_owned())));
    let panic = catch_unwind(AssertUnwindSafe(|| signal.check())).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "broken");
    let again = signal.wait(|| true).unwrap_err();
    assert!(again.to_string().contains("failed before"), "{again}");
}
