//! The bytes of `COPY ... TO STDOUT (FORMAT binary)` to Arrow record batches.
//!
//! Plain code without I/O: bytes go in, in chunks of any size, and batches come out.
//!
//! ```text
//! bytes --frame--> ranges of fields, column by column --array--> one Arrow array a column
//! ```
//!
//! Two steps, so that each column is decoded in one loop over one type. To add a type: a row in
//! `types/mod.rs`, a file here, an arm in `make_decoder`.

mod array;
mod binary;
mod boolean;
mod bytes;
mod composite;
mod decimal;
mod enumeration;
mod fault;
mod frame;
mod hstore;
mod list;
mod make;
mod network;
mod offsets;
mod primitive;
mod range;
mod reader;
#[cfg(feature = "datafusion")]
mod rows;
mod string;
mod temporal;
mod vector;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use self::array::ArrayDecoder;
use self::fault::{Fault, ValueFault};
use self::frame::{FieldRange, FrameScanner, Limits};
use self::make::make_decoder;
#[cfg(feature = "datafusion")]
use self::rows::RowBytes;
#[cfg(feature = "datafusion")]
pub(crate) use self::rows::{COPY_HEADER, COPY_TRAILER, undecoded_bytes, undecoded_schema};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Column, Shape, Unrepresentable};

/// Makes a [`Decoder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DecoderBuilder {
    columns: Vec<Column>,
    batch_rows: usize,
    batch_bytes: usize,
    unrepresentable: Unrepresentable,
}

/// Rows in a batch unless set otherwise, as in DataFusion.
pub const DEFAULT_BATCH_ROWS: usize = 8192;
/// Bytes of the wire format in a batch unless set otherwise: 16 MiB.
pub const DEFAULT_BATCH_BYTES: usize = 16 << 20;
/// The most bytes in a batch. Text in Arrow has 32-bit offsets; a batch ends before any of its
/// columns could need more. (A list of booleans grows least on its way to Arrow, a `bit` string
/// most, by eight, and is checked on its own.)
const MAX_BATCH_BYTES: usize = 1 << 30;

impl DecoderBuilder {
    /// For data of these columns, in this order.
    pub fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            batch_rows: DEFAULT_BATCH_ROWS,
            batch_bytes: DEFAULT_BATCH_BYTES,
            unrepresentable: Unrepresentable::Error,
        }
    }

    /// A batch ends after this many rows; at least 1.
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// A batch ends before a row that would bring it over this many bytes of the wire format, but
    /// has at least one row; at most 1 GiB. So a column of any length is split over batches, and
    /// never outgrows the 32-bit offsets of Arrow's text and lists.
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.clamp(1, MAX_BATCH_BYTES);
        self
    }

    /// What becomes of values that Arrow cannot hold; a `numeric` that its decimal cannot hold is an
    /// error all the same. [`Unrepresentable::Text`] is a choice of
    /// column types, made before, and here the same as [`Unrepresentable::Error`].
    pub fn with_unrepresentable(mut self, policy: Unrepresentable) -> Self {
        self.unrepresentable = policy;
        self
    }

    /// The decoder, at the start of its input.
    pub fn build(self) -> Decoder {
        let schema = Schema::new(
            self.columns
                .iter()
                .map(Column::to_field)
                .collect::<Vec<_>>(),
        );
        let count = self.columns.len();
        let has_numeric_text =
            |column: &Column| matches!(column.pg_type.shape, Shape::NumericText { .. });
        let scan_rows = match self.columns.iter().any(has_numeric_text) {
            true => NUMERIC_TEXT_ROWS,
            false => usize::MAX,
        };
        Decoder {
            content: Content::Values(
                self.columns
                    .iter()
                    .map(|column| make_decoder(&column.pg_type, self.unrepresentable))
                    .collect(),
            ),
            columns: self.columns,
            schema: Arc::new(schema),
            scanner: FrameScanner::new(count),
            fields: vec![Vec::new(); count],
            carry: Vec::new(),
            scan_rows,
            batch_rows: self.batch_rows,
            batch_bytes: self.batch_bytes,
            rows_in_batch: 0,
            bytes_in_batch: 0,
            rows_before_batch: 0,
        }
    }

    /// A decoder that splits the data into rows and leaves them as they are: the schema is
    /// [`undecoded_schema`]. There has to be a column.
    #[cfg(feature = "datafusion")]
    pub(crate) fn build_undecoded(self) -> Decoder {
        Decoder {
            schema: undecoded_schema(),
            content: Content::Rows(RowBytes::default()),
            ..self.build()
        }
    }
}

/// What is made of the fields of rows.
enum Content {
    /// An array for each column.
    Values(Vec<Box<dyn ArrayDecoder>>),
    /// One array, of whole rows.
    #[cfg(feature = "datafusion")]
    Rows(RowBytes),
}

/// A fault, and the index of the column that it is about.
type ColumnFault = (usize, ValueFault);

impl Content {
    /// Appends the fields of each column, and clears them.
    fn append(
        &mut self,
        data: &[u8],
        fields: &mut [Vec<FieldRange>],
    ) -> std::result::Result<(), ColumnFault> {
        match self {
            Self::Values(decoders) => {
                for (index, (decoder, fields)) in decoders.iter_mut().zip(fields).enumerate() {
                    let appended = decoder.append(data, fields);
                    appended.map_err(|fault| (index, fault))?;
                    fields.clear();
                }
            }
            #[cfg(feature = "datafusion")]
            Self::Rows(rows) => {
                rows.append(data, fields);
                fields.iter_mut().for_each(Vec::clear);
            }
        }
        Ok(())
    }

    /// The arrays of all that was appended since the last call.
    fn finish(&mut self) -> std::result::Result<Vec<ArrayRef>, ColumnFault> {
        match self {
            Self::Values(decoders) => decoders
                .iter_mut()
                .enumerate()
                .map(|(index, decoder)| decoder.finish().map_err(|fault| (index, fault)))
                .collect(),
            #[cfg(feature = "datafusion")]
            Self::Rows(rows) => Ok(vec![rows.finish()]),
        }
    }

    /// As [`ArrayDecoder::written`], of all columns.
    fn written(&self) -> usize {
        match self {
            Self::Values(decoders) => decoders.iter().map(|decoder| decoder.written()).sum(),
            #[cfg(feature = "datafusion")]
            Self::Rows(_) => 0,
        }
    }
}

/// Decodes COPY BINARY data, pushed in chunks of any size, into record batches.
///
/// Call [`decode`](Self::decode) with the bytes as they come. It takes fewer bytes than it was
/// given when a batch is full: then call [`flush`](Self::flush) and give it the rest. At the end
/// of the input call [`finish`](Self::finish), which is an error if the trailer was not seen.
///
/// ```
/// use merganser::decode::DecoderBuilder;
/// use merganser::types::Column;
///
/// # fn main() -> merganser::Result<()> {
/// let columns = vec![Column::new("n", "int4".parse()?)];
/// let mut decoder = DecoderBuilder::new(columns).build();
/// let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(); // signature, flags, no extension
/// data.extend([0, 1, 0, 0, 0, 4, 0, 0, 0, 42]); // one field of four bytes
/// data.extend([0xff, 0xff]); // the trailer
/// for byte in data {
///     decoder.decode(&[byte])?;
/// }
/// let batch = decoder.finish()?.expect("a row");
/// assert_eq!(batch.num_rows(), 1);
/// # Ok(())
/// # }
/// ```
///
/// # Memory
/// Room for one batch, and for one row that is not whole yet; it grows with the bytes received,
/// never with a length that they declare.
pub struct Decoder {
    columns: Vec<Column>,
    schema: SchemaRef,
    scanner: FrameScanner,
    content: Content,
    /// For each column, the fields of the rows being decoded; empty between calls.
    fields: Vec<Vec<FieldRange>>,
    /// The start of a tuple whose end has not come yet.
    carry: Vec<u8>,
    /// The most rows that are decoded at once.
    scan_rows: usize,
    batch_rows: usize,
    batch_bytes: usize,
    rows_in_batch: usize,
    bytes_in_batch: usize,
    rows_before_batch: usize,
}

/// How many bytes are split into fields before the fields are decoded: enough to make the loop
/// over a column long, little enough that bytes and fields stay in the processor's first cache.
const SCAN_BYTES: usize = 32 << 10;

/// Rows decoded at once where a column holds the text of numerics: ten bytes on the wire may be a
/// number of 131,072 digits, so the text has to be looked at often.
const NUMERIC_TEXT_ROWS: usize = 64;

impl Decoder {
    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Whether the trailer was seen: there is nothing more to come.
    pub fn is_done(&self) -> bool {
        self.scanner.is_done()
    }

    /// Rows decoded so far, flushed or not.
    pub fn rows(&self) -> u64 {
        (self.rows_before_batch + self.rows_in_batch) as u64
    }

    /// Takes bytes; returns how many it took, fewer than given only when the batch is full.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`], naming column and row (both counted from 1 and 0), where the bytes
    /// are not of the form that the columns promise, and for values that Arrow cannot hold. The
    /// decoder is of no further use then.
    pub fn decode(&mut self, chunk: &[u8]) -> Result<usize> {
        if self.carry.is_empty() {
            let taken = self.decode_slice(chunk)?;
            if self.is_full() {
                return Ok(taken);
            }
            self.carry.extend_from_slice(&chunk[taken..]);
            return Ok(chunk.len());
        }
        // The carried bytes are the start of one tuple; only with the chunk behind them are they
        // more. So where the batch is full, what was carried stays, and the chunk comes again.
        let carried = self.carry.len();
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(chunk);
        let taken = self.decode_slice(&joined)?;
        let full = self.is_full();
        if full {
            joined.truncate(carried.max(taken));
        }
        joined.drain(..taken);
        self.carry = joined;
        Ok(match full {
            true => taken.saturating_sub(carried),
            false => chunk.len(),
        })
    }

    /// The batch, if any rows were decoded since the last call.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for text that is not valid UTF-8.
    pub fn flush(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows_in_batch == 0 {
            return Ok(None);
        }
        let arrays = self.content.finish().map_err(|(index, fault)| {
            value_error(&self.columns, index, self.rows_before_batch, fault)
        })?;
        let rows = std::mem::take(&mut self.rows_in_batch);
        self.rows_before_batch += rows;
        self.bytes_in_batch = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(|error| {
                Error::new(ErrorKind::Decode, "the columns do not make a batch").with_source(error)
            })
    }

    /// The last batch, if any rows were decoded since the last flush.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if the trailer was not seen: the data is not complete.
    pub fn finish(mut self) -> Result<Option<RecordBatch>> {
        if !self.is_done() {
            return Err(Error::new(
                ErrorKind::Decode,
                format!(
                    "the data ends after {} rows without the trailer of COPY BINARY",
                    self.rows()
                ),
            ));
        }
        self.flush()
    }

    fn is_full(&self) -> bool {
        self.rows_in_batch >= self.batch_rows || self.bytes_in_batch >= self.batch_bytes
    }

    /// Decodes whole tuples at the start of `data` until the batch is full; returns their length.
    fn decode_slice(&mut self, data: &[u8]) -> Result<usize> {
        let mut taken = 0;
        while !self.is_full() {
            let rest = &data[taken..];
            let room = self.batch_bytes - self.bytes_in_batch;
            let limits = Limits {
                rows: (self.batch_rows - self.rows_in_batch).min(self.scan_rows),
                enough_bytes: room.min(SCAN_BYTES),
                most_bytes: (self.rows_in_batch > 0).then_some(room),
            };
            let scanned = self
                .scanner
                .scan(rest, limits, &mut self.fields)
                .map_err(|fault| {
                    frame_error(self.rows_before_batch + self.rows_in_batch, &fault)
                })?;
            let appended = self.content.append(rest, &mut self.fields);
            appended.map_err(|(index, fault)| {
                let base = self.rows_before_batch + self.rows_in_batch;
                value_error(&self.columns, index, base, fault)
            })?;
            taken += scanned.consumed;
            self.rows_in_batch += scanned.rows;
            if scanned.rows > 0 {
                // The header alone does not begin a batch.
                self.bytes_in_batch += scanned.consumed;
            }
            if scanned.over_limit || self.content.written() >= self.batch_bytes {
                self.bytes_in_batch = self.batch_bytes;
            }
            if scanned.consumed == 0 || self.scanner.is_done() {
                break;
            }
        }
        Ok(taken)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("columns", &self.columns)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

/// Rows and columns are counted from 1 for people.
#[cold]
fn frame_error(row: usize, fault: &Fault) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("row {}: {}", row + 1, fault.message()),
    )
}

/// `base` is the index of the row that the fault counts from.
#[cold]
fn value_error(columns: &[Column], index: usize, base: usize, fault: ValueFault) -> Error {
    let column = match columns.get(index) {
        Some(column) => format!("{:?} ({})", column.name, column.pg_type),
        None => "?".to_owned(),
    };
    let message = format!(
        "column {} {column}, row {}: {}",
        index + 1,
        base + fault.row + 1,
        fault.fault.message()
    );
    let error = Error::new(ErrorKind::Decode, message);
    match fault.fault {
        Fault::Bad(_) => error,
        Fault::Inexact { hint, .. } => error.with_unrepresentable().with_hint(hint),
        Fault::Unrepresentable { hint, .. } => error.with_unrepresentable().with_hint(hint.unwrap_or(
            "read such values as NULL or as text with the option for unrepresentable values (--unrepresentable), or cast the column in the query",
        )),
    }
}

#[cfg(test)]
mod tests;
