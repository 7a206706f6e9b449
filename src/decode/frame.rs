//! Splits the bytes of `COPY ... TO STDOUT (FORMAT binary)` into fields.
//!
//! ```text
//! header   "PGCOPY\n\xff\r\n\0"  flags:u32  extension:u32 length + bytes
//! tuple    fields:i16  { length:i32  bytes }*      length -1: NULL, no bytes
//! trailer  -1:i16
//! ```
//! All integers are big-endian. Source: PostgreSQL documentation, "COPY", section "Binary
//! Format", and `src/backend/commands/copyto.c`.

use super::fault::Fault;

/// Where a field's bytes are in the scanned data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldRange {
    pub(crate) offset: u32,
    /// Length in bytes, or -1 for NULL.
    pub(crate) len: i32,
}

impl FieldRange {
    pub(crate) const NULL: Self = Self { offset: 0, len: -1 };

    /// The field's bytes; `None` for NULL.
    ///
    /// The scanner only makes ranges inside its data, so the slice always exists; an empty one
    /// stands in rather than a panic should that ever be wrong.
    #[inline]
    pub(crate) fn bytes<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(self.len).ok()?;
        let offset = self.offset as usize;
        Some(data.get(offset..offset + len).unwrap_or_default())
    }
}

/// Where in the format the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Tuples,
    Done,
}

/// What one call of [`FrameScanner::scan`] found.
pub(crate) struct Scanned {
    /// Bytes that are dealt with: whole tuples, header and trailer.
    pub(crate) consumed: usize,
    pub(crate) rows: usize,
    /// The next tuple is whole, but would go over the limit.
    pub(crate) over_limit: bool,
}

/// How much one call of [`FrameScanner::scan`] may find.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    /// Scanning stops once this many bytes are consumed.
    pub(crate) enough_bytes: usize,
    /// A tuple that ends behind this many bytes is left for later; `None`: as above, but any
    /// first tuple is taken.
    pub(crate) most_bytes: Option<usize>,
}

/// Finds whole tuples; keeps no bytes.
pub(crate) struct FrameScanner {
    state: State,
    columns: usize,
}

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and length of the extension.
const HEADER_LEN: usize = SIGNATURE.len() + 4 + 4;
/// Flag bits 16 to 31 change the format in ways that a reader has to know.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// PostgreSQL's own limit on a field (`MaxAllocSize`, 1 GiB - 1).
const MAX_FIELD_LEN: i32 = 0x3fff_ffff;
/// Offsets into a row are kept in 32 bits. A row travels in one protocol message, which
/// PostgreSQL limits to 1 GiB, so no server reaches this.
const MAX_ROW_LEN: usize = i32::MAX as usize;

impl FrameScanner {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            state: State::Header,
            columns,
        }
    }

    /// Whether the trailer was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the fields of the whole tuples at the start of `data`, within limits, to `fields`:
    /// one list for each column.
    pub(crate) fn scan(
        &mut self,
        data: &[u8],
        limits: Limits,
        fields: &mut [Vec<FieldRange>],
    ) -> Result<Scanned, Fault> {
        let mut scanned = Scanned {
            consumed: 0,
            rows: 0,
            over_limit: false,
        };
        if self.state == State::Header {
            match header_len(data)? {
                Some(len) => scanned.consumed = len,
                None => return Ok(scanned),
            }
            self.state = State::Tuples;
        }
        while self.state == State::Tuples
            && scanned.rows < limits.rows
            && (scanned.rows == 0 || scanned.consumed < limits.enough_bytes)
        {
            let Some(count) = read_i16(data, scanned.consumed) else {
                return Ok(scanned);
            };
            if count == -1 {
                scanned.consumed += 2;
                self.state = State::Done;
                break;
            }
            if usize::try_from(count) != Ok(self.columns) {
                return Err(Fault::bad(format!(
                    "expected {} fields, found {count}",
                    self.columns
                )));
            }
            let end = scan_tuple(data, scanned.consumed + 2, fields)?;
            scanned.over_limit =
                matches!((end, limits.most_bytes), (Some(end), Some(most)) if end > most);
            let Some(end) = end.filter(|_| !scanned.over_limit) else {
                for column in fields.iter_mut() {
                    column.truncate(scanned.rows);
                }
                return Ok(scanned);
            };
            scanned.consumed = end;
            scanned.rows += 1;
        }
        if self.state == State::Done && scanned.consumed < data.len() {
            return Err(Fault::bad(format!(
                "{} bytes follow the trailer",
                data.len() - scanned.consumed
            )));
        }
        Ok(scanned)
    }
}

/// Appends one field to each column; returns where the tuple ends, or `None` if it is not whole.
#[inline]
fn scan_tuple(
    data: &[u8],
    start: usize,
    fields: &mut [Vec<FieldRange>],
) -> Result<Option<usize>, Fault> {
    let mut at = start;
    for column in fields {
        let Some(len) = read_i32(data, at) else {
            return Ok(None);
        };
        at += 4;
        let Ok(offset) = u32::try_from(at) else {
            return Err(row_too_long());
        };
        column.push(FieldRange { offset, len });
        match usize::try_from(len) {
            Ok(known) if len <= MAX_FIELD_LEN => at += known,
            Err(_) if len == -1 => continue,
            _ => return Err(invalid_len(len)),
        }
        if at > data.len() {
            if at - start > MAX_ROW_LEN {
                return Err(row_too_long());
            }
            return Ok(None);
        }
    }
    Ok(Some(at))
}

// Apart and by value: where the loop itself formats its length, that is in memory, not a register.
#[cold]
fn invalid_len(len: i32) -> Fault {
    Fault::bad(match len {
        0.. => format!("a field of {len} bytes is longer than PostgreSQL's limit"),
        _ => format!("invalid field length {len}"),
    })
}

#[cold]
fn row_too_long() -> Fault {
    Fault::bad("the row is longer than 2 GiB".to_owned())
}

/// The length of the header, or `None` if it is not whole.
fn header_len(data: &[u8]) -> Result<Option<usize>, Fault> {
    let known = data.len().min(SIGNATURE.len());
    if data[..known] != SIGNATURE[..known] {
        return Err(Fault::bad(
            "the data does not start with the signature of COPY BINARY".to_owned(),
        ));
    }
    let (Some(flags), Some(extension)) = (
        read_i32(data, SIGNATURE.len()),
        read_i32(data, SIGNATURE.len() + 4),
    ) else {
        return Ok(None);
    };
    let flags = flags.cast_unsigned();
    if flags & CRITICAL_FLAGS != 0 {
        return Err(Fault::bad(format!("unknown header flags {flags:#010x}")));
    }
    // No version of PostgreSQL sends an extension; a long one is damage, not something to skip.
    match usize::try_from(extension) {
        Ok(extension) if extension <= 0xffff => {
            let len = HEADER_LEN + extension;
            Ok((data.len() >= len).then_some(len))
        }
        _ => Err(Fault::bad(format!(
            "invalid length {extension} of the header extension"
        ))),
    }
}

/// The big-endian integer at `at`, or `None` past the end.
#[inline]
pub(crate) fn read_i16(data: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// The big-endian integer at `at`, or `None` past the end.
#[inline]
pub(crate) fn read_i32(data: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut data = SIGNATURE.to_vec();
        data.extend([0; 8]);
        data
    }

    fn scan(data: &[u8], columns: usize) -> Result<(Scanned, Vec<Vec<FieldRange>>), String> {
        let mut fields = vec![Vec::new(); columns];
        FrameScanner::new(columns)
            .scan(
                data,
                Limits {
                    rows: usize::MAX,
                    enough_bytes: usize::MAX,
                    most_bytes: None,
                },
                &mut fields,
            )
            .map(|scanned| (scanned, fields))
            .map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn finds_values_and_nulls_and_the_trailer() {
        let mut data = header();
        data.extend(2_i16.to_be_bytes());
        data.extend(1_i32.to_be_bytes());
        data.push(b'x');
        data.extend((-1_i32).to_be_bytes());
        data.extend((-1_i16).to_be_bytes());
        let (scanned, fields) = scan(&data, 2).unwrap();
        assert_eq!((scanned.consumed, scanned.rows), (data.len(), 1));
        assert_eq!(fields[0][0].bytes(&data), Some(&b"x"[..]));
        assert_eq!(fields[1][0].bytes(&data), None);
    }

    #[test]
    fn a_tuple_that_is_not_whole_is_left_for_later() {
        let mut data = header();
        data.extend(1_i16.to_be_bytes());
        data.extend(4_i32.to_be_bytes());
        data.extend([0; 3]);
        let (scanned, fields) = scan(&data, 1).unwrap();
        assert_eq!((scanned.consumed, scanned.rows), (header().len(), 0));
        assert!(fields[0].is_empty());
    }

    #[test]
    fn damage_is_an_error() {
        let with = |bytes: &[u8]| [header().as_slice(), bytes].concat();
        let message = |data: &[u8]| scan(data, 1).err().unwrap();
        assert!(message(b"PGCOPX").contains("signature"));
        assert!(message(&with(&[0, 2])).contains("expected 1 fields, found 2"));
        assert!(message(&with(&[0, 1, 0xff, 0xff, 0xff, 0xfe])).contains("length -2"));
        assert!(message(&with(&[0, 1, 0x7f, 0xff, 0xff, 0xff])).contains("longer"));
        assert!(message(&with(&[0xff, 0xff, 1])).contains("1 bytes follow"));
        let mut flags = header();
        flags[12] = 1;
        assert!(message(&flags).contains("flags 0x00010000"));
        let mut extension = header();
        extension[15] = 0xff;
        assert!(message(&extension).contains("extension"));
    }
}
