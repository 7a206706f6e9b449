//! Standard output, if there is one.
//!
//! Rust's runtime opens `/dev/null` in place of a standard output that is closed (`>&-`), before `main` and without
//! a word: an answer would be lost, and the program say that all is well. What it opened is not to be told from
//! what others give on purpose: Python's `subprocess.DEVNULL` and Node's `ignore` are `/dev/null` for reading and
//! writing, too. So this looks before the runtime does, as the C library lets it on Linux; elsewhere nobody looks.

use std::io::{self, Write};

use merganser::Error;
use merganser::export::{Destination, Format, Output, write_error};

/// Writes to standard output.
///
/// # Errors
/// As [`write_error`] makes it.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Error> {
    check()?;
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(unwritable)
}

/// Opens an output; standard output only if there is one, unless nothing is to be written.
///
/// # Errors
/// As [`Destination::open`]; as [`check`].
pub(crate) fn open(destination: &Destination, format: Format) -> Result<Output, Error> {
    if *destination == Destination::Stdout && format != Format::None {
        check()?;
    }
    destination.open()
}

/// Makes sure that there is a standard output.
///
/// # Errors
/// As the first write would have it.
pub(crate) fn check() -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    if at_start::was_closed() {
        return Err(unwritable(rustix::io::Errno::BADF.into()).with_hint(
            "it was closed when the program began (>&-): write to a file with --output, or to /dev/null",
        ));
    }
    Ok(())
}

pub(crate) fn unwritable(error: io::Error) -> Error {
    write_error("standard output", error)
}

#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "where a section of the program begins is for the linker to know; what is called is safe"
)]
mod at_start {
    use std::sync::atomic::{AtomicBool, Ordering};

    static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    pub(super) fn was_closed() -> bool {
        WAS_CLOSED.load(Ordering::Relaxed)
    }

    /// The standard library is not set up yet: of that, this takes the number of the file alone.
    extern "C" fn look() {
        let flags = rustix::io::fcntl_getfd(std::io::stdout());
        WAS_CLOSED.store(flags.is_err(), Ordering::Relaxed);
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;
}
