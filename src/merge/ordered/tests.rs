use std::time::Duration;

use arrow::array::{BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::Int32Type;

use super::*;
use crate::merge::scripted::{Step, Watch, batch, failure, numbers, source, values};

fn column(name: &str, pg_type: &str) -> Column {
    Column::new(name, pg_type.parse().unwrap())
}

fn key(column: usize, descending: bool, nulls_first: bool) -> SortKey {
    SortKey {
        column,
        descending,
        nulls_first,
    }
}

/// The merge of streams that have these batches each.
fn merge(
    streams: Vec<Vec<RecordBatch>>,
    columns: &[Column],
    keys: &[SortKey],
    visible: usize,
) -> Result<QueryStream> {
    let types: Vec<_> = columns
        .iter()
        .map(|column| column.pg_type.clone())
        .collect();
    let comparison = Comparison::try_new(&types, columns, keys, |column| format!("c{column}"))?;
    let extra = comparison.extra.iter().map(|(_, column)| column);
    let fields: Vec<_> = columns.iter().chain(extra).map(Column::to_field).collect();
    let schema = Arc::new(Schema::new(fields));
    let streams = streams
        .into_iter()
        .enumerate()
        .map(|(index, batches)| {
            let steps = batches.into_iter().map(|batch| {
                let batch = batch.with_schema(schema.clone()).unwrap();
                Step::Batch(batch)
            });
            let stream = source(schema.clone(), steps.collect(), &Watch::default());
            (format!("s{index}"), stream)
        })
        .collect();
    ordered(streams, comparison, visible, 1 << 20, 3)
}

#[tokio::test]
async fn streams_merge_and_ties_keep_the_order_of_the_shards() {
    let columns = [column("k", "int8"), column("s", "int8")];
    let rows = |pairs: &[(i64, i64)]| {
        let keys: Int64Array = pairs.iter().map(|(key, _)| Some(*key)).collect();
        let shard: Int64Array = pairs.iter().map(|(_, shard)| Some(*shard)).collect();
        batch(vec![("k", Arc::new(keys)), ("s", Arc::new(shard))])
    };
    let streams = || {
        vec![
            vec![rows(&[(1, 0), (2, 0)]), rows(&[(2, 0), (5, 0)])],
            vec![],
            vec![
                rows(&[(2, 2), (2, 2), (2, 2), (2, 2)]),
                rows(&[]),
                rows(&[(9, 2)]),
            ],
            vec![rows(&[(0, 3), (2, 3)])],
        ]
    };
    let merged = merge(streams(), &columns, &[key(0, false, false)], 2).unwrap();
    let merged = merged.collect().await.unwrap();
    let text: Vec<_> = merged
        .iter()
        .flat_map(|batch| {
            let column = |index: usize| {
                let column = batch.column(index);
                column.as_primitive::<arrow::datatypes::Int64Type>().clone()
            };
            let pairs = column(0).iter().zip(column(1).iter()).collect::<Vec<_>>();
            pairs
                .into_iter()
                .map(|(key, shard)| format!("{}/{}", key.unwrap(), shard.unwrap()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        text.join(" "),
        "0/3 1/0 2/0 2/0 2/2 2/2 2/2 2/2 2/3 5/0 9/2"
    );
    // The second column is hidden; then both are.
    let merged = merge(streams(), &columns, &[key(0, false, false)], 1).unwrap();
    assert_eq!(merged.schema().fields().len(), 1);
    assert_eq!(values(&merged.collect().await).len(), 11);
    let merged = merge(streams(), &columns, &[key(0, false, false)], 0).unwrap();
    let rows = merged.collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 11);
}

#[tokio::test]
async fn numbers_of_floating_point_sort_as_postgresql_sorts_them() {
    let columns = [column("k", "float8"), column("n", "int4")];
    let rows = |values: Vec<Option<f64>>, from: i32| {
        let numbers: Int32Array = (from..from + values.len() as i32).map(Some).collect();
        let keys: ArrayRef = Arc::new(Float64Array::from(values));
        batch(vec![("k", keys), ("n", Arc::new(numbers))])
    };
    let negative_nan = -f64::NAN;
    // 0 and -0, and all NaN, are equal: then `n` decides.
    let streams = vec![
        vec![rows(
            vec![
                Some(-1.0),
                Some(0.0),
                Some(f64::INFINITY),
                Some(negative_nan),
                None,
            ],
            0,
        )],
        vec![rows(
            vec![Some(f64::NEG_INFINITY), Some(-0.0), Some(f64::NAN), None],
            10,
        )],
    ];
    let keys = [key(0, false, false), key(1, false, false)];
    let merged = merge(streams, &columns, &keys, 2).unwrap();
    let merged = merged.collect().await.unwrap();
    let order: Vec<_> = merged
        .iter()
        .flat_map(|batch| {
            batch
                .column(1)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(order, [10, 0, 1, 11, 2, 3, 12, 4, 13]);
    // The values are as they came.
    let zero = merged.iter().flat_map(|batch| {
        let column = batch.column(0).as_primitive::<Float64Type>().clone();
        column.iter().flatten().collect::<Vec<_>>()
    });
    assert_eq!(
        zero.filter(|value| *value == 0.0 && value.is_sign_negative())
            .count(),
        1
    );
}

#[tokio::test]
async fn labels_and_blanks_sort_as_postgresql_sorts_them() {
    let labels: Arc<[String]> = ["z", "m", "a"].map(str::to_owned).into();
    let mut mood = column("k", "text");
    mood.pg_type.shape = Shape::Enum { labels };
    let moods = |keys: &[i32]| -> ArrayRef {
        let values = Arc::new(StringArray::from(vec!["z", "m", "a"]));
        let keys = Int32Array::from(keys.to_vec());
        Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
    };
    let text = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let bools = |values: &[bool]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
    for (column, first, second, expected) in [
        (mood, moods(&[0, 2]), moods(&[1]), vec!["z", "m", "a"]),
        (
            column("k", "bpchar"),
            text(&["a ", "b  "]),
            text(&["a", "a\t", "aa"]),
            // A tab sorts before a blank would, and blanks at the end do not count.
            vec!["a ", "a", "a\t", "aa", "b  "],
        ),
        (
            column("k", "text"),
            text(&["B", "a", "ä"]),
            text(&["", "_", "é"]),
            vec!["", "B", "_", "a", "ä", "é"],
        ),
        (
            column("k", "bool"),
            bools(&[false, true]),
            bools(&[false]),
            vec!["f", "f", "t"],
        ),
    ] {
        let batches = |array: ArrayRef| vec![batch(vec![("k", array)])];
        let merged = merge(
            vec![batches(first), batches(second)],
            std::slice::from_ref(&column),
            &[key(0, false, false)],
            1,
        );
        let mut found = Vec::new();
        for batch in merged.unwrap().collect().await.unwrap() {
            let schema = batch.schema();
            let texts =
                crate::text::TextFormatter::try_new(schema.field(0), batch.column(0)).unwrap();
            for row in 0..batch.num_rows() {
                let mut text = String::new();
                texts.write(row, &mut text);
                found.push(text);
            }
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_shard_that_does_not_sort_is_an_error_that_names_it() {
    let columns = [column("n", "int8")];
    let sorted = || vec![numbers([1, 2]), numbers([3])];
    for unsorted in [
        vec![numbers([1, 3, 2])],
        vec![numbers([1, 2]), numbers([]), numbers([1])],
    ] {
        for descending in [false, true] {
            let streams = match descending {
                false => vec![sorted(), unsorted.clone()],
                true => vec![vec![numbers([3, 1])], sorted()],
            };
            let merged = merge(streams, &columns, &[key(0, descending, false)], 1).unwrap();
            let error = merged.collect().await.unwrap_err();
            assert_eq!(
                (error.kind(), error.shard()),
                (ErrorKind::Internal, Some("s1"))
            );
            assert!(error.message().contains("order of the sort keys"));
        }
    }
}

#[tokio::test]
async fn types_that_are_not_compared_are_refused() {
    for name in ["jsonb", "inet", "timetz", "\"char\"", "int4[]", "int4range"] {
        assert!(!is_orderable(&name.parse().unwrap()), "{name}");
        let columns = [column("k", name)];
        let error = merge(vec![vec![], vec![]], &columns, &[key(0, false, false)], 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
    }
    for name in [
        "int2",
        "numeric(5,2)",
        "date",
        "uuid",
        "bytea",
        "timestamptz",
        "varbit",
    ] {
        assert!(is_orderable(&name.parse().unwrap()), "{name}");
    }
    let none = merge(
        vec![vec![]],
        &[column("k", "int4")],
        &[key(1, false, false)],
        1,
    );
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn the_error_of_a_shard_does_not_wait_for_another_shard() {
    let columns = [column("n", "int8")];
    let types = [columns[0].pg_type.clone()];
    let keys = [key(0, false, false)];
    let comparison = Comparison::try_new(&types, &columns, &keys, |_| String::new()).unwrap();
    let schema = numbers([]).schema();
    let watch = Watch::default();
    let streams = vec![
        // Waited for.
        vec![Step::Batch(numbers([1])), Step::Hang],
        // Not waited for: it has rows still.
        vec![
            Step::Batch(numbers([5])),
            Step::Wait(Duration::from_millis(20)),
            Step::Fail(failure("s1")),
        ],
    ];
    let streams = streams
        .into_iter()
        .map(|steps| ("x".to_owned(), source(schema.clone(), steps, &watch)))
        .collect();
    let merged = ordered(streams, comparison, 1, 1 << 20, 100).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(5), merged.collect())
        .await
        .expect("the error comes")
        .unwrap_err();
    assert_eq!(error.shard(), Some("s1"));
    watch.until_dropped(2).await;
}
