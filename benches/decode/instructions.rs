//! Instructions for each field, counted by callgrind: unlike time, they are the same in every run and on
//! a busy machine, so that a check can hold them. It fails where a case takes more than is recorded in
//! `instructions.txt`; `MERGANSER_BLESS=1` records what was counted.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Case, Result, cases, report};

/// In place of the name of a case: the counting itself.
pub(crate) const COUNTED: &str = "counted";
/// So much more than recorded is taken for the work of another C library, or of a compiler that has cut the
/// crate in other places: builds of one state in two folders were up to 3 % apart.
const TOLERANCE: f64 = 1.06;
const BYTES: usize = 1 << 20;
/// What a process does besides is in both counts.
const PASSES: [u32; 2] = [1, 5];

/// What the process under callgrind does: decodes a case so many times.
pub(crate) fn decode(name: &str, passes: u32) -> Result<()> {
    let case = case(name)?;
    for _ in 0..passes {
        case.decode()?;
    }
    Ok(())
}

/// Counts all cases, and compares with what is recorded.
pub(crate) fn check() -> Result<()> {
    let path = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/decode/instructions.txt"
    ));
    let recorded = fs::read_to_string(&path)?;
    let recorded = read(&recorded)?;
    let (mut rows, mut record, mut failed) = (Vec::new(), String::new(), Vec::new());
    for (name, ..) in cases() {
        let case = case(name)?;
        let counts = PASSES.map(|passes| count(name, passes));
        let [once, often] = counts;
        let passes = f64::from(PASSES[1] - PASSES[0]);
        let fields = (case.rows * case.columns.len()) as f64;
        let counted = (often? - once?) as f64 / passes / fields;
        writeln!(record, "{name} {counted:.1}")?;
        let before = recorded.get(name).copied();
        if before.is_none_or(|before| counted > before * TOLERANCE) {
            failed.push(name);
        }
        rows.push(vec![
            name.to_owned(),
            format!("{counted:.1}"),
            before.map_or_else(String::new, |before| format!("{before:.1}")),
        ]);
    }
    println!("instructions for each field, and what is recorded\n");
    report::print_table(&["", "counted", "recorded"], &rows);
    if env::var_os("MERGANSER_BLESS").is_some() {
        fs::write(&path, record)?;
    } else if !failed.is_empty() {
        let failed = failed.join(", ");
        let cure = "if that is worth what it buys, record it: MERGANSER_BLESS=1";
        return Err(format!("more instructions than recorded: {failed}; {cure}").into());
    }
    Ok(())
}

fn case(name: &str) -> Result<Case> {
    let found = cases().into_iter().find(|(it, ..)| *it == name);
    let (name, types, make_row) = found.ok_or_else(|| format!("no case {name:?}"))?;
    Case::new(name, &types, make_row, BYTES)
}

/// The instructions of a whole process.
fn count(name: &str, passes: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([COUNTED, name, &passes.to_string()])
        .output()
        .map_err(|error| format!("valgrind is needed: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected {
        Some((_, count)) if output.status.success() => Ok(count.trim().parse()?),
        _ => Err(format!("valgrind failed: {said}").into()),
    }
}

/// A name and a number on each line.
fn read(text: &str) -> Result<BTreeMap<&str, f64>> {
    let lines = text.lines();
    let lines = lines.map(|line| {
        let (name, count) = line
            .split_once(' ')
            .ok_or("no number in instructions.txt")?;
        Ok((name, count.parse()?))
    });
    lines.collect()
}
