//! A plan as JSON for programs.

use serde::Serialize;

use super::argument::Judgement;
use super::{Arm, Exactness, Merge, Place, Plan, SortKey, Step};
use crate::config::FinishRelations;
use crate::progress::{ShardProgress, StepProgress};

impl Plan {
    /// The plan as a JSON object. Later versions may add fields.
    ///
    /// | field | |
    /// |---|---|
    /// | `exactness` | `exact`, or `exact_up_to_float_order` |
    /// | `arm` | `single`, `union`, `ordered`, `combine` or `gather` |
    /// | `reasons` | why no cheaper arm was taken |
    /// | `judged` | the arms that were judged, in order: the `block` as its text begins, the `arm` (`single`, `union or ordered`, `combine`, `rows`, `gather`), and why it was not taken, its `obstacle`; null: it was |
    /// | `columns` | of the answer: `name`, and PostgreSQL's `type` |
    /// | `shards` | the names of all shards |
    /// | `finish_limit` | what all steps together may hand on to other servers: `rows`, and `bytes` of SQL; and `temporary_bytes`, in temporary tables |
    /// | `steps` | in their order; the last one gives the answer |
    /// | `steps[].step` | its number, from 1 |
    /// | `steps[].relation` | the `name` of its rows in the SQL of later steps, their `columns`, and in which `form` they are there: `text` or `temporary`; null for the last step |
    /// | `steps[].uses` | the steps, by number, whose rows its SQL reads |
    /// | `steps[].place` | `kind`: `shards`, with their names in `shards`; `any_shard`; `finish_shard`: any shard that takes part; or `finish_server`: that of `[finish] url` |
    /// | `steps[].premises` | what it rests on: a sentence for each |
    /// | `steps[].sql` | without the rows of the steps that it uses |
    /// | `steps[].merge` | `kind`: `concatenate` or `ordered`, with `skip` and `fetch` (null: all), the latter with `keys` (`column` from 0, `descending`, `nulls_first`) and how many columns are `visible`; or `aggregate`, with `sql` of DataFusion over the table `shards`, which has `columns`, and its `plan` after [`Query::explain`](crate::Query::explain) |
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
            judged: self
                .argument
                .judged
                .iter()
                .map(JudgedObject::from)
                .collect(),
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
                temporary_bytes: around.table_bytes,
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
                form: match self.is_temporary(number - 1) {
                    true => FinishRelations::Temporary,
                    false => FinishRelations::Text,
                },
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
            premises: self.argument.premises(number - 1),
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
                Merge::Aggregate { sql, columns } => MergeObject::Aggregate {
                    sql,
                    columns,
                    plan: self.surroundings.merges.get(&step.name).map(String::as_str),
                },
            },
            analysis: None,
        }
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

#[derive(Serialize)]
struct Document<'a> {
    exactness: &'static str,
    arm: &'static str,
    reasons: &'a [String],
    judged: Vec<JudgedObject<'a>>,
    columns: Vec<ColumnObject<'a>>,
    shards: &'a [String],
    finish_limit: LimitObject,
    steps: Vec<StepObject<'a>>,
}

#[derive(Serialize)]
struct JudgedObject<'a> {
    block: &'a str,
    arm: &'static str,
    obstacle: Option<&'a str>,
}

impl<'a> From<&'a Judgement> for JudgedObject<'a> {
    fn from(judged: &'a Judgement) -> Self {
        Self {
            block: &judged.block,
            arm: judged.arm,
            obstacle: judged.obstacle.as_deref(),
        }
    }
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
    temporary_bytes: u64,
}

#[derive(Serialize)]
struct StepObject<'a> {
    step: usize,
    relation: Option<RelationObject<'a>>,
    uses: Vec<usize>,
    place: PlaceObject<'a>,
    premises: &'a [String],
    sql: String,
    merge: MergeObject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis: Option<AnalysisObject>,
}

#[derive(Serialize)]
struct RelationObject<'a> {
    name: &'a str,
    columns: Vec<&'a str>,
    form: FinishRelations,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        plan: Option<&'a str>,
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
    use super::super::explain::tests::plan;

    #[test]
    fn json_has_the_names_that_are_documented() {
        let json: serde_json::Value = serde_json::from_str(&plan().to_json()).unwrap();
        assert_eq!(json["exactness"], "exact_up_to_float_order");
        assert_eq!(json["arm"], "gather");
        assert_eq!(json["finish_limit"]["rows"], 1_000_000);
        assert_eq!(json["finish_limit"]["temporary_bytes"], 16_u64 << 30);
        let step = &json["steps"][0];
        assert_eq!(step["place"]["kind"], "shards");
        assert_eq!(step["place"]["shards"], serde_json::json!(["s2", "s0"]));
        assert_eq!(step["merge"]["kind"], "ordered");
        assert_eq!(step["merge"]["keys"][0]["descending"], true);
        assert_eq!(step["relation"]["name"], "m1");
        assert_eq!(step["relation"]["form"], "text");
        assert_eq!(step["premises"][0], "each row of t is on one shard");
        assert_eq!(json["judged"][0]["arm"], "union or ordered");
        assert_eq!(
            json["judged"][0]["obstacle"],
            "the limit is not a plain number"
        );
        assert!(json["judged"][1]["obstacle"].is_null());
        let last = &json["steps"][1];
        assert_eq!(last["uses"], serde_json::json!([1]));
        assert_eq!(last["place"]["kind"], "finish_shard");
        assert!(last["relation"].is_null());
    }
}
