use std::time::{Duration, Instant};

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, Schema};
use tokio::sync::Notify;

use super::*;
use crate::error::ErrorKind;
use crate::merge::collect;
use crate::merge::scripted::{Step, Watch, batch, failure, no_columns, numbers, source, values};

fn shard(values: std::ops::Range<i64>, watch: &Watch) -> QueryStream {
    let steps = values.map(|n| Step::Batch(numbers([n]))).collect();
    source(numbers([]).schema(), steps, watch)
}

fn steps(steps: Vec<Step>, watch: &Watch) -> QueryStream {
    source(numbers([]).schema(), steps, watch)
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_order_is_that_of_the_streams() {
    let watch = Watch::default();
    let slow = vec![
        Step::Wait(Duration::from_millis(20)),
        Step::Batch(numbers([1, 2])),
        Step::Wait(Duration::from_millis(20)),
        Step::Batch(numbers([3])),
    ];
    let streams = vec![
        steps(slow, &watch),
        steps(vec![], &watch),
        shard(4..9, &watch),
    ];
    let rows = union(streams, Order::Shard, 1).unwrap().collect().await;
    assert_eq!(values(&rows), (1..9).collect::<Vec<_>>());
    assert_eq!(watch.dropped(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_shard_is_read_while_the_first_has_rows_still() {
    let watch = Watch::default();
    let signal = Arc::new(Notify::new());
    let first = vec![
        Step::Batch(numbers([1])),
        Step::Until(signal.clone()),
        Step::Batch(numbers([2])),
    ];
    // More than all queues hold.
    let streams = vec![steps(first, &watch), shard(100..200, &watch)];
    let mut stream = union(streams, Order::default(), 8 * 1024).unwrap();
    let mut rows = Vec::new();
    while !rows.contains(&199) {
        rows.extend(values(&Ok(vec![stream.next().await.unwrap().unwrap()])));
    }
    signal.notify_one();
    rows.extend(values(&stream.collect().await));
    // The rows of one shard keep their order.
    let of = |rows: &[i64], last: bool| -> Vec<i64> {
        let rows = rows.iter().filter(|row| (**row >= 100) == last);
        rows.copied().collect()
    };
    assert_eq!(of(&rows, false), [1, 2]);
    assert_eq!(of(&rows, true), (100..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shard_order_a_shard_reads_ahead_within_all_of_the_memory() {
    let watch = Watch::default();
    let signal = Arc::new(Notify::new());
    let first = || {
        vec![
            Step::Until(signal.clone()),
            Step::Batch(numbers([1])),
            Step::Batch(numbers([2])),
        ]
    };
    // 25 KiB are this shard's own, and each batch counts as one.
    let streams = vec![
        steps(first(), &Watch::default()),
        shard(100..160, &watch),
        shard(200..205, &Watch::default()),
        shard(300..305, &Watch::default()),
    ];
    let mut stream = union(streams, Order::Shard, 200 * 1024).unwrap();
    let mut rows = {
        let mut next = stream.next();
        tokio::select! {
            _ = &mut next => panic!("the first shard has no rows yet"),
            () = watch.until_taken(60) => signal.notify_one(),
        }
        values(&Ok(vec![next.await.unwrap().unwrap()]))
    };
    rows.extend(values(&stream.collect().await));
    let expected: Vec<_> = (1..3)
        .chain(100..160)
        .chain(200..205)
        .chain(300..305)
        .collect();
    assert_eq!(rows, expected);

    // A shard that has taken all that is shared does not keep the one whose turn it is from going on.
    let streams = vec![steps(first(), &watch), shard(100..160, &watch)];
    let mut stream = union(streams, Order::Shard, 8 * 1024).unwrap();
    signal.notify_one();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(values(&Ok(vec![first])), [1]);
    assert_eq!(values(&stream.collect().await).len(), 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_shards() {
    for order in [Order::Shard, Order::FirstCome] {
        let watch = Watch::default();
        let streams = (0..64)
            .map(|i| shard(i * 10..i * 10 + 10, &watch))
            .collect();
        let rows = union(streams, order, 2000).unwrap().collect().await;
        let mut rows = values(&rows);
        if order == Order::FirstCome {
            rows.sort_unstable();
        }
        assert_eq!(rows, (0..640).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_any_place_of_any_shard_is_the_answer() {
    for order in [Order::Shard, Order::FirstCome] {
        for failing in 0..3 {
            for place in 0..4 {
                let watch = Watch::default();
                let streams = (0..3)
                    .map(|index| {
                        let mut script: Vec<_> =
                            (0..3).map(|n| Step::Batch(numbers([n]))).collect();
                        if index == failing {
                            script.insert(place, Step::Fail(failure("s1")));
                        }
                        steps(script, &watch)
                    })
                    .collect();
                let error = union(streams, order, 1 << 20).unwrap().collect().await;
                let error = error.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Server);
                assert_eq!(error.shard(), Some("s1"));
                assert_eq!(error.phase(), Some(Phase::Stream));
                assert_eq!(error.sql_state(), Some("57P01"));
                watch.until_dropped(3).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_later_shard_overtakes_an_earlier_shard_that_hangs() {
    let watch = Watch::default();
    let first = vec![Step::Batch(numbers([1])), Step::Hang];
    let second = vec![
        Step::Wait(Duration::from_millis(50)),
        Step::Fail(failure("s1")),
    ];
    let third = vec![Step::Batch(numbers([3])), Step::Hang];
    let streams = vec![
        steps(first, &watch),
        steps(second, &watch),
        steps(third, &watch),
    ];
    let mut stream = union(streams, Order::Shard, 1 << 20).unwrap();
    let began = Instant::now();
    assert!(stream.next().await.unwrap().is_ok());
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(error.shard(), Some("s1"));
    assert!(stream.next().await.is_none());
    // The stream is still held: the error alone ends the other shards.
    watch.until_dropped(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_overtakes_batches_that_wait_in_a_queue() {
    let watch = Watch::default();
    let second = vec![
        Step::Wait(Duration::from_millis(30)),
        Step::Fail(failure("s1")),
    ];
    let streams = vec![shard(0..100, &watch), steps(second, &watch)];
    let mut stream = union(streams, Order::Shard, 1 << 20).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_is_not_the_end_of_its_rows() {
    for order in [Order::Shard, Order::FirstCome] {
        let watch = Watch::default();
        let broken = vec![Step::Batch(numbers([1])), Step::Panic];
        let streams = vec![steps(broken, &watch), shard(2..4, &watch)];
        let error = union(streams, order, 1 << 20).unwrap().collect().await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_stream_drops_the_sources() {
    for order in [Order::Shard, Order::FirstCome] {
        let watch = Watch::default();
        let streams = (0..5)
            .map(|_| steps(vec![Step::Batch(numbers([1])), Step::Hang], &watch))
            .collect();
        let mut stream = union(streams, order, 1 << 20).unwrap();
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(watch.dropped(), 0);
        drop(stream);
        watch.until_dropped(5).await;
    }
    // Also one that was never polled.
    let watch = Watch::default();
    drop(
        union(
            vec![shard(0..1, &watch), shard(0..1, &watch)],
            Order::Shard,
            1,
        )
        .unwrap(),
    );
    assert_eq!((watch.dropped(), watch.taken()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_stops_its_shard() {
    let size = numbers([1]).get_array_memory_size();
    for order in [Order::Shard, Order::FirstCome] {
        let watch = Watch::default();
        let streams = vec![
            steps(vec![Step::Hang], &Watch::default()),
            shard(0..1000, &watch),
        ];
        // Two for each of the two, and four for whoever needs them.
        let mut stream = union(streams, order, 8 * 1024).unwrap();
        let polled = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
        assert_eq!(polled.is_ok(), order == Order::FirstCome);
        // Six in the queue (each counts as a kibibyte), one that waits, one that was read.
        assert!(size <= 1024);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(watch.taken() <= 8, "{} batches were taken", watch.taken());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_the_queue_goes_through() {
    let watch = Watch::default();
    let large = || Step::Batch(numbers(0..10_000));
    let streams = vec![
        steps(vec![large(), large()], &watch),
        steps(vec![large(), large()], &watch),
    ];
    let rows = union(streams, Order::Shard, 1).unwrap().collect().await;
    assert_eq!(values(&rows).len(), 40_000);
}

#[tokio::test]
async fn rows_without_columns_are_counted() {
    let watch = Watch::default();
    let rows = |count| {
        let schema = no_columns(0).schema();
        source(schema, vec![Step::Batch(no_columns(count))], &watch)
    };
    let batches = collect(vec![rows(3), rows(0), rows(4)], Order::Shard).await;
    let count: usize = batches.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(count, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_reads_all_shards_at_the_same_time() {
    let watch = Watch::default();
    let streams = (0..8)
        .map(|n| {
            let wait = Step::Wait(Duration::from_millis(100));
            steps(vec![wait, Step::Batch(numbers([n]))], &watch)
        })
        .collect();
    let began = Instant::now();
    let rows = collect(streams, Order::Shard).await;
    assert_eq!(values(&rows), (0..8).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_millis(600));
}

#[tokio::test]
async fn one_stream_needs_no_task() {
    let watch = Watch::default();
    // Outside a runtime this would panic if a task were started.
    let stream = union(vec![shard(0..3, &watch)], Order::Shard, 1).unwrap();
    let rows = std::thread::spawn(|| futures::executor::block_on(stream.collect()));
    assert_eq!(values(&rows.join().unwrap()), [0, 1, 2]);
}

#[test]
fn no_stream_and_different_schemas_are_refused() {
    let error = union(vec![], Order::Shard, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);

    let watch = Watch::default();
    let of = |field: Field| source(Arc::new(Schema::new(vec![field])), vec![], &watch);
    let bigint = || shard(0..1, &watch);
    let message = |other: QueryStream| {
        let error = union(vec![bigint(), bigint(), other], Order::Shard, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.phase(), Some(Phase::Merge));
        error.message().to_owned()
    };
    let array = Arc::new(Int32Array::from(vec![1]));
    let int4 = source(batch(vec![("n", array)]).schema(), vec![], &watch);
    assert_eq!(
        message(int4),
        "the shards answer with different columns: column 1 is \"n\" Int64 on shard 1, \"n\" Int32 on shard 3"
    );
    assert!(message(of(Field::new("m", DataType::Int64, true))).contains("\"m\" Int64 on shard 3"));
    assert!(message(of(Field::new("n", DataType::Int64, false))).contains("nullable"));
    let tagged = Field::new("n", DataType::Int64, true)
        .with_metadata([("k".to_owned(), "v".to_owned())].into());
    assert!(message(of(tagged)).contains("metadata"));
    let none = source(no_columns(0).schema(), vec![], &watch);
    assert!(message(none).contains("shard 1 has 1 columns, shard 3 has 0"));
}
