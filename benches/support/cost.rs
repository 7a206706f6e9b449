//! What programs cost: each runs in a process of its own, so that memory and CPU time are its own.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What some programs, run at the same time, cost in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall_seconds: f64,
    /// Of the programs, not of the servers that they ask.
    pub(crate) cpu_seconds: f64,
    pub(crate) work: Work,
}

/// What a child says it did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) peak_memory_kib: u64,
    /// Open files and sockets when it was done.
    #[allow(dead_code)] // Not every benchmark has a use for it.
    pub(crate) descriptors: u64,
}

/// Runs this benchmark's program anew with these arguments, see [`child_arguments`].
pub(crate) fn measure_child(arguments: &[&str], urls: &[String]) -> Result<Cost> {
    let mut child = Command::new(env::current_exe()?);
    child
        .arg(CHILD)
        .args(arguments)
        .args(urls)
        .stdout(Stdio::piped());
    measure(vec![child])
}

/// Runs programs at the same time, to their ends.
pub(crate) fn measure(commands: Vec<Command>) -> Result<Cost> {
    let cpu_before = cpu_seconds_of_children()?;
    let start = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        children.push(command.spawn()?);
    }
    let mut said = String::new();
    for child in &mut children {
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a measured program failed: {status}").into());
        }
    }
    let numbers: Vec<u64> = said.split_whitespace().flat_map(str::parse).collect();
    Ok(Cost {
        wall_seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds_of_children()? - cpu_before,
        work: match numbers[..] {
            [rows, bytes, peak_memory_kib, descriptors] => Work {
                rows,
                bytes,
                peak_memory_kib,
                descriptors,
            },
            _ => Work::default(),
        },
    })
}

/// The first argument of a process that is measured.
pub(crate) const CHILD: &str = "child";

/// The arguments after [`CHILD`] where this process is one that is measured.
pub(crate) fn child_arguments() -> Option<Vec<String>> {
    let mut arguments = env::args().skip(1);
    (arguments.next().as_deref() == Some(CHILD)).then(|| arguments.collect())
}

/// Tells the parent what was done.
pub(crate) fn report_work(rows: u64, bytes: u64) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no VmHWM in /proc/self/status")?;
    // Less the one that the folder is read with.
    let descriptors = fs::read_dir("/proc/self/fd")?.count() - 1;
    println!("{rows} {bytes} {peak} {descriptors}");
    Ok(())
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    merganser::runtime::schedule_as_batch();
    Ok(merganser::runtime::builder().build()?)
}

/// CPU time, user and system, of the children that have ended.
fn cpu_seconds_of_children() -> Result<f64> {
    // Linux counts these in hundredths of a second on every machine (USER_HZ).
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")
        .map_err(|error| format!("/proc is needed, which Linux has: {error}"))?;
    // The name of the program, in parentheses, may hold spaces; cutime and cstime are the fields 16
    // and 17 of `man 5 proc`, and the state behind the name is field 3.
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(16 - 3).take(2);
    let sum: f64 = ticks.flat_map(str::parse::<f64>).sum();
    Ok(sum / TICKS_PER_SECOND)
}
