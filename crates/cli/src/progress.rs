//! The display on standard error while a query runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::Term;
use futures::StreamExt;
use futures::stream;
use indicatif::{
    DecimalBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
    TermLike,
};
use merganser::{QueryStream, ScanProgress, ShardProgress, ShardState, StepProgress};

use crate::failure::is_watched;
use crate::terminal::Unfilled;

/// Quick queries show nothing.
const DELAY: Duration = Duration::from_millis(400);

/// How often the display is drawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// The most often that the terminal is drawn on, in a second.
const HERTZ: u8 = 20;

/// How many shards get a line; with more, only the sum of all is shown.
const SHARD_LINES: usize = 16;

/// Shows how far a scan has come: a line for each shard, and one for all. When it is dropped, nothing
/// of it stays on the terminal: also after a failure or an interrupt, and although a thread may hold
/// the stream that [`until_first_rows`](Self::until_first_rows) gave a little longer.
pub(crate) struct Display {
    scan: ScanProgress,
    screen: Screen,
}

/// The lines on the terminal. Clones are the same lines.
#[derive(Clone)]
struct Screen {
    lines: MultiProgress,
    over: Arc<AtomicBool>,
}

impl Screen {
    fn clear(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            // A terminal that cannot be written to shows nothing that would have to go.
            let _ = self.lines.clear();
            self.lines.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

impl Display {
    /// A display of this scan, if someone is watching.
    pub(crate) fn new(scan: ScanProgress, quiet: bool) -> Self {
        Self::on(Term::buffered_stderr(), scan, quiet || !is_watched())
    }

    fn on(terminal: impl TermLike + 'static, scan: ScanProgress, over: bool) -> Self {
        let target = match over {
            true => ProgressDrawTarget::hidden(),
            false => {
                ProgressDrawTarget::term_like_with_hz(Box::new(Unfilled::new(terminal)), HERTZ)
            }
        };
        Self {
            scan,
            screen: Screen {
                lines: MultiProgress::with_draw_target(target),
                over: Arc::new(AtomicBool::new(over)),
            },
        }
    }

    /// Draws again and again, until [`clear`](Self::clear) is called; never ends by itself.
    pub(crate) async fn run(&self) -> Infallible {
        let started = Instant::now();
        tokio::time::sleep(DELAY).await;
        let mut tick = tokio::time::interval(INTERVAL);
        let mut bars: Vec<ProgressBar> = Vec::new();
        while !self.screen.over.load(Ordering::Relaxed) {
            let shards = self.scan.shards();
            let mut texts = Vec::new();
            if shards.len() <= SHARD_LINES {
                texts.extend(shards.iter().map(shard_line));
            }
            texts.push(total_line(&shards, &self.scan.steps(), started.elapsed()));
            while bars.len() < texts.len() {
                bars.push(self.screen.lines.add(line()));
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
        self.screen.clear();
    }

    /// Clears the display when the first rows are there: they go to the same terminal.
    pub(crate) fn until_first_rows(&self, rows: QueryStream) -> QueryStream {
        let screen = self.screen.clone();
        let schema = rows.schema();
        rows.transform(schema, |mut rows| {
            stream::poll_fn(move |context| {
                let next = rows.poll_next_unpin(context);
                if next.is_ready() {
                    screen.clear();
                }
                next
            })
        })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A line without anything in it yet.
pub(crate) fn line() -> ProgressBar {
    // The template is ours, so it cannot be wrong.
    let style = ProgressStyle::with_template("{msg}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn shard_line(shard: &ShardProgress) -> String {
    let state = match shard.state {
        ShardState::Waiting => "waiting",
        ShardState::Connecting => "connecting",
        ShardState::Describing => "describing",
        ShardState::Ready => "ready",
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

fn total_line(shards: &[ShardProgress], steps: &[StepProgress], elapsed: Duration) -> String {
    let rows = shards.iter().map(|shard| shard.rows).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    format!(
        "{} rows, {}, {}/s, {}, {:.0} s",
        HumanCount(rows),
        DecimalBytes(bytes),
        DecimalBytes(rate(bytes, elapsed)),
        shards_done(
            &states(shards),
            &steps
                .iter()
                .map(|step| states(&step.shards))
                .collect::<Vec<_>>()
        ),
        elapsed.as_secs_f64(),
    )
}

/// How many shards are done. A shard that was may have more to do in the next step, so with several
/// steps these are the shards of the step that runs, which is named: the count never goes back.
fn shards_done(shards: &[ShardState], steps: &[Vec<ShardState>]) -> String {
    let begun = steps.iter().rposition(|step| !step.is_empty());
    let (shards, step) = match begun {
        Some(index) if steps.len() > 1 => (
            &*steps[index],
            format!("step {} of {}: ", index + 1, steps.len()),
        ),
        _ => (shards, String::new()),
    };
    let done = shards.iter().filter(|state| **state == ShardState::Done);
    format!("{step}{} of {} shards done", done.count(), shards.len())
}

fn states(shards: &[ShardProgress]) -> Vec<ShardState> {
    shards.iter().map(|shard| shard.state).collect()
}

/// Bytes per second.
pub(crate) fn rate(bytes: u64, elapsed: Duration) -> u64 {
    // Nobody needs more digits than a double has; `as` saturates.
    (bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use merganser::arrow::datatypes::Schema;

    use super::*;

    #[test]
    fn the_count_of_shards_never_goes_back() {
        use ShardState::{Connecting, Done, Executing, Waiting};
        let whole = [Done, Executing];
        assert_eq!(shards_done(&whole, &[]), "1 of 2 shards done");
        assert_eq!(
            shards_done(&whole, &[vec![Done, Done]]),
            "1 of 2 shards done"
        );
        // In the finish, shard 0 has more to do.
        let steps = [vec![Done, Done], vec![Executing], vec![]];
        assert_eq!(
            shards_done(&[Executing, Done], &steps),
            "step 2 of 3: 0 of 1 shards done"
        );
        let steps = [vec![Connecting, Waiting], vec![]];
        assert_eq!(
            shards_done(&[Connecting, Waiting], &steps),
            "step 1 of 2: 0 of 2 shards done"
        );
    }

    /// A terminal: lines, and where the cursor is.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<(Vec<String>, usize)>>);

    impl Terminal {
        fn put(&self, text: &str) -> io::Result<()> {
            let (lines, row) = &mut *self.0.lock().unwrap();
            for (index, part) in text.split('\n').enumerate() {
                *row += index.min(1);
                if lines.len() <= *row {
                    lines.resize(*row + 1, String::new());
                }
                lines[*row].push_str(part.trim_matches('\r'));
            }
            Ok(())
        }

        fn text(&self) -> String {
            self.0.lock().unwrap().0.join("\n")
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            200
        }

        fn height(&self) -> u16 {
            50
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            let row = &mut self.0.lock().unwrap().1;
            *row = row.saturating_sub(n);
            Ok(())
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().1 += n;
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text)?;
            self.put("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            let (lines, row) = &mut *self.0.lock().unwrap();
            if let Some(line) = lines.get_mut(*row) {
                line.clear();
            }
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_stays_on_the_terminal_when_the_work_is_dropped() {
        let terminal = Terminal::default();
        let display = Display::on(terminal.clone(), ScanProgress::new(), false);
        let never = QueryStream::new(Arc::new(Schema::empty()), stream::pending());
        // The stream of a writer that a signal does not stop at once.
        let held = display.until_first_rows(never);
        let drawn = async {
            while !terminal.text().contains("shards done") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // There is room for what the terminal echoes.
            assert!(terminal.text().ends_with(" s"), "{:?}", terminal.text());
        };
        tokio::select! {
            () = drawn => {}
            never = display.run() => match never {},
        }
        drop(display);
        assert_eq!(terminal.text().trim(), "");
        drop(held);
    }
}
