//! OFFSET and LIMIT over merged rows.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::timeout;

use crate::error::Result;
use crate::stream::QueryStream;

/// What becomes of the rows behind the last one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They are read and dropped: the sessions of the shards are needed again.
    Read,
    /// The shards are cancelled, unless they are done within a moment.
    Cancel,
}

/// How long shards that were asked for no more rows than are wanted may take to say that these were
/// all. A connection that is cancelled is lost to the pool.
const LINGER: Duration = Duration::from_millis(200);

/// Leaves the first `skip` rows out, and gives at most `fetch`.
pub(crate) fn limit(rows: QueryStream, skip: u64, fetch: Option<u64>, rest: Rest) -> QueryStream {
    if skip == 0 && fetch.is_none() {
        return rows;
    }
    let schema = rows.schema();
    let state = (Some(rows), skip, fetch);
    let batches = stream::unfold(state, move |(rows, mut skip, mut fetch)| async move {
        let mut rows = rows?;
        loop {
            if fetch == Some(0) {
                let error = end(rows, rest).await.err()?;
                return Some((Err(error), (None, 0, None)));
            }
            let batch = match rows.next().await? {
                Ok(batch) => batch,
                Err(error) => return Some((Err(error), (None, 0, None))),
            };
            let count = batch.num_rows() as u64;
            let left_out = skip.min(count);
            skip -= left_out;
            let given = fetch.map_or(count - left_out, |fetch| fetch.min(count - left_out));
            if given == 0 {
                continue;
            }
            fetch = fetch.map(|fetch| fetch - given);
            // Both are at most the rows of a batch.
            let batch = batch.slice(left_out as usize, given as usize);
            return Some((Ok(batch), (Some(rows), skip, fetch)));
        }
    });
    QueryStream::new(schema, batches)
}

async fn end(mut rows: QueryStream, rest: Rest) -> Result<()> {
    match rest {
        Rest::Read => {
            while let Some(batch) = rows.next().await {
                batch?;
            }
        }
        Rest::Cancel => {
            // Dropped when it is done, or at the end of its time.
            tokio::spawn(timeout(LINGER, async move {
                while let Some(Ok(_)) = rows.next().await {}
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::scripted::{Step, Watch, failure, no_columns, numbers, source, values};
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    fn rows(watch: &Watch, end: Vec<Step>) -> QueryStream {
        let mut steps = vec![
            Step::Batch(numbers([0, 1, 2])),
            Step::Batch(numbers([])),
            Step::Batch(numbers([3, 4])),
        ];
        steps.extend(end);
        source(numbers([]).schema(), steps, watch)
    }

    #[tokio::test]
    async fn rows_are_left_out_at_both_ends() {
        for (skip, fetch, expected) in [
            (0, None, vec![0, 1, 2, 3, 4]),
            (2, None, vec![2, 3, 4]),
            (2, Some(2), vec![2, 3]),
            (3, Some(9), vec![3, 4]),
            (0, Some(0), vec![]),
            (5, Some(1), vec![]),
            (u64::MAX, Some(u64::MAX), vec![]),
        ] {
            for rest in [Rest::Read, Rest::Cancel] {
                let limited = limit(rows(&Watch::default(), vec![]), skip, fetch, rest);
                assert_eq!(values(&limited.collect().await), expected);
            }
        }
    }

    #[tokio::test]
    async fn rows_without_columns_count_too() {
        let schema = Arc::new(Schema::empty());
        let rows = source(schema, vec![Step::Batch(no_columns(5))], &Watch::default());
        let batches = limit(rows, 1, Some(3), Rest::Read).collect().await.unwrap();
        assert_eq!(
            batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
            3
        );
    }

    #[tokio::test]
    async fn what_is_left_is_read_or_cancelled() {
        let watch = Watch::default();
        let read = limit(rows(&watch, vec![]), 0, Some(1), Rest::Read);
        assert_eq!(values(&read.collect().await), [0]);
        assert_eq!(watch.taken(), 3);

        let failed = limit(
            rows(&watch, vec![Step::Fail(failure("s0"))]),
            0,
            Some(1),
            Rest::Read,
        );
        assert_eq!(failed.collect().await.unwrap_err().shard(), Some("s0"));

        let watch = Watch::default();
        let cancelled = limit(rows(&watch, vec![Step::Hang]), 0, Some(1), Rest::Cancel);
        assert_eq!(values(&cancelled.collect().await), [0]);
        watch.until_dropped(1).await;
    }
}
