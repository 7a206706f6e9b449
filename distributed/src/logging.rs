//! What the engine tells, on standard error.
//!
//! Lines without time: whoever keeps them (systemd, Kubernetes) adds it.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

/// From here on, what is as grave as this is told.
pub fn begin(level: LevelFilter) {
    // A second call, which only a test could make, leaves the first in place.
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(level);
    }
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
        let line = format!(
            "{} {}: {}\n",
            record.level(),
            record.target(),
            record.args()
        );
        // At once, so that lines of threads stay whole; where it is closed nobody is left to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
