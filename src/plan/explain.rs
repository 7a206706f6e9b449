//! A plan as text for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::thread::with_deep_stack;
use super::{Arm, Exactness, Merge, Place, Plan, Sql, Step, sql};
use crate::config::{Finish, FinishRelations, Topology};
use crate::progress::StepProgress;
use crate::types::Column;

/// What a plan says of servers and bounds, beside its steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub(super) shards: Vec<String>,
    /// Whether the server that finishes is one of its own.
    pub(super) own_finish: bool,
    /// In which form that server is handed rows.
    pub(super) relations: FinishRelations,
    /// What SQL text may hold.
    pub(super) finish_rows: u64,
    pub(super) finish_bytes: u64,
    /// What temporary tables may hold.
    pub(super) table_bytes: u64,
    /// DataFusion's plans of merges, by the names of their steps, if they were asked for.
    pub(crate) merges: BTreeMap<String, String>,
    /// How the steps are read, by their names, where several connections to a shard are asked for.
    pub(crate) readers: BTreeMap<String, String>,
}

impl Surroundings {
    /// What is said of these; nothing may be handed on yet.
    pub(crate) fn new(topology: &Topology) -> Self {
        Self {
            shards: topology
                .shards()
                .iter()
                .map(|shard| shard.name().to_owned())
                .collect(),
            own_finish: matches!(topology.finish(), Finish::Server(_)),
            ..Self::default()
        }
    }

    /// As SQL text, so many rows and bytes.
    pub(crate) fn with_text(self, finish_rows: u64, finish_bytes: u64) -> Self {
        Self {
            finish_rows,
            finish_bytes,
            ..self
        }
    }

    /// In temporary tables, if that is the form, so many bytes.
    pub(crate) fn with_relations(self, relations: FinishRelations, table_bytes: u64) -> Self {
        Self {
            relations,
            table_bytes,
            ..self
        }
    }
}

impl Plan {
    /// The merge arm.
    pub fn arm(&self) -> Arm {
        self.arm
    }

    /// How near the answer is to that of one PostgreSQL.
    pub fn exactness(&self) -> Exactness {
        self.exactness
    }

    /// The columns of the answer.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Why no cheaper arm was taken: a sentence for each reason.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.iter().map(String::as_str)
    }

    /// The text of [`Display`](fmt::Display), and why it is right: what each step rests on, and which
    /// arms were judged for each block of the statement, from the cheapest on.
    pub fn verbose(&self) -> String {
        self.describe(None, true)
    }

    /// The name of a shard.
    pub(super) fn shard(&self, index: usize) -> &str {
        self.surroundings.shards.get(index).map_or("?", |name| name)
    }

    /// The text of [`Display`](fmt::Display), with what each step has done so far, or that of
    /// [`verbose`](Self::verbose).
    pub(crate) fn describe(&self, measured: Option<&[StepProgress]>, verbose: bool) -> String {
        let described = with_deep_stack(|| {
            let mut text = String::new();
            // Writing to a String does not fail.
            let _ = self.write(measured, verbose, &mut text);
            Ok(text)
        });
        described.unwrap_or_else(|error| error.to_string())
    }

    fn write(
        &self,
        measured: Option<&[StepProgress]>,
        verbose: bool,
        out: &mut String,
    ) -> fmt::Result {
        writeln!(out, "{}", self.exactness)?;
        writeln!(out, "{}", self.arm)?;
        for reason in &self.reasons {
            writeln!(out, "  because: {reason}")?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(out, "\nStep {}, {}", index + 1, self.place(&step.place))?;
            self.write_sql(step, out)?;
            if let Some(readers) = self.surroundings.readers.get(&step.name) {
                writeln!(out, "  read by {readers}")?;
            }
            self.write_merge(step, out)?;
            self.write_use(index, step, out)?;
            if verbose {
                self.write_premises(index, out)?;
            }
            if let Some(measured) = measured.and_then(|steps| steps.get(index)) {
                write_measured(measured, self.is_temporary(index), out)?;
            }
        }
        let around = &self.surroundings;
        let handed = 0..self.steps.len().saturating_sub(1);
        let (tables, texts): (Vec<_>, Vec<_>) = handed.partition(|step| self.is_temporary(*step));
        if !texts.is_empty() {
            writeln!(
                out,
                "\nRelations may hold {} rows and {} of SQL text, all together; more is an error",
                grouped(around.finish_rows),
                size(around.finish_bytes)
            )?;
        }
        if !tables.is_empty() {
            writeln!(
                out,
                "\nTemporary tables may hold {}, all together; more is an error",
                size(around.table_bytes)
            )?;
        }
        match verbose {
            true => self.write_judged(out),
            false => Ok(()),
        }
    }

    /// What a step rests on.
    fn write_premises(&self, step: usize, out: &mut String) -> fmt::Result {
        let premises = self.argument.premises(step);
        if !premises.is_empty() {
            writeln!(out, "  exact because")?;
        }
        for premise in premises {
            writeln!(out, "    {premise}")?;
        }
        Ok(())
    }

    /// Which arms were judged.
    fn write_judged(&self, out: &mut String) -> fmt::Result {
        if !self.argument.judged.is_empty() {
            writeln!(out, "\nArms, from the cheapest on")?;
        }
        for block in self.argument.blocks() {
            if let [first, ..] = block {
                writeln!(out, "  {}", first.block.replace('\n', " "))?;
            }
            for judged in block {
                match &judged.obstacle {
                    None => writeln!(out, "    {}: taken", judged.arm)?,
                    Some(obstacle) => writeln!(out, "    {}: not taken, {obstacle}", judged.arm)?,
                }
            }
        }
        Ok(())
    }

    /// Where a step runs.
    fn place(&self, place: &Place) -> String {
        let count = self.surroundings.shards.len();
        match place {
            Place::Shards(shards) if shards.is_empty() => {
                format!("on none of {count} shards: the key is pinned to values that no row has")
            }
            Place::Shards(shards) if shards.len() == count => match count {
                1 => format!("on the only shard: {}", self.shard(0)),
                _ => format!("on all {count} shards: {}", self.names(shards)),
            },
            Place::Shards(shards) => format!(
                "on {} of {count} shards: {}; the key is pinned",
                shards.len(),
                self.names(shards)
            ),
            Place::AnyShard => "on any one shard: all of them would give the same rows".to_owned(),
            Place::Finish if self.surroundings.own_finish => {
                "on the server of [finish] url".to_owned()
            }
            Place::Finish => "the finish, on any shard that takes part".to_owned(),
        }
    }

    fn names(&self, shards: &[usize]) -> String {
        let mut names: Vec<_> = shards
            .iter()
            .take(MOST_NAMES)
            .map(|shard| self.shard(*shard).to_owned())
            .collect();
        if shards.len() > MOST_NAMES {
            names.push(format!("and {} more", shards.len() - MOST_NAMES));
        }
        names.join(", ")
    }

    fn write_sql(&self, step: &Step, out: &mut String) -> fmt::Result {
        for used in &step.uses {
            if let Some(used_step) = self.steps.get(*used) {
                let columns = signature(used_step);
                writeln!(out, "    {columns} = the rows of step {}", used + 1)?;
            }
        }
        for line in readable(&step.sql).lines() {
            match line {
                "" => writeln!(out)?,
                line => writeln!(out, "    {line}")?,
            }
        }
        Ok(())
    }

    fn write_merge(&self, step: &Step, out: &mut String) -> fmt::Result {
        let several = matches!(&step.place, Place::Shards(shards) if shards.len() != 1);
        match &step.merge {
            Merge::Concatenate { skip, fetch } => {
                let limits = limits(*skip, *fetch);
                match (several, limits.is_empty()) {
                    (true, _) => {
                        writeln!(out, "  merge: the rows of all shards{limits}")
                    }
                    (false, true) => Ok(()),
                    (false, false) => writeln!(out, "  merge: the rows as they come{limits}"),
                }
            }
            Merge::Ordered {
                keys,
                skip,
                fetch,
                visible,
            } => {
                let shown: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        let direction = if key.descending { " DESC" } else { "" };
                        // Where PostgreSQL does so by itself, it is not said.
                        let nulls = match (key.descending, key.nulls_first) {
                            (false, true) => " NULLS FIRST",
                            (true, false) => " NULLS LAST",
                            _ => "",
                        };
                        let hidden = match key.column >= *visible {
                            true => " (not shown)",
                            false => "",
                        };
                        format!("column {}{hidden}{direction}{nulls}", key.column + 1)
                    })
                    .collect();
                let limits = limits(*skip, *fetch);
                writeln!(out, "  merge: k-way, by {}{limits}", shown.join(", "))
            }
            Merge::Aggregate { sql, columns } => {
                writeln!(
                    out,
                    "  merge: DataFusion, over shards({})",
                    columns.join(", ")
                )?;
                for line in pretty(sql).lines() {
                    writeln!(out, "    {line}")?;
                }
                if let Some(plan) = self.surroundings.merges.get(&step.name) {
                    writeln!(out, "  which it plans as")?;
                    for line in plan.lines() {
                        writeln!(out, "    {line}")?;
                    }
                }
                Ok(())
            }
        }
    }

    /// What becomes of the rows.
    fn write_use(&self, index: usize, step: &Step, out: &mut String) -> fmt::Result {
        if index + 1 == self.steps.len() {
            return writeln!(out, "  the rows are the answer");
        }
        let users: Vec<_> = (1..)
            .zip(&self.steps)
            .filter(|(_, user)| user.uses.contains(&index))
            .collect();
        let on_several = |step: &Step| matches!(&step.place, Place::Shards(on) if on.len() > 1);
        let (servers, steps) = match &users[..] {
            [(_, user)] if on_several(user) => ("servers", "step"),
            [_] => ("server", "step"),
            _ => ("servers", "steps"),
        };
        let numbers: Vec<_> = users.iter().map(|(number, _)| number.to_string()).collect();
        let table = match self.is_temporary(index) {
            true => " as a temporary table",
            false => "",
        };
        writeln!(
            out,
            "  the rows are the relation {}, handed to the {servers} of {steps} {}{table}",
            signature(step),
            numbers.join(", ")
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(None, false))
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "Single: one shard answers",
            Self::Union => "Union: each shard's rows are final",
            Self::Ordered => "Ordered: each shard sorts, and a merge keeps the order",
            Self::Combine => {
                "Combine: each shard computes partial aggregates, which are aggregated again"
            }
            Self::Gather => {
                "Gather: rows of sharded tables are collected, and the query runs over them"
            }
        })
    }
}

impl fmt::Display for Exactness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "EXACT",
            Self::ExactUpToFloatOrder => "EXACT up to float summation order",
        })
    }
}

/// `m1(k1, a1)`.
fn signature(step: &Step) -> String {
    let columns: Vec<_> = step.columns.iter().map(|column| &*column.name).collect();
    format!("{}({})", step.name, columns.join(", "))
}

fn limits(skip: u64, fetch: Option<u64>) -> String {
    let mut text = String::new();
    if skip > 0 {
        text.push_str(&format!(", without the first {}", rows(skip)));
    }
    if let Some(fetch) = fetch {
        text.push_str(&format!(", {} at most", rows(fetch)));
    }
    text
}

fn write_measured(step: &StepProgress, is_temporary: bool, out: &mut String) -> fmt::Result {
    for shard in &step.shards {
        writeln!(
            out,
            "  {}: {}, {}, {}",
            shard.shard,
            rows(shard.rows),
            size(shard.bytes),
            seconds(shard.elapsed)
        )?;
    }
    let handed = match step.handed_bytes {
        0 => String::new(),
        bytes if is_temporary => format!(", {} into a temporary table", size(bytes)),
        bytes => format!(", {} of SQL text", size(bytes)),
    };
    writeln!(
        out,
        "  in all: {}{handed}, {}",
        rows(step.rows),
        seconds(step.elapsed)
    )
}

/// SQL in lines: those of the user where it is the user's text, else those of the printer.
fn readable(query: &Sql) -> String {
    let text = query.to_string();
    match text.contains('\n') || text.chars().count() <= MOST_IN_A_LINE {
        true => text,
        false => pretty(&text),
    }
}

/// The statement in indented lines, if that certainly is the same statement.
fn pretty(text: &str) -> String {
    let in_lines = || {
        if text.contains('\n') || text.chars().count() <= MOST_IN_A_LINE || text.len() > MOST_PRETTY
        {
            return None;
        }
        let lines = format!("{:#}", sql::parse(text).ok()?);
        let lines: String = lines.lines().map(wrapped).collect();
        let again = sql::parse(&lines).ok()?;
        (again.to_string() == text).then_some(lines)
    };
    in_lines().unwrap_or_else(|| text.to_owned())
}

/// A line of the printer, which keeps conditions in one and puts the end of a query behind its last
/// clause, as several.
fn wrapped(line: &str) -> String {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let is_long = line.chars().count() > MOST_IN_A_LINE;
    let mut lines = " ".repeat(indent);
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.char_indices() {
        if quote.is_none() && depth == 0 && c == ' ' {
            let rest = &text[at + 1..];
            if is_long && rest.starts_with("AND ") {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                continue;
            }
            if ["ORDER BY ", "LIMIT ", "OFFSET "]
                .iter()
                .any(|end| rest.starts_with(end))
            {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent.saturating_sub(2)));
                continue;
            }
        }
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

/// `1 row`, `1,234 rows`.
pub(crate) fn rows(count: u64) -> String {
    let unit = if count == 1 { "row" } else { "rows" };
    format!("{} {unit}", grouped(count))
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `256 MiB` where that is all of it, `1.5 MiB` and `12 bytes` else.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        // Nobody needs more digits than a double has.
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
    }
}

/// `12.3 ms`, `1.23 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        0..1_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// The most shards that a line names.
const MOST_NAMES: usize = 16;
/// The most characters of a statement that stays in one line.
const MOST_IN_A_LINE: usize = 88;
/// The longest statement that is brought into lines, in bytes.
const MOST_PRETTY: usize = 64 << 10;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::argument::{Argument, Judgement};
    use crate::plan::{SortKey, StepColumn};

    fn judged(arm: &'static str, obstacle: Option<&str>) -> Judgement {
        Judgement {
            block: "SELECT k, x\nFROM t ..".to_owned(),
            arm,
            obstacle: obstacle.map(str::to_owned),
        }
    }

    pub(in crate::plan) fn plan() -> Plan {
        let step = |name: &str, sql: &str, place, merge, columns: &[&str]| Step {
            name: name.to_owned(),
            sql: Sql::verbatim(sql),
            uses: Vec::new(),
            place,
            merge,
            columns: columns
                .iter()
                .map(|name| StepColumn {
                    name: (*name).to_owned(),
                    collation: None,
                })
                .collect(),
        };
        let ordered = Merge::Ordered {
            keys: vec![
                SortKey {
                    column: 0,
                    descending: true,
                    nulls_first: false,
                },
                SortKey {
                    column: 1,
                    descending: false,
                    nulls_first: false,
                },
            ],
            skip: 2,
            fetch: Some(1),
            visible: 1,
        };
        let mut finish = step("m2", "SELECT k\nFROM m1", Place::Finish, Merge::all(), &[]);
        finish.uses = vec![0];
        Plan {
            steps: vec![
                step(
                    "m1",
                    "SELECT k, x FROM t",
                    Place::Shards(vec![2, 0]),
                    ordered,
                    &["k"],
                ),
                finish,
            ],
            columns: Vec::new(),
            exactness: Exactness::ExactUpToFloatOrder,
            arm: Arm::Gather,
            reasons: vec!["the limit is not a plain number".to_owned()],
            argument: Argument {
                premises: vec![
                    vec![
                        "each row of t is on one shard".to_owned(),
                        "all rows of t are collected".to_owned(),
                    ],
                    Vec::new(),
                ],
                judged: vec![
                    judged("union or ordered", Some("the limit is not a plain number")),
                    judged("gather", None),
                ],
            },
            decimals: false,
            surroundings: Surroundings {
                shards: ["s0", "s1", "s2"].map(str::to_owned).to_vec(),
                own_finish: false,
                relations: FinishRelations::Text,
                finish_rows: 1_000_000,
                finish_bytes: 256 << 20,
                table_bytes: 16 << 30,
                merges: BTreeMap::new(),
                readers: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn a_plan_reads_from_top_to_bottom() {
        assert_eq!(
            plan().to_string(),
            "\
EXACT up to float summation order
Gather: rows of sharded tables are collected, and the query runs over them
  because: the limit is not a plain number

Step 1, on 2 of 3 shards: s2, s0; the key is pinned
    SELECT k, x FROM t
  merge: k-way, by column 1 DESC NULLS LAST, column 2 (not shown), without the first 2 rows, 1 row at most
  the rows are the relation m1(k), handed to the server of step 2

Step 2, the finish, on any shard that takes part
    m1(k) = the rows of step 1
    SELECT k
    FROM m1
  the rows are the answer

Relations may hold 1,000,000 rows and 256 MiB of SQL text, all together; more is an error
"
        );
    }

    #[test]
    fn a_plan_says_what_it_rests_on() {
        let text = plan().verbose();
        assert!(
            text.contains(
                "handed to the server of step 2
  exact because
    each row of t is on one shard
    all rows of t are collected

Step 2"
            ),
            "{text}"
        );
        assert!(
            text.ends_with(
                "
Arms, from the cheapest on
  SELECT k, x FROM t ..
    union or ordered: not taken, the limit is not a plain number
    gather: taken
"
            ),
            "{text}"
        );
        // The rest is that of the shorter text.
        let rest: Vec<_> = text
            .lines()
            .filter(|line| plan().to_string().contains(line))
            .collect();
        assert_eq!(rest.join("\n").trim_end(), plan().to_string().trim_end());
    }

    #[test]
    fn rows_go_into_a_table_where_that_server_can_take_them() {
        let mut plan = plan();
        plan.surroundings.relations = FinishRelations::Temporary;
        // The shard that finishes may be one that sorts its rows, in the same session.
        assert!(!plan.is_temporary(0));
        plan.surroundings.own_finish = true;
        assert!(plan.is_temporary(0));
        assert!(!plan.is_temporary(1));
        let text = plan.to_string();
        assert!(
            text.contains("handed to the server of step 2 as a temporary table\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\nTemporary tables may hold 16 GiB, all together; more is an error\n"),
            "{text}"
        );
        plan.surroundings.own_finish = false;
        plan.steps[0].merge = Merge::all();
        assert!(plan.is_temporary(0));
        plan.steps[1].place = Place::Shards(vec![0, 1]);
        assert!(!plan.is_temporary(0));
        assert!(!plan.to_string().contains("emporary"));
    }

    #[test]
    fn long_statements_are_brought_into_lines_and_mean_the_same() {
        let long = format!(
            "SELECT {} FROM t WHERE a = 'x y'",
            ["column_name"; 9].join(", ")
        );
        let lines = with_deep_stack(|| Ok(pretty(&long))).unwrap();
        assert!(lines.lines().count() > 5, "{lines}");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&lines), words(&long));
        let strange = format!("{long} AND nothing that can be read");
        let same = with_deep_stack(|| Ok(pretty(&strange))).unwrap();
        assert_eq!(same, strange);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(rows(1), "1 row");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(1), "1 byte");
        assert_eq!(seconds(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(seconds(Duration::from_millis(1_234)), "1.23 s");
    }
}
