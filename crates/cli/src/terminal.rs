//! Where the display is drawn: standard error, with room for the `^C` that a terminal echoes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::TermLike;

/// A terminal on which lines end where their text ends.
///
/// indicatif fills each line with blanks up to the right edge, so that whatever is written next is on
/// the next line. That is also where the terminal echoes `^C`, and the cursor is a line lower then
/// than indicatif thinks: when it takes its lines off the terminal, the first of them stays.
#[derive(Debug)]
pub(crate) struct Unfilled<T> {
    terminal: T,
    /// A line was ended, and the next is yet to begin.
    ended: AtomicBool,
}

impl<T> Unfilled<T> {
    pub(crate) fn new(terminal: T) -> Self {
        Self {
            terminal,
            ended: AtomicBool::new(false),
        }
    }

    /// The terminal, for something other than the next line.
    fn moved(&self) -> &T {
        self.ended.store(false, Ordering::Relaxed);
        &self.terminal
    }
}

impl<T: TermLike> TermLike for Unfilled<T> {
    fn width(&self) -> u16 {
        self.terminal.width()
    }

    fn height(&self) -> u16 {
        self.terminal.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.moved().write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            self.ended.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.ended.swap(false, Ordering::Relaxed) {
            self.terminal.write_str("\n")?;
        }
        self.terminal.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.moved().clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.terminal.flush()
    }
}
