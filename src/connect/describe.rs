//! Parse and Describe of an unnamed statement, in place of a Query.
//!
//! The client library prepares statements under names, and looks up each type that it does not know
//! with three more of them, which it keeps. Behind a pooler in transaction mode a name outlives us:
//! it stays in a server connection that others are given, who may use the same name. So the library
//! is told to run the text as a simple query, with a mark before it, and [`Tap`](super::tap::Tap)
//! changes its message on the way out into Parse (without a name), Describe and Sync. Of the answer the
//! library sees errors and ReadyForQuery only. Another query may be on its way before it.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use std::io;

use tokio::sync::oneshot;

/// The most bytes of a description: 1,664 columns (`MaxTupleAttributeNumber`) with names of 63 bytes
/// or 65,535 parameters take less.
pub(super) const LONGEST: usize = 1 << 20;

/// Stands before a text that is to be described, not run: as SQL it is an error of syntax.
const MARK: &str = "\u{1}";

/// The text as the library is told to run it.
pub(super) fn marked(sql: &str) -> String {
    format!("{MARK}{sql}")
}

/// What a server says of a statement before it runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    /// The OIDs of the types of $1, $2, ...
    pub(crate) parameters: Vec<u32>,
    pub(crate) columns: Vec<DescribedColumn>,
}

/// A column of RowDescription.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DescribedColumn {
    pub(crate) name: String,
    /// The column of a table whose values it has; `None` of an expression.
    pub(crate) table: Option<u32>,
    pub(crate) attribute: Option<i16>,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
}

/// Where a description goes.
pub(super) type Recipient = oneshot::Sender<Described>;

/// A description of which parts may have come.
pub(super) struct Describing {
    recipient: Recipient,
    /// ParseComplete was seen: what came before belongs to another query.
    has_begun: bool,
    parameters: Option<Vec<u8>>,
    columns: Option<Vec<u8>>,
}

impl Describing {
    pub(super) fn new(recipient: Recipient) -> Self {
        Self {
            recipient,
            has_begun: false,
            parameters: None,
            columns: None,
        }
    }

    /// ParseComplete.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Where the body of this message is to be collected; `None` if it is no part of a description.
    pub(super) fn part(&mut self, tag: u8) -> Option<&mut Vec<u8>> {
        match tag {
            _ if !self.has_begun => None,
            b't' => Some(self.parameters.get_or_insert_default()),
            // RowDescription, or NoData.
            b'T' | b'n' => Some(self.columns.get_or_insert_default()),
            _ => None,
        }
    }

    /// Hands the description on if all of it has come.
    pub(super) fn end(self) -> io::Result<()> {
        let (Some(parameters), Some(columns)) = (self.parameters, self.columns) else {
            return Ok(());
        };
        let described = parse(&parameters, &columns).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "invalid description of columns")
        })?;
        // Whoever asked may have gone.
        drop(self.recipient.send(described));
        Ok(())
    }
}

fn parse(parameters: &[u8], columns: &[u8]) -> Option<Described> {
    let mut bytes = Bytes(parameters);
    let parameters = (0..bytes.u16()?)
        .map(|_| bytes.u32())
        .collect::<Option<_>>()?;
    let mut described = Described {
        parameters,
        columns: Vec::new(),
    };
    if !bytes.0.is_empty() {
        return None;
    }
    // NoData has no body.
    if columns.is_empty() {
        return Some(described);
    }
    let mut bytes = Bytes(columns);
    for _ in 0..bytes.u16()? {
        let name = bytes.string()?;
        let table = Some(bytes.u32()?).filter(|oid| *oid != 0);
        let attribute = Some(bytes.i16()?).filter(|number| *number != 0);
        let type_oid = bytes.u32()?;
        let _length = bytes.i16()?;
        let type_modifier = bytes.i32()?;
        let _format = bytes.i16()?;
        described.columns.push(DescribedColumn {
            name,
            table,
            attribute,
            type_oid,
            type_modifier,
        });
    }
    bytes.0.is_empty().then_some(described)
}

/// Bytes that are not read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.0.get(..end)?).ok()?.to_owned();
        self.0 = self.0.get(end + 1..)?;
        Some(text)
    }
}

/// Parse of an unnamed statement with the marked text of a Query message, Describe and Sync; `None` for any
/// other message.
pub(super) fn instead_of_query(message: &[u8]) -> io::Result<Option<Vec<u8>>> {
    // The tag, and the length that counts itself; the text ends in a zero byte.
    let text = match message {
        [b'Q', _, _, _, _, text @ ..] => text.strip_prefix(MARK.as_bytes()),
        _ => None,
    };
    let Some(text) = text else {
        return Ok(None);
    };
    // The name before it, and the number of parameters whose types are given behind it.
    let length = u32::try_from(4 + 1 + text.len() + 2).map_err(io::Error::other)?;
    let mut bytes = vec![b'P'];
    bytes.extend(length.to_be_bytes());
    bytes.push(0);
    bytes.extend(text);
    bytes.extend([0, 0]);
    bytes.extend([b'D', 0, 0, 0, 6, b'S', 0]);
    bytes.extend([b'S', 0, 0, 0, 4]);
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_query_becomes_parse_describe_and_sync() {
        assert_eq!(marked("select 1"), "\u{1}select 1");
        let parse = instead_of_query(b"Q\0\0\0\x0e\x01select 1\0").unwrap();
        assert_eq!(
            parse.unwrap(),
            b"P\0\0\0\x10\0select 1\0\0\0D\0\0\0\x06S\0S\0\0\0\x04"
        );
        for other in [&b"Q\0\0\0\x0dselect 1\0"[..], b"X\0\0\0\x04", b""] {
            assert_eq!(instead_of_query(other).unwrap(), None);
        }
    }

    #[test]
    fn descriptions_are_read_whole_or_not_at_all() {
        let columns = b"\0\x02a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
            b\0\0\0\x40\0\0\x03\0\0\x40\x01\xff\xff\0\0\0\x07\0\0";
        let described = parse(b"\0\x01\0\0\0\x19", columns).unwrap();
        assert_eq!(described.parameters, [25]);
        let column = |name: &str, table, attribute, type_oid, type_modifier| DescribedColumn {
            name: name.to_owned(),
            table,
            attribute,
            type_oid,
            type_modifier,
        };
        assert_eq!(
            described.columns,
            [
                column("a", None, None, 23, -1),
                column("b", Some(16384), Some(3), 16385, 7)
            ]
        );
        assert_eq!(parse(b"\0\0", b""), Some(Described::default()));
        for length in 1..columns.len() {
            assert_eq!(parse(b"\0\0", &columns[..length]), None, "{length}");
        }
        assert_eq!(parse(b"\0\0\0", b""), None);
        assert_eq!(parse(b"\0\x01\0", b""), None);
    }
}
