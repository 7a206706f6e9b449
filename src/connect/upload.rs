//! The rows of a `COPY ... FROM STDIN`, which the tap sends itself.
//!
//! The client library can do so only for a statement that it has prepared under a name, which a pooler
//! in transaction mode may give to somebody else. Here the COPY is a simple query, to which the server
//! says CopyInResponse; from then on the tap sends what is in a channel, and of the answer the library
//! sees CommandComplete or an error, as of any other query.
//!
//! Source: PostgreSQL documentation, "COPY Operations" and "Message Formats".

use std::io;

use tokio::sync::mpsc;

/// What is sent behind a `COPY ... FROM STDIN`: any number of `Data`, then `Done`. A channel that
/// closes without `Done` makes the COPY fail, so that nothing of it is kept.
#[derive(Debug)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) enum CopyInput {
    /// Bytes of the COPY's format, of any number of rows or parts of rows.
    Data(Vec<u8>),
    /// These were all.
    Done,
}

/// Where the rows come from.
pub(super) type Source = mpsc::Receiver<CopyInput>;

/// The protocol's message: CopyData, CopyDone, or CopyFail if there is nobody to send any more.
pub(super) fn message(input: Option<CopyInput>) -> io::Result<Vec<u8>> {
    let (tag, body) = match input {
        Some(CopyInput::Data(bytes)) => (b'd', bytes),
        Some(CopyInput::Done) => (b'c', Vec::new()),
        None => (b'f', b"given up\0".to_vec()),
    };
    let length = u32::try_from(4 + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(5 + body.len());
    message.push(tag);
    message.extend(length.to_be_bytes());
    message.extend(body);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        let data = message(Some(CopyInput::Data(b"ab".to_vec()))).unwrap();
        assert_eq!(data, b"d\0\0\0\x06ab");
        assert_eq!(message(Some(CopyInput::Done)).unwrap(), b"c\0\0\0\x04");
        assert_eq!(message(None).unwrap(), b"f\0\0\0\x0dgiven up\0");
    }
}
