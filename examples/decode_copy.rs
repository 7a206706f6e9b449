//! The decoder alone, without a connection: COPY BINARY in, an Arrow IPC stream out.
//!
//! ```sh
//! psql -c "copy (select 1, 'a'::text) to stdout (format binary)" |
//!   cargo run --example decode_copy -- int4 text > rows.arrows
//! ```
//!
//! COPY BINARY does not say what it holds, so the arguments name the types of the columns.

use std::error::Error;
use std::io::{Read, Write};

use merganser::arrow::ipc::writer::StreamWriter;
use merganser::decode::DecoderBuilder;
use merganser::types::Column;

fn main() -> Result<(), Box<dyn Error>> {
    let types: Vec<String> = std::env::args().skip(1).collect();
    let rows = run(&types, std::io::stdin().lock(), std::io::stdout().lock())?;
    eprintln!("{rows} rows");
    Ok(())
}

/// Returns the number of rows.
pub(crate) fn run(
    types: &[String],
    mut input: impl Read,
    output: impl Write,
) -> Result<u64, Box<dyn Error>> {
    let columns = types
        .iter()
        .enumerate()
        .map(|(index, name)| Ok(Column::new(format!("c{}", index + 1), name.parse()?)))
        .collect::<merganser::Result<_>>()?;
    let mut decoder = DecoderBuilder::new(columns).build();
    let mut writer = StreamWriter::try_new(output, &decoder.schema())?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        let mut bytes = &buffer[..length];
        while !bytes.is_empty() {
            let taken = decoder.decode(bytes)?;
            bytes = &bytes[taken..];
            if !bytes.is_empty() {
                // It took fewer bytes than it was given: a batch is full.
                if let Some(batch) = decoder.flush()? {
                    writer.write(&batch)?;
                }
            }
        }
    }
    let rows = decoder.rows();
    // An error, if the data was cut off.
    if let Some(batch) = decoder.finish()? {
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(rows)
}
