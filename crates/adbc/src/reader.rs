//! The rows of an execution, as a stream of Arrow's C data interface takes them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use adbc_core::error::{Result, Status};
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::{ArrowError, Result as ArrowResult};
use merganser::arrow;
use merganser::blocking::QueryReader;

use crate::engine::OfProcess;
use crate::error::{from_library, refusal, status, text};
use crate::parameters::Values;
use crate::request::Request;
use crate::running::Run;

/// The rows of a request; where several rows of values were bound, those of one execution after the
/// other. Each execution begins when the rows before are read. Dropping it cancels what runs.
pub(crate) struct Reader {
    schema: SchemaRef,
    rows: OfProcess<Rows>,
    run: Option<Run>,
}

struct Rows {
    current: QueryReader,
    request: Request,
    values: vec::IntoIter<Values>,
}

impl Reader {
    /// Starts the request with the first of these values.
    pub(crate) fn start(
        request: Request,
        first: Values,
        rest: vec::IntoIter<Values>,
        run: Run,
    ) -> Result<Self> {
        let current = request.clone().with_params(first).stream();
        let current = current.map_err(from_library)?;
        Ok(Self {
            schema: current.schema(),
            rows: OfProcess::new(Rows {
                current,
                request,
                values: rest,
            }),
            run: Some(run),
        })
    }

    /// The next batch; `None` after the last, and after an error.
    pub(crate) fn next_batch(&mut self) -> ArrowResult<Option<RecordBatch>> {
        if self.rows.is_over() {
            return Ok(None);
        }
        let schema = &self.schema;
        let next = match self.rows.get_mut() {
            Ok(rows) => caught(|| rows.next_batch(schema)),
            Err(error) => Err(ArrowError::from_external_error(error.message.into())),
        };
        if !matches!(next, Ok(Some(_))) {
            self.rows.give_up();
            self.run = None;
        }
        next
    }
}

impl Rows {
    fn next_batch(&mut self, schema: &SchemaRef) -> ArrowResult<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.current.next_batch().map_err(|error| told(&error))? {
                return Ok(Some(batch));
            }
            let Some(values) = self.values.next() else {
                return Ok(None);
            };
            let next = self.request.clone().with_params(values).stream();
            self.current = next.map_err(|error| told(&error))?;
            if self.current.schema() != *schema {
                return Err(ArrowError::SchemaError(
                    "the columns of the query changed between two rows of its parameters"
                        .to_owned(),
                ));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = ArrowResult<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Nothing but a text and an errno arrives: EIO where a server, the network or the user ended it.
fn told(error: &merganser::Error) -> ArrowError {
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
fn caught<T>(work: impl FnOnce() -> ArrowResult<T>) -> ArrowResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let error = refusal(
            Status::Internal,
            format!(
                "this is a fault of merganser, please report it: {}",
                text.unwrap_or_default()
            ),
        );
        Err(ArrowError::from_external_error(error.message.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use merganser::ErrorKind;

    #[test]
    fn a_panic_is_an_error() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let error = caught::<()>(|| panic!("at {}\0", 7)).unwrap_err();
        std::panic::set_hook(hook);
        let expected =
            "External error: this is a fault of merganser, please report it: at 7\u{fffd}";
        assert_eq!(error.to_string(), expected);
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn a_text_in_a_stream_holds_everything() {
        let error = merganser::Error::new(ErrorKind::Connect, "gone\0")
            .with_shard("s2")
            .with_hint("look");
        let told = told(&error);
        assert!(matches!(told, ArrowError::IoError(_, _)), "{told:?}");
        let text = "Io error: shard \"s2\": gone\u{fffd}\nhint: look";
        assert_eq!(told.to_string(), text);
    }
}
