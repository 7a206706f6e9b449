//! A plan as text for people, and as JSON for programs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::{Arm, Exactness, Merge, Place, Plan, SortKey, Sql, Step, sql};
use crate::config::{Finish, Topology};
use crate::progress::{ShardProgress, StepProgress};

/// What a plan says of servers and bounds, beside its steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    shards: Vec<String>,
    /// Whether the server that finishes is one of its own.
    own_finish: bool,
    finish_rows: u64,
    finish_bytes: u64,
}

impl Surroundings {
    pub(crate) fn new(topology: &Topology, finish_rows: u64, finish_bytes: u64) -> Self {
        Self {
            shards: topology
                .shards()
                .iter()
                .map(|shard| shard.name().to_owned())
                .collect(),
            own_finish: matches!(topology.finish(), Finish::Server(_)),
            finish_rows,
            finish_bytes,
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

    /// Why no cheaper arm was taken: a sentence for each reason.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.iter().map(String::as_str)
    }

    /// The plan as a JSON object. Later versions may add fields.
    ///
    /// | field | |
    /// |---|---|
    /// | `exactness` | `exact`, or `exact_up_to_float_order` |
    /// | `arm` | `single`, `union`, `ordered`, `combine` or `gather` |
    /// | `reasons` | why no cheaper arm was taken |
    /// | `columns` | of the answer: `name`, and PostgreSQL's `type` |
    /// | `shards` | the names of all shards |
    /// | `finish_limit` | what all steps together may hand on to other servers: `rows`, and `bytes` of SQL |
    /// | `steps` | in their order; the last one gives the answer |
    /// | `steps[].step` | its number, from 1 |
    /// | `steps[].relation` | the name of its rows in the SQL of later steps, and their `columns`; null for the last step |
    /// | `steps[].uses` | the steps, by number, whose rows its SQL reads |
    /// | `steps[].place` | `kind`: `shards`, with their names in `shards`; `any_shard`; `finish_shard`: any shard that takes part; or `finish_server`: that of `[finish] url` |
    /// | `steps[].sql` | without the rows of the steps that it uses |
    /// | `steps[].merge` | `kind`: `concatenate` or `ordered`, with `skip` and `fetch` (null: all), the latter with `keys` (`column` from 0, `descending`, `nulls_first`) and how many columns are `visible`; or `aggregate`, with `sql` of DataFusion over the table `shards`, which has `columns` |
    pub fn to_json(&self) -> String {
        self.json(None)
    }

    /// The same, with what each step has done so far.
    pub(crate) fn json(&self, measured: Option<&[StepProgress]>) -> String {
        let around = &self.surroundings;
        let document = Document {
            exactness: match self.exactness {
                Exactness::Exact => "exact",
                Exactness::ExactUpToFloatOrder => "exact_up_to_float_order",
            },
            arm: self.arm.name(),
            reasons: &self.reasons,
            columns: self
                .columns
                .iter()
                .map(|column| ColumnObject {
                    name: &column.name,
                    pg_type: column.pg_type.details().to_string(),
                })
                .collect(),
            shards: &around.shards,
            finish_limit: LimitObject {
                rows: around.finish_rows,
                bytes: around.finish_bytes,
            },
            steps: self
                .steps
                .iter()
                .enumerate()
                .map(|(index, step)| StepObject {
                    analysis: measured
                        .and_then(|steps| steps.get(index))
                        .map(AnalysisObject::from),
                    ..self.step_object(index + 1, step)
                })
                .collect(),
        };
        // Strings, numbers and lists: nothing that JSON has no form for.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    fn step_object<'a>(&'a self, number: usize, step: &'a Step) -> StepObject<'a> {
        StepObject {
            step: number,
            relation: (number < self.steps.len()).then(|| RelationObject {
                name: &step.name,
                columns: step.columns.iter().map(|column| &*column.name).collect(),
            }),
            uses: step.uses.iter().map(|used| used + 1).collect(),
            place: match &step.place {
                Place::Shards(shards) => PlaceObject::Shards {
                    shards: shards.iter().map(|shard| self.shard(*shard)).collect(),
                },
                Place::AnyShard => PlaceObject::AnyShard,
                Place::Finish if self.surroundings.own_finish => PlaceObject::FinishServer,
                Place::Finish => PlaceObject::FinishShard,
            },
            sql: step.sql.to_string(),
            merge: match &step.merge {
                Merge::Concatenate { skip, fetch } => MergeObject::Concatenate {
                    skip: *skip,
                    fetch: *fetch,
                },
                Merge::Ordered {
                    keys,
                    skip,
                    fetch,
                    visible,
                } => MergeObject::Ordered {
                    keys: keys.iter().map(KeyObject::from).collect(),
                    skip: *skip,
                    fetch: *fetch,
                    visible: *visible,
                },
                Merge::Aggregate { sql, columns } => MergeObject::Aggregate { sql, columns },
            },
            analysis: None,
        }
    }

    /// The name of a shard.
    fn shard(&self, index: usize) -> &str {
        self.surroundings.shards.get(index).map_or("?", |name| name)
    }

    /// The text of [`Display`](fmt::Display), with what each step has done so far.
    pub(crate) fn describe(&self, measured: Option<&[StepProgress]>) -> String {
        let described = sql::with_deep_stack(|| {
            let mut text = String::new();
            // Writing to a String does not fail.
            let _ = self.write(measured, &mut text);
            Ok(text)
        });
        described.unwrap_or_else(|error| error.to_string())
    }

    fn write(&self, measured: Option<&[StepProgress]>, out: &mut String) -> fmt::Result {
        writeln!(out, "{}", self.exactness)?;
        writeln!(out, "{}", self.arm)?;
        for reason in &self.reasons {
            writeln!(out, "  because: {reason}")?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(out, "\nStep {}, {}", index + 1, self.place(&step.place))?;
            self.write_sql(step, out)?;
            self.write_merge(step, out)?;
            self.write_use(index, step, out)?;
            if let Some(measured) = measured.and_then(|steps| steps.get(index)) {
                write_measured(measured, out)?;
            }
        }
        if self.steps.len() > 1 {
            let around = &self.surroundings;
            writeln!(
                out,
                "\nRelations may hold {} rows and {} of SQL text, all together; more is an error",
                grouped(around.finish_rows),
                size(around.finish_bytes)
            )?;
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
            Place::AnyShard => {
                "on any one shard: all of them would give the same rows".to_owned()
            }
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
                        writeln!(out, "  merge: one shard's rows after the other's{limits}")
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
                writeln!(out, "  merge: DataFusion, over shards({})", columns.join(", "))?;
                for line in pretty(sql).lines() {
                    writeln!(out, "    {line}")?;
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
            .map(|(number, _)| number.to_string())
            .collect();
        let steps = if users.len() == 1 { "step" } else { "steps" };
        writeln!(
            out,
            "  the rows are the relation {}, handed to the server of {steps} {}",
            signature(step),
            users.join(", ")
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(None))
    }
}

impl Arm {
    /// The name in lower case, as JSON has it.
    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Union => "union",
            Self::Ordered => "ordered",
            Self::Combine => "combine",
            Self::Gather => "gather",
        }
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

fn write_measured(step: &StepProgress, out: &mut String) -> fmt::Result {
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
        if text.contains('\n')
            || text.chars().count() <= MOST_IN_A_LINE
            || text.len() > MOST_PRETTY
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
            if ["ORDER BY ", "LIMIT ", "OFFSET "].iter().any(|end| rest.starts_with(end)) {
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

#[derive(Serialize)]
struct Document<'a> {
    exactness: &'static str,
    arm: &'static str,
    reasons: &'a [String],
    columns: Vec<ColumnObject<'a>>,
    shards: &'a [String],
    finish_limit: LimitObject,
    steps: Vec<StepObject<'a>>,
}

#[derive(Serialize)]
struct ColumnObject<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    pg_type: String,
}

#[derive(Serialize)]
struct LimitObject {
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct StepObject<'a> {
    step: usize,
    relation: Option<RelationObject<'a>>,
    uses: Vec<usize>,
    place: PlaceObject<'a>,
    sql: String,
    merge: MergeObject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis: Option<AnalysisObject>,
}

#[derive(Serialize)]
struct RelationObject<'a> {
    name: &'a str,
    columns: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum PlaceObject<'a> {
    Shards { shards: Vec<&'a str> },
    AnyShard,
    FinishShard,
    FinishServer,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum MergeObject<'a> {
    Concatenate {
        skip: u64,
        fetch: Option<u64>,
    },
    Ordered {
        keys: Vec<KeyObject>,
        skip: u64,
        fetch: Option<u64>,
        visible: usize,
    },
    Aggregate {
        sql: &'a str,
        columns: &'a [String],
    },
}

#[derive(Serialize)]
struct KeyObject {
    column: usize,
    descending: bool,
    nulls_first: bool,
}

impl From<&SortKey> for KeyObject {
    fn from(key: &SortKey) -> Self {
        Self {
            column: key.column,
            descending: key.descending,
            nulls_first: key.nulls_first,
        }
    }
}

#[derive(Serialize)]
struct AnalysisObject {
    rows: u64,
    handed_bytes: u64,
    seconds: f64,
    shards: Vec<ShardObject>,
}

impl From<&StepProgress> for AnalysisObject {
    fn from(step: &StepProgress) -> Self {
        Self {
            rows: step.rows,
            handed_bytes: step.handed_bytes,
            seconds: step.elapsed.as_secs_f64(),
            shards: step.shards.iter().map(ShardObject::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct ShardObject {
    shard: String,
    rows: u64,
    bytes: u64,
    seconds: f64,
}

impl From<&ShardProgress> for ShardObject {
    fn from(shard: &ShardProgress) -> Self {
        Self {
            shard: shard.shard.clone(),
            rows: shard.rows,
            bytes: shard.bytes,
            seconds: shard.elapsed.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StepColumn;

    fn plan() -> Plan {
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
                step("m1", "SELECT k, x FROM t", Place::Shards(vec![2, 0]), ordered, &["k"]),
                finish,
            ],
            columns: Vec::new(),
            exactness: Exactness::ExactUpToFloatOrder,
            arm: Arm::Gather,
            reasons: vec!["the limit is not a plain number".to_owned()],
            surroundings: Surroundings {
                shards: ["s0", "s1", "s2"].map(str::to_owned).to_vec(),
                own_finish: false,
                finish_rows: 1_000_000,
                finish_bytes: 256 << 20,
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
    fn json_has_the_names_that_are_documented() {
        let json: serde_json::Value = serde_json::from_str(&plan().to_json()).unwrap();
        assert_eq!(json["exactness"], "exact_up_to_float_order");
        assert_eq!(json["arm"], "gather");
        assert_eq!(json["finish_limit"]["rows"], 1_000_000);
        let step = &json["steps"][0];
        assert_eq!(step["place"]["kind"], "shards");
        assert_eq!(step["place"]["shards"], serde_json::json!(["s2", "s0"]));
        assert_eq!(step["merge"]["kind"], "ordered");
        assert_eq!(step["merge"]["keys"][0]["descending"], true);
        assert_eq!(step["relation"]["name"], "m1");
        let last = &json["steps"][1];
        assert_eq!(last["uses"], serde_json::json!([1]));
        assert_eq!(last["place"]["kind"], "finish_shard");
        assert!(last["relation"].is_null());
    }

    #[test]
    fn long_statements_are_brought_into_lines_and_mean_the_same() {
        let long = format!("SELECT {} FROM t WHERE a = 'x y'", ["column_name"; 9].join(", "));
        let lines = sql::with_deep_stack(|| Ok(pretty(&long))).unwrap();
        assert!(lines.lines().count() > 5, "{lines}");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&lines), words(&long));
        let strange = format!("{long} AND nothing that can be read");
        let same = sql::with_deep_stack(|| Ok(pretty(&strange))).unwrap();
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
