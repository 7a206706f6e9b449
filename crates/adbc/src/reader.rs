//! The rows of an execution, as a stream of Arrow's C data interface takes them.

use std::io;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use adbc_core::error::Status;
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use merganser::blocking::QueryReader;
use merganser::{Error, ErrorKind, Result, arrow};

use crate::engine::OfProcess;
use crate::error::{status, text};
use crate::parameters::Values;
use crate::request::Request;
use crate::running::Run;

/// The rows of a request or a partition; where several rows of values were bound, those of one execution after the
/// other. Each execution begins when the rows before are read. Dropping it cancels what runs.
pub(crate) struct Reader {
    schema: SchemaRef,
    /// What was read ahead.
    first: Option<RecordBatch>,
    rows: OfProcess<Rows>,
    run: Option<Run>,
}

struct Rows {
    current: QueryReader,
    /// What follows, each begun when its turn comes.
    more: Box<dyn Iterator<Item = Result<QueryReader>> + Send>,
}

impl Reader {
    /// Starts the request with the first of these values, and waits for its first batch: until then
    /// an error arrives whole, later as a text.
    pub(crate) fn start(
        request: Request,
        first: Values,
        rest: vec::IntoIter<Values>,
        run: Run,
    ) -> Result<Self> {
        let current = request.clone().with_params(first).stream()?;
        let more = rest.map(move |values| request.clone().with_params(values).stream());
        Self::read(current, Box::new(more), run)
    }

    /// As [`start`](Self::start), for rows that come already and that nothing follows.
    pub(crate) fn of(rows: QueryReader, run: Run) -> Result<Self> {
        Self::read(rows, Box::new(iter::empty()), run)
    }

    fn read(
        current: QueryReader,
        more: Box<dyn Iterator<Item = Result<QueryReader>> + Send>,
        run: Run,
    ) -> Result<Self> {
        let mut reader = Self {
            schema: current.schema(),
            first: None,
            rows: OfProcess::new(Rows { current, more }),
            run: Some(run),
        };
        reader.first = reader.next_batch()?;
        Ok(reader)
    }

    /// The next batch; `None` after the last, and after an error.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.rows.is_over() {
            return Ok(None);
        }
        let schema = &self.schema;
        let rows = self.rows.get_mut();
        let next = rows.and_then(|rows| caught(|| rows.next_batch(schema)));
        if !matches!(next, Ok(Some(_))) {
            self.rows.give_up();
            self.run = None;
        }
        next
    }
}

impl Rows {
    fn next_batch(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.current.next_batch()? {
                return Ok(Some(batch));
            }
            let Some(next) = self.more.next() else {
                return Ok(None);
            };
            self.current = next?;
            if self.current.schema() != *schema {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the columns of the query changed between two rows of its parameters",
                ));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().map_err(|error| told(&error)).transpose()
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Nothing but a text and an errno arrives: EIO where a server, the network or the user ended it.
fn told(error: &Error) -> ArrowError {
    let text = text(error);
    match status(error) {
        Status::IO | Status::Cancelled | Status::Timeout => {
            let source = io::Error::other(text.clone());
            ArrowError::IoError(text, source)
        }
        Status::NotImplemented => ArrowError::NotYetImplemented(text),
        _ => ArrowError::from_external_error(text.into()),
    }
}

/// A panic would end the whole process: C calls this.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let error = Error::new(ErrorKind::Internal, text.unwrap_or_default());
        Err(error.with_hint("this is a fault of merganser: please report it with the query"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = caught::<()>(|| panic!("at {}", 7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), "at 7");
        assert!(error.hint().unwrap().contains("please report it"));
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn a_text_in_a_stream_holds_everything() {
        let error = Error::new(ErrorKind::Connect, "gone\0")
            .with_shard("s2")
            .with_hint("look");
        let told = told(&error);
        assert!(matches!(told, ArrowError::IoError(_, _)), "{told:?}");
        let text = "Io error: shard \"s2\": gone\u{fffd}\nhint: look";
        assert_eq!(told.to_string(), text);
    }
}
