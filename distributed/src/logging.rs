//! What the engine tells, and what we say, on standard error.
//!
//! Lines without time: whoever keeps them (systemd, Kubernetes) adds it.

use std::fmt;
use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

/// From here on, what is as grave as this is told.
pub fn begin(level: LevelFilter) {
    // A second call, which only a test could make, leaves the first in place.
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(level);
    }
}

/// Says a line to whoever started the program, and goes on where standard error is closed: nobody is left to
/// tell then, but a job has to be cancelled all the same.
pub fn say(line: impl fmt::Display) {
    // At once, so that lines of threads stay whole.
    let line = format!("{line}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        say(format_args!(
            "{} {}: {}",
            record.level(),
            record.target(),
            record.args()
        ));
    }

    fn flush(&self) {}
}
