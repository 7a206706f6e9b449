//! A server that says again what a real one has said: recorded once, played to any number of clients at
//! the speed of memory, with as many rows as wanted. It knows nothing but the frame of messages: what a
//! client sends up to a Sync or Query is looked up, and answered as it was then.
//!
//! The messages are those of <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use super::cost::Result;

/// Of all servers here, each of which has a folder of its own.
pub(crate) const PORT: u16 = 5432;
/// Rows are written in blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
const PROTOCOL_3: [u8; 4] = 196_608_i32.to_be_bytes();

/// What a client and a server said to each other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tape {
    /// The server's own: played, each connection is told another one.
    system_identifier: String,
    start: Vec<u8>,
    greeting: Vec<u8>,
    /// In the order in which they came.
    exchanges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tape {
    /// Records what a client says to the server with this socket. It is given the folder in which it finds
    /// a server that passes all on, and may connect once.
    pub(crate) fn record(
        server: &Path,
        system_identifier: String,
        client: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(socket(folder.path()))?;
        let tape = Arc::new(Mutex::new(Self {
            system_identifier,
            ..Self::default()
        }));
        let (recorded, server) = (tape.clone(), server.to_owned());
        thread::spawn(move || -> io::Result<()> {
            let (client, _) = listener.accept()?;
            // The end of the client is the end of the tape.
            let _ = pass_on(client, UnixStream::connect(server)?, &recorded);
            Ok(())
        });
        client(folder.path())?;
        let tape = tape.lock().map_err(|_| "the recorder panicked")?;
        Ok(tape.clone())
    }

    /// Plays to all who connect to the server in this folder, until the process ends. To the statement
    /// that was answered with COPY, this many rows are given.
    pub(crate) fn play(&self, folder: &Path, rows: u64) -> Result<()> {
        let answers = self.exchanges.iter();
        let answers = answers.map(|(asked, said)| Ok((asked.clone(), Answer::new(said, rows)?)));
        let player = Arc::new(Player {
            system_identifier: self.system_identifier.clone(),
            greeting: self.greeting.clone(),
            answers: answers.collect::<Result<_>>()?,
        });
        let listener = UnixListener::bind(socket(folder))?;
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let player = player.clone();
                thread::spawn(move || match player.answer(client, number) {
                    Err(error) if error.kind() == ErrorKind::InvalidData => {
                        eprintln!("the replayed server: {error}");
                    }
                    // To its end, or to that of a client that has gone.
                    _ => {}
                });
            }
        });
        Ok(())
    }

    /// Writes what the client said to a file, for [`drain`].
    pub(crate) fn save_client(&self, path: &Path) -> Result<()> {
        let asked = self.exchanges.iter().map(|(asked, _)| asked);
        let mut out = Vec::new();
        for message in [&self.start].into_iter().chain(asked) {
            out.extend((message.len() as u64).to_be_bytes());
            out.extend(message);
        }
        Ok(fs::write(path, out)?)
    }
}

/// The socket of the server in a folder, under the name that clients build from the port.
fn socket(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// Says to the server in a folder what a client [has said](Tape::save_client), on so many connections at
/// the same time, and throws away what comes: what cannot be avoided. How many bytes that were.
pub(crate) fn drain(folder: &Path, client: &Path, connections: usize) -> Result<u64> {
    let mut client = &*fs::read(client)?;
    let mut messages = Vec::new();
    while let Some((len, rest)) = client.split_first_chunk() {
        let (message, rest) = rest
            .split_at_checked(u64::from_be_bytes(*len) as usize)
            .ok_or("short")?;
        messages.push(message);
        client = rest;
    }
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut server = UnixStream::connect(socket(folder))?;
                    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
                    for message in &messages {
                        server.write_all(message)?;
                        // ReadyForQuery is six bytes, and the last of an answer.
                        let mut last = [0; 6];
                        while !(last.starts_with(b"Z\0\0\0\x05")) {
                            let read = server.read(&mut buffer)?;
                            if read == 0 {
                                return Err(io::Error::from(ErrorKind::UnexpectedEof));
                            }
                            bytes += read as u64;
                            keep_last(&mut last, &buffer[..read]);
                        }
                    }
                    Ok(bytes)
                })
            })
            .collect();
        let mut bytes = 0;
        for thread in threads {
            bytes += thread.join().map_err(|_| "a reader panicked")??;
        }
        Ok(bytes)
    })
}

/// The last bytes of all that has come, of which these are the newest.
fn keep_last(last: &mut [u8; 6], newest: &[u8]) {
    let kept = newest.len().min(last.len());
    last.rotate_left(kept);
    let at = last.len() - kept;
    last[at..].copy_from_slice(&newest[newest.len() - kept..]);
}

fn pass_on(mut client: UnixStream, mut server: UnixStream, tape: &Mutex<Tape>) -> io::Result<()> {
    let start = read_start(&mut client)?;
    server.write_all(&start)?;
    let mut from_server = BufReader::new(server.try_clone()?);
    let greeting = read_answer(&mut from_server)?;
    client.write_all(&greeting)?;
    {
        let mut tape = lock(tape)?;
        (tape.start, tape.greeting) = (start, greeting);
    }
    while let Some(asked) = read_group(&mut client)? {
        server.write_all(&asked)?;
        let said = read_answer(&mut from_server)?;
        lock(tape)?.exchanges.push((asked, said.clone()));
        client.write_all(&said)?;
    }
    Ok(())
}

fn lock(tape: &Mutex<Tape>) -> io::Result<std::sync::MutexGuard<'_, Tape>> {
    tape.lock()
        .map_err(|_| io::Error::other("the recorder panicked"))
}

/// A tape with as many rows as are wanted.
struct Player {
    system_identifier: String,
    greeting: Vec<u8>,
    answers: HashMap<Vec<u8>, Answer>,
}

impl Player {
    /// Answers a client to its end, as a server that no other connection is to.
    fn answer(&self, mut client: UnixStream, connection: usize) -> io::Result<()> {
        let recorded = &self.system_identifier;
        let kept = recorded.len().saturating_sub(4);
        let identifier = format!("{}{connection:04}", &recorded[..kept]);
        read_start(&mut client)?;
        client.write_all(&self.greeting)?;
        while let Some(asked) = read_group(&mut client)? {
            let answer = self.answers.get(&asked).ok_or_else(|| {
                let asked = String::from_utf8_lossy(&asked);
                let error = format!("nobody said this when it was recorded: {asked:?}");
                io::Error::new(ErrorKind::InvalidData, error)
            })?;
            answer.write(&mut client, recorded.as_bytes(), identifier.as_bytes())?;
        }
        Ok(())
    }
}

/// The first message of a client, which has no letter.
fn read_start(client: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    client.read_exact(&mut message)?;
    read_rest(client, &mut message)?;
    match message.get(4..8) {
        Some(protocol) if protocol == PROTOCOL_3 => Ok(message),
        // A request to cancel: nothing here runs for so long.
        _ => Err(io::Error::from(ErrorKind::Unsupported)),
    }
}

/// What a client sends up to where it waits for an answer; `None` at its end.
fn read_group(client: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut group = Vec::new();
    loop {
        let Some((letter, message)) = read_message(client)? else {
            return Ok(None);
        };
        group.extend(message);
        match letter {
            b'Q' | b'S' => return Ok(Some(group)),
            b'X' => return Ok(None),
            _ => {}
        }
    }
}

/// What a server sends up to ReadyForQuery.
fn read_answer(server: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        let (letter, message) = read_message(server)?.ok_or(ErrorKind::UnexpectedEof)?;
        answer.extend(message);
        if letter == b'Z' {
            return Ok(answer);
        }
    }
}

/// A message with its letter and length; `None` where there are no more.
fn read_message(stream: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut message = vec![0; 5];
    match stream.read_exact(&mut message) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    read_rest(stream, &mut message)?;
    Ok(Some((message[0], message)))
}

/// What follows the length that a message ends with so far.
fn read_rest(stream: &mut impl Read, message: &mut Vec<u8>) -> io::Result<()> {
    let len = message
        .last_chunk()
        .map_or(0, |len| i32::from_be_bytes(*len));
    let rest = u64::try_from(len - 4).map_err(|_| ErrorKind::InvalidData)?;
    let before = message.len() as u64;
    stream.take(rest).read_to_end(message)?;
    match message.len() as u64 == before + rest {
        true => Ok(()),
        false => Err(io::Error::from(ErrorKind::UnexpectedEof)),
    }
}

/// An answer in pieces: `before`, `block` so many times, a part of it, `after`.
#[derive(Debug)]
struct Answer {
    before: Vec<u8>,
    block: Vec<u8>,
    blocks: u64,
    part: usize,
    after: Vec<u8>,
}

impl Answer {
    fn new(said: &[u8], rows: u64) -> Result<Self> {
        let messages = messages(said)?;
        let is_row = |message: &&&[u8]| message[0] == b'd';
        // The first has the header before its row, the last the trailer alone.
        let copied = messages.iter().filter(is_row).count();
        if copied == 0 {
            return Ok(Self {
                before: said.to_vec(),
                block: Vec::new(),
                blocks: 0,
                part: 0,
                after: Vec::new(),
            });
        }
        let first = messages
            .iter()
            .position(|message| message[0] == b'd')
            .ok_or("no row")?;
        let (before, rest) = messages.split_at(first + 1);
        let (between, after) = rest.split_at_checked(copied - 2).ok_or("no trailer")?;
        let (mut block, mut ends) = (Vec::new(), vec![0]);
        for message in between {
            if block.len() < BLOCK_BYTES {
                block.extend(*message);
                ends.push(block.len());
            }
        }
        let in_block = (ends.len() - 1) as u64;
        let more = rows.checked_sub(1).ok_or("no row is asked for")?;
        if in_block == 0 {
            return Err("too few rows were recorded".into());
        }
        let after = after.iter().map(|message| match message[0] {
            b'C' => command_complete(rows),
            _ => message.to_vec(),
        });
        Ok(Self {
            before: before.concat(),
            block,
            blocks: more / in_block,
            part: ends[(more % in_block) as usize],
            after: after.collect::<Vec<_>>().concat(),
        })
    }

    /// With another identifier of the same length in place of the one that was recorded.
    fn write(&self, client: &mut impl Write, recorded: &[u8], identifier: &[u8]) -> io::Result<()> {
        let mut before = self.before.clone();
        let found = before
            .windows(recorded.len())
            .position(|bytes| bytes == recorded);
        if let Some(at) = found {
            before[at..at + recorded.len()].copy_from_slice(identifier);
        }
        client.write_all(&before)?;
        for _ in 0..self.blocks {
            client.write_all(&self.block)?;
        }
        client.write_all(&self.block[..self.part])?;
        client.write_all(&self.after)
    }
}

/// What ends COPY, and tells the number of its rows.
fn command_complete(rows: u64) -> Vec<u8> {
    let tag = format!("COPY {rows}\0");
    let mut message = vec![b'C'];
    message.extend((tag.len() as i32 + 4).to_be_bytes());
    message.extend(tag.as_bytes());
    message
}

fn messages(mut said: &[u8]) -> Result<Vec<&[u8]>> {
    let mut messages = Vec::new();
    while let Some((_, rest)) = said.split_first() {
        let len = rest.first_chunk().ok_or("no length")?;
        let len = i32::from_be_bytes(*len) as usize + 1;
        let (message, rest) = said.split_at_checked(len).ok_or("a short message")?;
        messages.push(message);
        said = rest;
    }
    Ok(messages)
}
