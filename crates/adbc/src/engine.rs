//! What belongs to the process that made it.

use std::mem;
use std::process;

use merganser::{Error, ErrorKind, Result, blocking};

/// The cluster of a database.
pub(crate) type Engine = OfProcess<blocking::Cluster>;

/// A value with threads and sockets, which a `fork` does not copy whole: the child has the sockets,
/// and no thread that serves them.
pub(crate) struct OfProcess<T> {
    process: u32,
    /// `None` once it is given up.
    value: Option<T>,
}

impl<T> OfProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: process::id(),
            value: Some(value),
        }
    }

    /// The value, where it can be used.
    pub(crate) fn get(&self) -> Result<&T> {
        self.check()?;
        self.value.as_ref().ok_or_else(given_up)
    }

    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self) -> Result<&mut T> {
        self.check()?;
        self.value.as_mut().ok_or_else(given_up)
    }

    /// Whether it was given up.
    pub(crate) fn is_over(&self) -> bool {
        self.value.is_none()
    }

    /// Drops the value. In a child of its process it is forgotten: dropping it would say goodbye on
    /// the sockets of the parent.
    pub(crate) fn give_up(&mut self) {
        let value = self.value.take();
        if self.process != process::id() {
            mem::forget(value);
        }
    }

    fn check(&self) -> Result<()> {
        match self.process == process::id() {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the database was opened by process {}, and connections do not survive fork()",
                    self.process
                ),
            )
            .with_hint(
                "open the database in the child, or start processes by spawn or forkserver",
            )),
        }
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::Usage, "the rows have been read already")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told<'a>(&'a std::cell::Cell<bool>);

    impl Drop for Told<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_child_uses_nothing_of_its_parent_and_drops_nothing() {
        let dropped = std::cell::Cell::new(false);
        let mut own = OfProcess::new(Told(&dropped));
        assert!(own.get_mut().is_ok());
        // As if this process were a child.
        own.process += 1;
        let error = own.get().err().unwrap();
        assert!(error.message().contains("do not survive fork()"), "{error}");
        drop(own);
        assert!(!dropped.get());
        drop(OfProcess::new(Told(&dropped)));
        assert!(dropped.get());
    }
}
