//! Plans that do not hold, put together by hand: each fault that was found in a plan once, and its
//! neighbours, becomes an error.

use std::sync::Arc;

use super::*;
use crate::catalog::{Catalog, Origin, Volatility};
use crate::error::ErrorKind;
use crate::plan::bind::tests::{aggregate, topology};
use crate::plan::thread::with_deep_stack;
use crate::plan::{
    Answers, Argument, Arm, Exactness, MergeMode, SortKey, Sql, StepColumn, Surroundings,
};
use crate::types::{Column, TypeOptions};

/// The catalog of binding's tests, with what these call.
fn catalog() -> Catalog {
    let one = (1, Some(1));
    let mut reader = aggregate("s_rows", (0, Some(0)));
    reader.kind = crate::catalog::FunctionKind::Normal;
    reader.schema = "public".to_owned();
    reader.origin = Origin::User;
    reader.volatility = Volatility::Volatile;
    ["min", "avg", "array_agg"]
        .into_iter()
        .fold(crate::plan::bind::tests::catalog(), |catalog, name| {
            catalog.with_function(aggregate(name, one))
        })
        .with_function(aggregate("regr_sxx", (2, Some(2))))
        .with_function(reader)
}

fn step(sql: &str, place: Place) -> Step {
    Step {
        name: String::new(),
        sql: Sql {
            recursive: false,
            with: Vec::new(),
            body: sql.to_owned(),
        },
        uses: Vec::new(),
        place,
        merge: Merge::Concatenate {
            skip: 0,
            fetch: None,
        },
        columns: Vec::new(),
    }
}

/// A step on both shards.
fn both(sql: &str) -> Step {
    step(sql, Place::Shards(vec![0, 1]))
}

fn finish(sql: &str) -> Step {
    step(sql, Place::Finish)
}

impl Step {
    fn with_columns(mut self, names: &[&str]) -> Self {
        let column = |name: &&str| StepColumn {
            name: (*name).to_owned(),
            collation: None,
        };
        self.columns = names.iter().map(column).collect();
        self
    }

    fn with_merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// The first rows, in order of the first column.
    fn ordered(self, fetch: Option<u64>) -> Self {
        self.with_merge(Merge::Ordered {
            keys: vec![SortKey {
                column: 0,
                descending: false,
                nulls_first: false,
            }],
            skip: 0,
            fetch,
            visible: 1,
        })
    }

    fn aggregated(self, sql: &str, columns: &[&str]) -> Self {
        self.with_merge(Merge::Aggregate {
            sql: sql.to_owned(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        })
    }
}

/// Checks steps as the plan of a statement whose answer has this many columns. Each step but the
/// first uses all before it.
fn checked(sql: &str, width: usize, steps: Vec<Step>) -> Result<()> {
    let steps = steps.into_iter().enumerate().map(|(index, step)| Step {
        name: format!("m{}", index + 1),
        uses: (0..index).collect(),
        ..step
    });
    let steps: Vec<Step> = steps.collect();
    let column = Column::new("x", "int8".parse().unwrap());
    let columns = vec![column; width];
    let sql = sql.to_owned();
    with_deep_stack(move || {
        let answers = Answers::knowing(Arc::default(), []);
        let question = Question {
            sql: &sql,
            topology: &topology(),
            catalog: &catalog(),
            merge: MergeMode::Auto,
            system_catalogs: false,
            decimals: false,
            types: &TypeOptions::default(),
            columns: &columns,
            answers: &answers,
        };
        let plan = Plan {
            steps,
            columns: columns.clone(),
            exactness: Exactness::Exact,
            arm: Arm::Gather,
            reasons: Vec::new(),
            argument: Argument::default(),
            decimals: false,
            surroundings: Surroundings::default(),
        };
        check(&question, &plan, None)
    })
}

#[track_caller]
fn holds(sql: &str, width: usize, steps: Vec<Step>) {
    checked(sql, width, steps).unwrap();
}

#[track_caller]
fn fails(sql: &str, width: usize, steps: Vec<Step>, why: &str) {
    let error = checked(sql, width, steps).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.message().contains(why), "{error}");
}

#[test]
fn a_sharded_table_is_read_on_its_shards_only() {
    let sql = "select k from t";
    holds(sql, 1, vec![both("SELECT t.k FROM t")]);
    for place in [Place::AnyShard, Place::Finish] {
        for text in [
            "SELECT t.k FROM t",
            "SELECT t.k FROM public.t",
            "SELECT v.k FROM v",
            "SELECT r.k FROM r WHERE EXISTS (SELECT 1 FROM t)",
            "SELECT (SELECT max(t.k) FROM t)",
            "WITH c AS (SELECT t.k FROM t) SELECT c.k FROM c",
            "SELECT r.k FROM r ORDER BY (SELECT max(t.k) FROM t)",
            "SELECT r.k FROM r LEFT JOIN LATERAL (SELECT 1 FROM t) x ON true",
        ] {
            fails(sql, 1, vec![step(text, place.clone())], "has a part of it");
        }
    }
    // What nobody names does not run; a name of its own is no table.
    for text in [
        "WITH c AS (SELECT t.k FROM t) SELECT r.k FROM r",
        "WITH t AS (SELECT r.k FROM r) SELECT t.k FROM t",
    ] {
        holds(sql, 1, vec![step(text, Place::AnyShard)]);
    }
}

#[test]
fn every_name_means_something() {
    let sql = "select k from t";
    fails(
        sql,
        1,
        vec![both("SELECT x.k FROM x, t")],
        "nothing is known",
    );
    fails(
        sql,
        1,
        vec![both("SELECT t.k FROM t WHERE")],
        "cannot be read",
    );
    let first = || both("SELECT t.k FROM t").with_columns(&["k"]);
    holds(sql, 1, vec![first(), finish("SELECT m1.k FROM m1")]);
    let mut unhanded = finish("SELECT m1.k FROM m1");
    unhanded.name = "m2".to_owned();
    let error = with_deep_stack({
        let first = Step {
            name: "m1".to_owned(),
            ..first()
        };
        move || {
            let answers = Answers::knowing(Arc::default(), []);
            let columns = vec![Column::new("k", "int8".parse()?)];
            check(
                &Question {
                    sql: "select k from t",
                    topology: &topology(),
                    catalog: &catalog(),
                    merge: MergeMode::Auto,
                    system_catalogs: false,
                    decimals: false,
                    types: &TypeOptions::default(),
                    columns: &columns,
                    answers: &answers,
                },
                &Plan {
                    steps: vec![first, unhanded],
                    columns: columns.clone(),
                    exactness: Exactness::Exact,
                    arm: Arm::Gather,
                    reasons: Vec::new(),
                    argument: Argument::default(),
                    decimals: false,
                    surroundings: Surroundings::default(),
                },
                None,
            )
        }
    });
    let error = error.unwrap_err();
    assert!(error.message().contains("is handed []"), "{error}");
}

/// Faults g and h: functions in FROM, and wherever else nobody looked.
#[test]
fn no_step_calls_what_is_not_cleared() {
    for text in [
        "SELECT count(*) FROM s_rows()",
        "SELECT t.k FROM t, s_rows() AS x",
        "SELECT t.k FROM t, LATERAL s_rows() AS x",
        "SELECT t.k FROM t WHERE t.k IN (SELECT x FROM s_rows() AS x)",
        "SELECT t.k FROM t ORDER BY s_rows()",
        "SELECT t.k FROM t WHERE t.k = query_to_xml('select 1')",
    ] {
        fails("select k from t", 1, vec![both(text)], "not cleared");
    }
    let clock = vec![both("SELECT t.k FROM t WHERE t.tz < now()")];
    fails("select k from t", 1, clock, "reads the clock");
}

#[test]
fn no_shard_gives_rows_that_another_gives_too() {
    let sql = "select k from t";
    for text in [
        "SELECT r.k FROM r",
        "SELECT r.k FROM r LEFT JOIN t ON t.k = r.k",
        "SELECT r.k FROM t RIGHT JOIN r ON t.k = r.k",
        "SELECT r.k FROM t FULL JOIN r ON t.k = r.k",
        "SELECT r.k FROM r WHERE EXISTS (SELECT 1 FROM t WHERE t.k = r.k)",
        "SELECT t.k FROM t UNION ALL SELECT r.k FROM r",
        "SELECT r.k FROM r EXCEPT SELECT t.k FROM t",
        "SELECT 1",
    ] {
        fails(sql, 1, vec![both(text)], "the others give too");
    }
    for text in [
        "SELECT r.k FROM r JOIN t ON t.k = r.k",
        "SELECT r.k FROM r RIGHT JOIN t ON t.k = r.k",
        "SELECT v.k FROM v",
        "SELECT x.k FROM (SELECT t.k FROM t) AS x, r",
        "WITH c AS (SELECT t.k FROM t) SELECT c.k FROM c",
        "SELECT t.k FROM t INTERSECT SELECT r.k FROM r",
    ] {
        holds(sql, 1, vec![both(text)]);
    }
}

/// Fault a: behind grouping sets, counts without a guard count twice; and counts of what a shard has
/// made one of, once for each shard.
#[test]
fn parts_of_groups_are_put_together() {
    let sql = "select note, count(distinct d), count(*) from t group by 1";
    let sets = "GROUP BY GROUPING SETS ((t.note), (t.note, t.d, 'x'::TEXT))";
    let part = |count: &str| {
        both(&format!(
            "SELECT t.note AS mk1, t.d AS ma1, {count} AS ma2 FROM t {sets}"
        ))
        .with_columns(&["mk1", "ma1", "ma2"])
    };
    let guarded = || part("CASE WHEN GROUPING('x'::TEXT) = 1 THEN count(*) END");
    let whole = |distinct: &str, count: &str| {
        finish(&format!(
            "SELECT m1.mk1, count({distinct}m1.ma1), {count} FROM m1 GROUP BY m1.mk1"
        ))
    };
    let sum = "coalesce(sum(m1.ma2), 0)::INT8";
    holds(sql, 3, vec![guarded(), whole("DISTINCT ", sum)]);
    fails(
        sql,
        3,
        vec![part("count(*)"), whole("DISTINCT ", sum)],
        "for each of several grouping sets",
    );
    fails(
        sql,
        3,
        vec![guarded(), whole("", sum)],
        "once for each shard",
    );
    for (count, why) in [
        ("count(m1.ma2)", "does not put"),
        ("avg(m1.ma2)", "does not put"),
        ("sum(DISTINCT m1.ma2)", "does not put"),
        ("max(m1.ma2)", "does not put"),
        ("m1.ma2", "for the whole"),
        ("sum(m1.ma2 + 1)", "for the whole"),
    ] {
        fails(sql, 3, vec![guarded(), whole("DISTINCT ", count)], why);
    }

    // Sums of squared distances from the mean of each part, which are not those from the mean of all.
    let sql = "select regr_sxx(k, k) from t";
    let part = || both("SELECT regr_sxx(t.k, t.k) AS ma1 FROM t").with_columns(&["ma1"]);
    holds(
        sql,
        1,
        vec![part(), finish("SELECT array_agg(m1.ma1) FROM m1")],
    );
    fails(
        sql,
        1,
        vec![part(), finish("SELECT sum(m1.ma1) FROM m1")],
        "does not put",
    );

    let sql = "select note, min(k) from t group by 1";
    let part = || both("SELECT t.note AS mk1, min(t.k) AS ma1 FROM t GROUP BY t.note");
    let part = || part().with_columns(&["mk1", "ma1"]);
    let whole = |text: &str| vec![part(), finish(text)];
    holds(
        sql,
        2,
        whole("SELECT m1.mk1, min(m1.ma1) FROM m1 GROUP BY m1.mk1"),
    );
    for (text, why) in [
        (
            "SELECT m1.mk1, max(m1.ma1) FROM m1 GROUP BY m1.mk1",
            "does not put",
        ),
        ("SELECT m1.mk1, m1.ma1 FROM m1", "for the whole"),
        ("SELECT m1.mk1, 1 FROM m1", "does not join them"),
    ] {
        fails(sql, 2, whole(text), why);
    }
    let set = "SELECT r.k, 1 FROM r WHERE r.note IN (SELECT m1.mk1 FROM m1)";
    holds(sql, 2, whole(set));
    // Groups of the shard key are whole.
    let local = both("SELECT t.k AS mc1, min(t.d) AS mc2 FROM t GROUP BY t.k");
    let local = local.with_columns(&["mc1", "mc2"]);
    holds(sql, 2, vec![local, finish("SELECT m1.mc1, m1.mc2 FROM m1")]);
}

#[test]
fn groups_that_are_not_whole_are_no_answer() {
    for text in [
        "SELECT count(*) FROM t",
        "SELECT count(*) FROM t GROUP BY t.note",
        "SELECT DISTINCT t.note FROM t",
        "SELECT count(*) OVER (PARTITION BY t.note) FROM t",
        "SELECT count(*) OVER () FROM t",
        "SELECT count(*) FROM t JOIN r ON r.k = t.k GROUP BY r.note",
    ] {
        fails("select 1 from t", 1, vec![both(text)], "parts of groups");
    }
    for text in [
        "SELECT count(*) FROM t GROUP BY ROLLUP (t.k)",
        "SELECT count(*) FROM t GROUP BY GROUPING SETS ((t.k), (t.d))",
    ] {
        fails(
            "select 1 from t",
            1,
            vec![both(text)],
            "several grouping sets",
        );
    }
    for text in [
        "SELECT x.n FROM (SELECT count(*) AS n FROM t) AS x",
        "SELECT x.n FROM (SELECT count(*) AS n FROM t GROUP BY t.d) AS x, t",
        "WITH x AS (SELECT DISTINCT t.note FROM t) SELECT x.note FROM x",
    ] {
        fails(
            "select 1 from t",
            1,
            vec![both(text)],
            "groups rows that several",
        );
    }
    for text in [
        "SELECT count(*) FROM t GROUP BY t.k",
        "SELECT count(*) FROM t GROUP BY GROUPING SETS ((t.k), (t.k, t.d))",
        "SELECT DISTINCT t.k FROM t",
        "SELECT count(*) OVER (PARTITION BY t.k) FROM t",
        "SELECT count(*) FROM t JOIN r ON r.k = t.k GROUP BY r.k",
        "SELECT x.n FROM (SELECT count(*) AS n FROM t GROUP BY t.k) AS x",
        "SELECT t.k FROM t, (SELECT count(*) AS n FROM r) AS x",
    ] {
        holds("select 1 from t", 1, vec![both(text)]);
    }
}

#[test]
fn a_shard_leaves_out_no_row_that_is_wanted() {
    let sql = "select k from t order by 1 limit 5";
    let first = |text: &str, fetch| vec![both(text).ordered(fetch)];
    holds(
        sql,
        1,
        first("SELECT t.k FROM t ORDER BY 1 LIMIT 5", Some(5)),
    );
    let why = "fewer than the merge may give";
    fails(
        sql,
        1,
        first("SELECT t.k FROM t ORDER BY 1 LIMIT 4", Some(5)),
        why,
    );
    fails(
        sql,
        1,
        first("SELECT t.k FROM t ORDER BY 1 LIMIT 5", None),
        why,
    );
    let why = "leaves out its first rows";
    fails(
        sql,
        1,
        first("SELECT t.k FROM t ORDER BY 1 LIMIT 9 OFFSET 1", Some(5)),
        why,
    );
    let inside = "SELECT x.k FROM (SELECT t.k FROM t LIMIT 3) AS x ORDER BY 1 LIMIT 5";
    fails(sql, 1, first(inside, Some(5)), "some rows of each shard");

    let part = || both("SELECT t.k AS mc1 FROM t ORDER BY 1 LIMIT 5").with_columns(&["mc1"]);
    let whole = |text: &str| vec![part(), finish(text)];
    holds(sql, 1, whole("SELECT m1.mc1 FROM m1 ORDER BY 1 LIMIT 5"));
    holds(
        sql,
        1,
        whole("SELECT m1.mc1 FROM m1 ORDER BY 1 LIMIT 2 OFFSET 3"),
    );
    let why = "more than the first rows";
    fails(
        sql,
        1,
        whole("SELECT m1.mc1 FROM m1 ORDER BY 1 LIMIT 6"),
        why,
    );
    fails(
        sql,
        1,
        whole("SELECT m1.mc1 FROM m1 ORDER BY 1 LIMIT 3 OFFSET 3"),
        why,
    );
    fails(
        sql,
        1,
        whole("SELECT m1.mc1 FROM m1 ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES"),
        why,
    );
}

#[test]
fn the_merge_sorts_as_the_shards_do() {
    let sql = "select k from t order by 1";
    for text in [
        "SELECT t.k FROM t ORDER BY 1",
        "SELECT t.k FROM t ORDER BY t.k",
        "SELECT t.k AS x FROM t ORDER BY x NULLS LAST",
    ] {
        holds(sql, 1, vec![both(text).ordered(None)]);
    }
    for text in [
        "SELECT t.k FROM t ORDER BY 1 DESC",
        "SELECT t.k FROM t ORDER BY 1 NULLS FIRST",
        "SELECT t.k FROM t ORDER BY t.d",
    ] {
        fails(sql, 1, vec![both(text).ordered(None)], "sorts otherwise");
    }
    let unsorted = vec![both("SELECT t.k FROM t ORDER BY 1, t.d").ordered(None)];
    fails(sql, 1, unsorted, "another number of sort keys");
    let lost = vec![both("SELECT t.k FROM t ORDER BY 1")];
    fails(sql, 1, lost, "does not keep their order");
}

#[test]
fn nothing_of_the_statement_is_dropped() {
    let all = || vec![both("SELECT t.k FROM t")];
    fails("select k from t order by 1", 1, all(), "ORDER BY");
    fails("select k from t limit 3", 1, all(), "LIMIT");
    fails("select k from t offset 3", 1, all(), "LIMIT");
    for none in ["limit null::int8", "limit all", "limit null offset null"] {
        holds(&format!("select k from t {none}"), 1, all());
    }
    fails("select k, d from t", 2, all(), "1 columns where 2");
    let mut steps = all();
    steps[0].place = Place::Shards(vec![0, 0]);
    fails("select k from t", 1, steps, "on a shard twice");
}

#[test]
fn a_merge_only_puts_parts_together() {
    let sql = "select note, count(*), min(k) from t group by 1";
    let shard = "SELECT t.note AS a, count(*) AS b, min(t.k) AS c FROM t GROUP BY t.note";
    let merged = |sql: &str| vec![both(shard).aggregated(sql, &["a", "b", "c"])];
    holds(
        sql,
        3,
        merged(
            "SELECT \"a\", coalesce(sum(\"b\"), 0) AS b, min(\"c\") AS c FROM shards GROUP BY \"a\"",
        ),
    );
    for (text, why) in [
        (
            "SELECT \"a\", count(\"b\"), min(\"c\") FROM shards GROUP BY \"a\"",
            "puts no part",
        ),
        (
            "SELECT \"a\", sum(\"b\"), max(\"c\") FROM shards GROUP BY \"a\"",
            "puts no part",
        ),
        (
            "SELECT \"a\", sum(\"b\"), sum(\"c\") FROM shards GROUP BY \"a\"",
            "puts no part",
        ),
        (
            "SELECT \"a\", \"b\", min(\"c\") FROM shards GROUP BY \"a\", \"b\"",
            "the shards do not",
        ),
        (
            "SELECT min(\"a\"), sum(\"b\"), min(\"c\") FROM shards",
            "other keys",
        ),
    ] {
        fails(sql, 3, merged(text), why);
    }
    let distinct =
        "SELECT t.note AS a, count(DISTINCT t.d) AS b, min(t.k) AS c FROM t GROUP BY t.note";
    let steps = vec![both(distinct).aggregated(
        "SELECT \"a\", sum(\"b\"), min(\"c\") FROM shards GROUP BY \"a\"",
        &["a", "b", "c"],
    )];
    fails(sql, 3, steps, "puts no part");
}

#[test]
fn what_stands_in_distinct_on_is_looked_at() {
    let sql = "select distinct on (1) k from t";
    holds(sql, 1, vec![both("SELECT DISTINCT ON (1) t.k FROM t")]);
    let parts = "parts of groups that other shards";
    for on in [
        "count(*) OVER (ORDER BY t.d) > 6",
        "count(*) > 30",
        "2",
        "t.note",
    ] {
        let step = format!("SELECT DISTINCT ON ({on}) t.d, t.note FROM t");
        fails("select d, note from t", 2, vec![both(&step)], parts);
    }
}

#[test]
fn a_subquery_of_a_shard_is_of_its_own_rows() {
    let sql = "select k from t";
    let own = "of its own rows";
    for wrong in [
        "SELECT t.k FROM t WHERE t.k > (SELECT avg(t_2.k) FROM t AS t_2)",
        "SELECT (SELECT count(*) FROM t AS t_2) AS k FROM t",
        "SELECT t.k FROM t WHERE EXISTS (SELECT 1 FROM t AS t_2 WHERE t_2.d > '2020-01-01')",
        "SELECT t.k FROM t WHERE EXISTS (SELECT 1 FROM r WHERE r.k = (SELECT max(t_2.k) FROM t AS t_2))",
        "SELECT DISTINCT ON (t.k, t.d > (SELECT max(t_2.d) FROM t AS t_2)) t.k FROM t",
    ] {
        fails(sql, 1, vec![both(wrong)], own);
    }
    for right in [
        "SELECT t.k FROM t WHERE EXISTS (SELECT 1 FROM t AS t_2 WHERE t_2.k = t.k)",
        "SELECT t.k FROM t WHERE t.k IN (SELECT t_2.k FROM t AS t_2)",
        "SELECT t.k FROM t WHERE t.k = ANY (SELECT t_2.k FROM t AS t_2)",
        "SELECT t.k FROM t WHERE t.k > (SELECT avg(r.k) FROM r)",
    ] {
        holds(sql, 1, vec![both(right)]);
    }
}

#[test]
fn a_set_may_be_made_of_sets() {
    let sql = "select k from r where exists (select 1 from (select d from t) s where s.d = r.d)";
    let set = || both("SELECT DISTINCT t.d AS c1 FROM t").with_columns(&["c1"]);
    let finish = |derived: &str| {
        let text = format!(
            "SELECT r.k FROM r WHERE EXISTS (SELECT 1 FROM ({derived}) AS s WHERE s.d = r.d)"
        );
        vec![set(), finish(&text)]
    };
    holds(sql, 1, finish("SELECT m1.c1 AS d FROM m1"));
    holds(
        sql,
        1,
        finish("SELECT x.d FROM (SELECT m1.c1 AS d FROM m1) AS x JOIN r AS r_2 ON r_2.d = x.d"),
    );
    let all = "SELECT m1.c1 AS d FROM m1";
    holds(
        sql,
        1,
        finish(&format!("{all} UNION ALL SELECT r_2.d FROM r AS r_2")),
    );
    for counts in [
        &*format!("{all} EXCEPT ALL SELECT r_2.d FROM r AS r_2"),
        &*format!("SELECT r_2.d FROM r AS r_2 INTERSECT ALL {all}"),
        "SELECT m1.c1 AS d FROM m1 LIMIT 3",
        "SELECT m1.c1 AS d, count(*) OVER (ORDER BY m1.c1) FROM m1",
        "SELECT x.d FROM (SELECT m1.c1 AS d FROM m1) AS x LIMIT 3",
    ] {
        fails(sql, 1, finish(counts), "does not join them");
    }
}
