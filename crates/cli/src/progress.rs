//! The display on standard error while a query runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use indicatif::{DecimalBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use merganser::{QueryStream, ScanProgress, ShardProgress, ShardState};

use crate::failure::is_watched;

/// Quick queries show nothing.
const DELAY: Duration = Duration::from_millis(400);

/// How often the display is drawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many shards get a line; with more, only the sum of all is shown.
const SHARD_LINES: usize = 16;

/// Shows how far a scan has come: a line for each shard, and one for all.
///
/// Clones are the same display.
#[derive(Clone)]
pub(crate) struct Display {
    lines: MultiProgress,
    scan: ScanProgress,
    over: Arc<AtomicBool>,
}

impl Display {
    /// A display of this scan, if someone is watching.
    pub(crate) fn new(scan: ScanProgress, quiet: bool) -> Self {
        Self {
            lines: MultiProgress::new(),
            scan,
            over: Arc::new(AtomicBool::new(quiet || !is_watched())),
        }
    }

    /// Draws again and again, until [`clear`](Self::clear) is called; never ends by itself.
    pub(crate) async fn run(&self) -> Infallible {
        let started = Instant::now();
        tokio::time::sleep(DELAY).await;
        let mut tick = tokio::time::interval(INTERVAL);
        let mut bars: Vec<ProgressBar> = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let shards = self.scan.shards();
            let mut texts = Vec::new();
            if shards.len() <= SHARD_LINES {
                texts.extend(shards.iter().map(shard_line));
            }
            texts.push(total_line(&shards, started.elapsed()));
            while bars.len() < texts.len() {
                bars.push(self.lines.add(line()));
            }
            for (bar, text) in bars.iter().zip(texts) {
                bar.set_message(text);
            }
            tick.tick().await;
        }
        std::future::pending().await
    }

    /// Takes the display off the terminal, for good.
    pub(crate) fn clear(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            // A terminal that cannot be written to shows nothing that would have to go.
            let _ = self.lines.clear();
            self.lines
                .set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
    }

    /// Clears the display when the first rows are there: they go to the same terminal.
    pub(crate) fn until_first_rows(&self, mut rows: QueryStream) -> QueryStream {
        let display = self.clone();
        let schema = rows.schema();
        let batches = stream::poll_fn(move |context| {
            let next = rows.poll_next_unpin(context);
            if next.is_ready() {
                display.clear();
            }
            next
        });
        QueryStream::new(schema, batches)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // The last clone: after a failure or an interrupt, nothing of the display stays.
        if Arc::strong_count(&self.over) == 1 {
            self.clear();
        }
    }
}

fn line() -> ProgressBar {
    // The width is cut to that of the terminal. The template is ours, so it cannot be wrong.
    let style = ProgressStyle::with_template("{wide_msg}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn shard_line(shard: &ShardProgress) -> String {
    let state = match shard.state {
        ShardState::Waiting => "waiting",
        ShardState::Connecting => "connecting",
        ShardState::Executing => "executing",
        ShardState::Streaming => "streaming",
        ShardState::Done => "done",
        ShardState::Failed => "failed",
        _ => "busy",
    };
    // The name comes from a file and may hold anything printable.
    format!(
        "  {:<12} {state:<10} {:>14} rows {:>12}",
        shard.shard,
        HumanCount(shard.rows).to_string(),
        DecimalBytes(shard.bytes).to_string(),
    )
}

fn total_line(shards: &[ShardProgress], elapsed: Duration) -> String {
    let rows = shards.iter().map(|shard| shard.rows).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    let done = shards
        .iter()
        .filter(|shard| matches!(shard.state, ShardState::Done))
        .count();
    format!(
        "{} rows, {}, {}/s, {done} of {} shards done, {:.0} s",
        HumanCount(rows),
        DecimalBytes(bytes),
        DecimalBytes(rate(bytes, elapsed)),
        shards.len(),
        elapsed.as_secs_f64(),
    )
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> u64 {
    // Nobody needs more digits than a double has; `as` saturates.
    (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}
