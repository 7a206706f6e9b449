//! Memory: whatever a server says it will send, or does send, a query takes what it was given.
//!
//! In a process of its own, whose peak is read from `/proc/self/status`: other tests have peaks, too.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use merganser::{Error, FanOut};
use tokio::time::timeout;

use super::server::{Fault, HEALTHY, Point, Script, Scripted, message, notice};
use super::{BOUND, cluster};
use crate::support;

/// What each query is given.
const BUDGET: usize = 16 << 20;
/// What a process may take besides: buffers of sockets, threads, what the allocator keeps.
const MARGIN: usize = 64 << 20;
/// The length of what is really sent, which neither has room for.
const LENGTH: usize = 300 << 20;

/// How rows are read.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// As they come.
    Eager,
    /// The first batch, and then none until the query has ended.
    Absent,
}

/// The head of a message of so many bytes.
fn head(tag: u8, length: usize) -> Vec<u8> {
    let length = i32::try_from(length + 4).unwrap();
    [&[tag][..], &length.to_be_bytes()].concat()
}

/// A row with one field of so many bytes, up to the field.
fn row(length: usize) -> Vec<u8> {
    let field = i32::try_from(length).unwrap();
    [
        head(b'd', length + 6),
        vec![0, 1],
        field.to_be_bytes().to_vec(),
    ]
    .concat()
}

fn cases() -> Vec<(Point, Fault, Reader)> {
    let mut cases = Vec::new();
    // What is declared and does not come.
    let declared = 0x3fff_0000;
    for (point, bytes) in [
        (Point::Begin, head(b'D', declared)),
        (Point::Begin, head(b'N', declared)),
        (Point::Describe, head(b'T', declared)),
        (Point::Execute, head(b'E', declared)),
        (Point::Copy, row(declared)),
        (Point::FirstRow, head(b'N', declared)),
    ] {
        cases.push((point, Fault::BytesAndHang(bytes), Reader::Eager));
    }
    // What comes.
    for (point, bytes) in LONG {
        let bytes = match bytes {
            b'd' => row(LENGTH),
            tag => head(tag, LENGTH),
        };
        cases.push((point, Fault::Long(bytes, LENGTH), Reader::Eager));
    }
    // What does not end.
    let value = [&[0, 1, 0, 0, 0, 4][..], &7_i32.to_be_bytes()].concat();
    for (point, bytes, reader) in [
        (Point::Login, notice(), Reader::Eager),
        (Point::Begin, notice(), Reader::Eager),
        (
            Point::Describe,
            message(b'S', b"TimeZone\0UTC\0"),
            Reader::Eager,
        ),
        (Point::FirstRow, notice(), Reader::Eager),
        (Point::FirstRow, message(b'd', &value), Reader::Eager),
        (Point::FirstRow, message(b'd', &value), Reader::Absent),
    ] {
        cases.push((point, Fault::Flood(bytes), reader));
    }
    cases
}

const LONG: [(Point, u8); 4] = [
    (Point::Startup, b'E'),
    (Point::Login, b'N'),
    (Point::Describe, b'T'),
    (Point::FirstRow, b'd'),
];

async fn read(query: FanOut, reader: Reader) -> Result<usize, Error> {
    let mut rows = query.stream().await?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch?.num_rows();
        if let Reader::Absent = reader {
            tokio::time::sleep(DEADLINE).await;
        }
    }
    Ok(count)
}

const DEADLINE: Duration = Duration::from_secs(1);

async fn run(script: Script, reader: Reader) -> Result<usize, Error> {
    let server = Scripted::start(script).await;
    let cluster = cluster(server.url());
    let query = cluster.fan_out("select n from t");
    let query = query.with_memory(BUDGET).with_timeout(DEADLINE);
    let read = timeout(BOUND, read(query, reader)).await;
    timeout(BOUND, cluster.close()).await.unwrap();
    read.unwrap()
}

/// Has the next [`peak`] be that from now on.
fn forget_peak() {
    // Source: proc(5), clear_refs.
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// The most that this process has had in memory.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the test below, for a process whose memory is measured"]
async fn queries_of_another_process() {
    assert_eq!(run(HEALTHY, Reader::Eager).await.unwrap(), 10);
    let before = peak();
    for (point, fault, reader) in cases() {
        let case = format!("{:.60} at {point:?}, {reader:?}", format!("{fault:?}"));
        let script = Script {
            fault: Some((point, fault)),
            ..HEALTHY
        };
        forget_peak();
        let error = run(script, reader).await;
        let error = error.expect_err("a server that does not end well");
        let more = peak().saturating_sub(before) >> 20;
        println!("\nmore: {more} MiB: {case}: {error}");
    }
}

#[test]
fn whatever_a_server_sends_a_query_takes_what_it_was_given() {
    let mut process = Command::new(env::current_exe().unwrap());
    let output = process
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("wire::memory::queries_of_another_process")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    let more = told.lines().filter_map(|line| line.strip_prefix("more: "));
    let more: Vec<usize> = more
        .map(|line| line.split_once(' ').unwrap().0.parse().unwrap())
        .collect();
    assert_eq!(more.len(), cases().len(), "{told}");
    let most = more.into_iter().max().unwrap();
    let (budget, margin) = (BUDGET >> 20, MARGIN >> 20);
    support::tell(&format!(
        "memory: {} hostile servers, {most} MiB at most, of {budget} and a margin of {margin}",
        cases().len()
    ));
    assert!(most <= budget + margin, "{told}");
}
