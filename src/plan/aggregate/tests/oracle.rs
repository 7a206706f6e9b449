//! Every rule against a server: the aggregate over a table, and its parts over parts of that table.

use super::*;

/// A table, and those of its parts; some of q have no rows.
const PARTS: [(&str, &[&str]); 4] = [
    ("t", &["p0", "p1", "p2"]),
    ("t", &["q0", "q1", "q2", "q3", "q4"]),
    ("few", &["s0", "s1"]),
    ("none", &["q1", "q4"]),
];

/// The keys that the shards group by, and what the user's GROUP BY makes of them.
const GROUPINGS: [(&[&str], &str); 6] = [
    (&[], ""),
    (&["g1"], "GROUP BY g1"),
    (&["g1", "g2"], "GROUP BY g1, g2"),
    (&["g1", "g2"], "GROUP BY ROLLUP (g1, g2)"),
    (&["g1", "g2"], "GROUP BY GROUPING SETS ((g2), ())"),
    (&["id"], "GROUP BY id"),
];

/// Those that are worth their time over a table: groups of one row each only where there are few.
fn groupings(table: &str) -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    let wanted: &[usize] = match table {
        "few" => &[0, 5],
        "none" => &[0, 1],
        _ => &[0, 1, 2, 3, 4],
    };
    wanted.iter().map(|index| GROUPINGS[*index])
}

/// How far a result may be from the expected one.
#[derive(Clone, Copy)]
enum Near {
    /// The same text.
    Same,
    /// Relative to the greater of the value and this.
    Float(f64, f64),
}

const EXACT: Near = Near::Same;
const FLOAT: Near = Near::Float(1e-12, 0.0);

/// A call, the types of its arguments, and how near.
type Case = (String, &'static [&'static str], Near);

#[test]
fn split_aggregates_equal_those_of_one_table() {
    let server = nasty();
    let cases = cases();
    assert!(cases.len() > 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for parts in PARTS {
        for (keys, group) in groupings(parts.0) {
            // Several in one query, for speed; alone if that fails, to find the one.
            for calls in cases.chunks(12) {
                if compare(&server, calls, keys, group, parts).is_err() {
                    let alone = calls.chunks(1);
                    wrong.extend(
                        alone.filter_map(|call| compare(&server, call, keys, group, parts).err()),
                    );
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n\n")
    );
}

/// Several aggregates share partials and grouping sets; HAVING and DISTINCT of keys.
#[test]
fn several_aggregates_of_one_query() {
    let server = nasty();
    fn case(sql: &str, types: &'static [&'static str], near: Near) -> Case {
        (sql.to_owned(), types, near)
    }
    let calls: [Case; 12] = [
        case("count(*)", &[], EXACT),
        case("avg(price)", &["numeric"], EXACT),
        case("sum(price)", &["numeric"], EXACT),
        case("count(DISTINCT few)", &["int4"], EXACT),
        case("sum(DISTINCT n)", &["numeric"], EXACT),
        case("count(DISTINCT (few, b))", &["text"], EXACT),
        case("count(DISTINCT (b, e))", &["text"], EXACT),
        case("corr(DISTINCT few, i2)", &["int4", "int2"], EXACT),
        case("stddev(f)", &["float8"], FLOAT),
        case("count(DISTINCT g1) FILTER (WHERE g1 > 2)", &["int4"], EXACT),
        case("count(DISTINCT g1)", &["int4"], EXACT),
        case("count(DISTINCT (g1, 'x'::text, g2))", &["text"], EXACT),
    ];
    for parts in PARTS {
        for (keys, group) in groupings(parts.0) {
            let having = match keys {
                [] => "HAVING $1 >= 0".to_owned(),
                _ => format!("{group} HAVING $1 > 2 AND $5 IS NOT NULL AND ($9 > 3) IS NOT FALSE"),
            };
            compare(&server, &calls, keys, group, parts).unwrap();
            compare(&server, &calls, keys, &having, parts).unwrap();
        }
    }
}

/// What stands around a call keeps its meaning.
#[test]
fn combined_within_expressions() {
    const NUMERIC: &[&str] = &["numeric"];
    let server = nasty();
    let expressions: [(&str, &str, &[&str]); 8] = [
        ("-$1", "avg(n)", NUMERIC),
        ("$1::int", "avg(n)", NUMERIC),
        ("$1::text || 'x'", "stddev(n)", NUMERIC),
        ("1 - $1 * 2", "avg(i4)", &["int4"]),
        ("sum($1) OVER (ORDER BY g1)", "avg(n)", NUMERIC),
        ("rank() OVER (ORDER BY $1, g1)", "var_pop(n)", NUMERIC),
        (
            "CASE WHEN $1 > 5 THEN g1 ELSE $1 END",
            "count(DISTINCT n)",
            NUMERIC,
        ),
        (
            "(SELECT max(v) FROM (VALUES (1), ($1)) AS p (v))",
            "stddev(n)",
            NUMERIC,
        ),
    ];
    for (expression, call, types) in expressions {
        let splits = [split_text(call, types).unwrap()];
        let (shards, combined) = shard_queries(&splits, &["g1"], PARTS[0].1);
        let select = |call: &str, source: &str| {
            let expression = expression.replace("$1", call);
            format!("SELECT g1, {expression} FROM {source} GROUP BY g1 ORDER BY g1, {expression}")
        };
        let expected = select(call, "t");
        let shards = shards.join(" UNION ALL ");
        let actual = format!("WITH m1 AS ({shards}) {}", select(&combined[0], "m1"));
        let run = |sql: &str| server.query("nasty", sql).unwrap();
        assert_eq!(run(&actual), run(&expected), "{actual}");
    }
}

/// Rows that are merged in between, as DataFusion would, give the same; alone, too, if they say so.
#[test]
fn merged_in_between() {
    let server = nasty();
    let (mut merged, mut direct) = (0, 0);
    for (call, types, _) in cases() {
        let split = split_text(&call, types).unwrap();
        let partials: Option<Vec<_>> = split.partials.iter().map(|part| part.merge).collect();
        let Some(partials) = partials else {
            continue;
        };
        merged += 1;
        let (shards, combined) = shard_queries(std::slice::from_ref(&split), &["g1"], PARTS[0].1);
        let again: Vec<_> = partials
            .iter()
            .enumerate()
            .map(|(index, merge)| {
                let function = match merge {
                    Reaggregate::Sum => "sum",
                    Reaggregate::Min => "min",
                    Reaggregate::Max => "max",
                    Reaggregate::BoolAnd => "bool_and",
                    Reaggregate::BoolOr => "bool_or",
                    Reaggregate::BitAnd => "bit_and",
                    Reaggregate::BitOr => "bit_or",
                    Reaggregate::BitXor => "bit_xor",
                };
                format!("{function}(c{index}) AS c{index}")
            })
            .collect();
        let with = format!(
            "WITH m1 AS ({}), m2 AS (SELECT g1, {} FROM m1 GROUP BY g1)",
            shards.join(" UNION ALL "),
            again.join(", ")
        );
        let run = |sql: &str| server.query("nasty", sql).unwrap();
        let expected = run(&format!("SELECT g1, {call} FROM t GROUP BY g1 ORDER BY 1"));
        let combined = &combined[0];
        let actual = format!("{with} SELECT g1, {combined} FROM m2 GROUP BY g1 ORDER BY 1");
        assert_eq!(run(&actual), expected, "{actual}");
        if split.direct {
            direct += 1;
            let actual = format!("{with} SELECT g1, c0 FROM m2 ORDER BY 1");
            assert_eq!(run(&actual), expected, "{actual}");
        }
    }
    assert!(
        merged > 50 && direct > 30,
        "{merged} merged, {direct} direct"
    );
}

fn nasty() -> Server {
    // Compiling the many expressions would take longer than all else.
    let server = Server::builder()
        .with_setting("jit", "off")
        .start()
        .unwrap();
    server.create_database("nasty").unwrap();
    server.execute("nasty", include_str!("nasty.sql")).unwrap();
    server
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add =
        |sql: String, types: &'static [&'static str], near| cases.push((sql, types, near));
    add("count(*)".to_owned(), &[], EXACT);
    add("count(t.*)".to_owned(), &["text"], EXACT);
    add(
        "count(*) FILTER (WHERE i4 > 100 OR b)".to_owned(),
        &[],
        EXACT,
    );
    add("count(NULL)".to_owned(), &["text"], EXACT);
    add("count(DISTINCT (few, b, ti))".to_owned(), &["text"], EXACT);
    add(
        "count(DISTINCT ROW(few, b)) FILTER (WHERE i4 > 0)".to_owned(),
        &["text"],
        EXACT,
    );
    add("sum(1)".to_owned(), &["int4"], EXACT);
    add(
        "sum(-i2 * 2 + 1) FILTER (WHERE NOT b)".to_owned(),
        &["int4"],
        EXACT,
    );
    add(
        "sum(1 / few) FILTER (WHERE few <> 0)".to_owned(),
        &["int4"],
        EXACT,
    );
    add(
        "sum(DISTINCT 12 / few) FILTER (WHERE few <> 0)".to_owned(),
        &["int4"],
        EXACT,
    );

    // Numbers that are exact: every statistic, plain, filtered and distinct.
    const NUMBERS: [(&str, &[&str]); 13] = [
        ("i2", &["int2"]),
        ("i4", &["int4"]),
        ("i8", &["int8"]),
        ("few", &["int4"]),
        ("isame", &["int4"]),
        ("n", &["numeric"]),
        ("ns", &["numeric"]),
        ("nbig", &["numeric"]),
        ("ntiny", &["numeric"]),
        ("nsame", &["numeric"]),
        ("price", &["numeric(15,2)"]),
        ("price * (1 - discount)", &["numeric"]),
        ("CASE WHEN b THEN price ELSE 0 END", &["numeric"]),
    ];
    for (x, types) in NUMBERS {
        for name in [
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "variance",
            "var_pop",
            "stddev",
            "stddev_pop",
        ] {
            add(format!("{name}({x})"), types, EXACT);
        }
        for name in ["sum", "stddev_samp", "avg"] {
            add(
                format!("{name}({x} ORDER BY i2) FILTER (WHERE i4 > 0)"),
                types,
                EXACT,
            );
        }
        for name in ["count", "sum", "avg", "min", "var_samp"] {
            add(format!("{name}(DISTINCT {x})"), types, EXACT);
            add(
                format!("{name}(DISTINCT {x}) FILTER (WHERE b)"),
                types,
                EXACT,
            );
        }
    }
    for name in ["bit_and", "bit_or", "bit_xor"] {
        for (x, types) in [
            ("i2", &["int2"] as &[&str]),
            ("i4", &["int4"]),
            ("i8", &["int8"]),
            ("bt", &["bit"]),
        ] {
            add(format!("{name}({x})"), types, EXACT);
            add(
                format!("{name}(DISTINCT {x}) FILTER (WHERE b)"),
                types,
                EXACT,
            );
        }
    }
    for name in ["bool_and", "bool_or", "every"] {
        add(format!("{name}(b)"), &["bool"], EXACT);
        add(
            format!("{name}(i4 > few) FILTER (WHERE b)"),
            &["bool"],
            EXACT,
        );
    }
    // The types that count, add up or have an order.
    const OTHERS: [(&str, &[&str]); 15] = [
        ("tc", &["text"]),
        ("ti", &["text"]),
        ("ti COLLATE \"C\"", &["text"]),
        ("vc", &["varchar"]),
        ("bp", &["bpchar"]),
        ("d", &["date"]),
        ("ts", &["timestamptz"]),
        // An enum, to which no rule looks.
        ("e", &["text"]),
        ("a", &["int4[]"]),
        ("ip", &["inet"]),
        ("iv", &["interval"]),
        ("m", &["money"]),
        ("r", &["float4"]),
        ("fs", &["float8"]),
        ("i4::oid", &["oid"]),
    ];
    for (x, types) in OTHERS {
        for call in [
            "min({x})",
            "max({x}) FILTER (WHERE b)",
            "count(DISTINCT {x})",
            "max(DISTINCT {x})",
        ] {
            add(call.replace("{x}", x), types, EXACT);
        }
    }
    for x in ["iv", "DISTINCT iv"] {
        add(format!("sum({x})"), &["interval"], EXACT);
        add(
            format!("avg({x}) FILTER (WHERE i4 > 0)"),
            &["interval"],
            EXACT,
        );
        add(format!("sum({})", x.replace("iv", "m")), &["money"], EXACT);
    }
    add("range_agg(rg)".to_owned(), &["int4range"], EXACT);
    add(
        "range_agg(rg) FILTER (WHERE b)".to_owned(),
        &["int4range"],
        EXACT,
    );
    add("range_intersect_agg(rw)".to_owned(), &["int4range"], EXACT);

    // Floating-point numbers. PostgreSQL adds real numbers as such; we are nearer.
    add("sum(r)".to_owned(), &["float4"], Near::Float(1e-4, 0.0));
    for (x, types, scale) in [
        ("r", &["float4"] as &[&str], 0.0),
        ("f", &["float8"], 0.0),
        ("f * 2 - 1", &["float8"], 0.0),
        ("ftiny", &["float8"], 1e-150),
        ("fs", &["float8"], 0.0),
        ("fm", &["float8"], 1e7),
        ("fsame", &["float8"], 0.1),
    ] {
        let near = Near::Float(1e-12, scale);
        for name in ["avg", "variance", "var_pop", "stddev", "stddev_pop"] {
            add(format!("{name}({x})"), types, near);
            add(format!("{name}({x}) FILTER (WHERE i4 > 0)"), types, near);
        }
        for name in ["sum", "avg", "stddev"] {
            add(format!("{name}(DISTINCT {x})"), types, EXACT);
        }
        if types == ["float8"] {
            add(format!("sum({x})"), types, near);
        }
    }
    for (y, x, types, scale) in [
        ("f2", "f", &["float8", "float8"] as &[&str], 1e3),
        ("i4", "few", &["int4", "int4"], 1e10),
        ("f2", "fs", &["float8", "float8"], 1e3),
        ("fs", "f", &["float8", "float8"], 1e3),
        ("f2", "isame", &["float8", "int4"], 1e3),
        ("isame", "f", &["int4", "float8"], 1e3),
        ("price", "1", &["numeric", "int4"], 1e5),
    ] {
        for name in [
            "covar_pop",
            "covar_samp",
            "corr",
            "regr_count",
            "regr_avgx",
            "regr_avgy",
            "regr_sxx",
            "regr_syy",
            "regr_sxy",
            "regr_slope",
            "regr_intercept",
            "regr_r2",
        ] {
            let near = match name {
                "corr" | "regr_r2" => Near::Float(1e-12, 1.0),
                _ => Near::Float(1e-12, scale),
            };
            add(format!("{name}({y}, {x})"), types, near);
            add(format!("{name}({y}, {x}) FILTER (WHERE b)"), types, near);
            if name.ends_with('r') || name.ends_with('t') {
                add(format!("{name}(DISTINCT {y}, {x})"), types, EXACT);
            }
        }
    }
    cases
}

/// Runs both and compares the rows; `$n` in `group` is the n-th call.
fn compare(
    server: &Server,
    calls: &[Case],
    keys: &[&str],
    group: &str,
    (table, parts): (&str, &[&str]),
) -> Result<(), String> {
    let written: Vec<_> = calls.iter().map(|(sql, _, _)| sql.clone()).collect();
    let expected_sql = select(keys, &written, group, &format!("{table} AS t"));
    let splits = calls
        .iter()
        .map(|(sql, types, _)| split_text(sql, types).map_err(|reason| format!("{sql}: {reason}")))
        .collect::<Result<Vec<_>, _>>()?;
    let (shards, combined) = shard_queries(&splits, keys, parts);
    let with = format!("WITH m1 AS ({})", shards.join(" UNION ALL "));
    let actual_sql = format!("{with} {}", select(keys, &combined, group, "m1"));
    let run = |sql: &str| {
        server
            .query("nasty", sql)
            .map_err(|error| format!("{sql}\n{error:?}"))
    };
    let (expected, actual) = (run(&expected_sql)?, run(&actual_sql)?);
    let nears = calls.iter().map(|(_, _, near)| *near);
    // The level, the keys, then value and type of each call.
    let nears: Vec<_> = std::iter::repeat_n(EXACT, keys.len() + 1)
        .chain(nears.flat_map(|near| [near, EXACT]))
        .collect();
    let mismatch = |what: String| Err(format!("{what}\n{expected_sql}\n{actual_sql}"));
    if expected.len() != actual.len() {
        return mismatch(format!(
            "{} rows, expected {}",
            actual.len(),
            expected.len()
        ));
    }
    for (expected, actual) in expected.iter().zip(&actual) {
        let equal = expected
            .iter()
            .zip(actual)
            .zip(&nears)
            .all(|((expected, actual), near)| is_near(expected, actual, *near));
        if !equal {
            return mismatch(format!("{actual:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

fn select(keys: &[&str], calls: &[String], group: &str, source: &str) -> String {
    let mut group = group.to_owned();
    for (index, call) in calls.iter().enumerate().rev() {
        group = group.replace(&format!("${}", index + 1), call);
    }
    // Only keys that the grouping is by have a value of their own.
    let keys: Vec<_> = keys
        .iter()
        .map(|key| match group.split("HAVING").next() {
            Some(by) if by.contains(key) => (*key).to_owned(),
            _ => "NULL".to_owned(),
        })
        .collect();
    // The type does not depend on the grouping.
    let type_of = |call: &str| match group.is_empty() {
        true => format!("pg_typeof({call})"),
        false => "NULL".to_owned(),
    };
    // Tells NULL of the data from that of a total.
    let level = match group {
        _ if group.contains("ROLLUP") => "GROUPING(g1, g2)",
        _ if group.contains("SETS") => "GROUPING(g2)",
        _ => "0",
    };
    let columns: Vec<_> = [level.to_owned()]
        .into_iter()
        .chain(keys.iter().cloned())
        .chain(calls.iter().flat_map(|call| [call.clone(), type_of(call)]))
        .collect();
    let order: Vec<_> = (1..=keys.len() + 1).map(|n| n.to_string()).collect();
    let order = match group.contains("GROUP BY") {
        true => format!("ORDER BY {}", order.join(", ")),
        false => String::new(),
    };
    format!(
        "SELECT {} FROM {source} {group} {order}",
        columns.join(", ")
    )
}

/// The query of each part, and the combining expressions over their union.
fn shard_queries(splits: &[Split], keys: &[&str], parts: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut columns: Vec<(PartialKind, String)> = Vec::new();
    let mut sets: Vec<Vec<String>> = Vec::new();
    let mut combined = Vec::new();
    for split in splits {
        let mut names = Vec::new();
        let mut set = Vec::new();
        for partial in &split.partials {
            let text = partial.expr.to_string();
            if partial.kind == PartialKind::Distinct {
                if keys.contains(&text.as_str()) {
                    names.push(Expr::Identifier(Ident::new(text)));
                    continue;
                }
                set.push(text.clone());
            }
            let column = (partial.kind, text);
            let index = match columns.iter().position(|known| *known == column) {
                Some(index) => index,
                None => {
                    columns.push(column);
                    columns.len() - 1
                }
            };
            names.push(Expr::Identifier(Ident::new(format!("c{index}"))));
        }
        if !set.is_empty() && !sets.contains(&set) {
            sets.push(set);
        }
        combined.push(split.combine(&names).to_string());
    }
    let mut distinct: Vec<_> = sets.iter().flatten().cloned().collect();
    distinct.sort();
    distinct.dedup();
    let list = |more: &[String]| {
        let all: Vec<_> = keys
            .iter()
            .map(|key| (*key).to_owned())
            .chain(more.iter().cloned())
            .collect();
        format!("({})", all.join(", "))
    };
    let group = match (distinct.is_empty(), keys) {
        (true, []) => String::new(),
        (true, _) => format!("GROUP BY {}", keys.join(", ")),
        _ => {
            let sets: Vec<_> = std::iter::once(list(&[]))
                .chain(sets.iter().map(|set| list(set)))
                .collect();
            format!("GROUP BY GROUPING SETS ({})", sets.join(", "))
        }
    };
    let first_set = format!(
        "GROUPING({}) = {}",
        distinct.join(", "),
        (1_u64 << distinct.len()) - 1
    );
    let selected: Vec<_> = keys
        .iter()
        .map(|key| (*key).to_owned())
        .chain(
            columns
                .iter()
                .enumerate()
                .map(|(index, (kind, text))| match kind {
                    PartialKind::Aggregate if !distinct.is_empty() => {
                        format!("CASE WHEN {first_set} THEN {text} END AS c{index}")
                    }
                    _ => format!("{text} AS c{index}"),
                }),
        )
        .collect();
    let selected = match selected.is_empty() {
        true => "NULL".to_owned(),
        false => selected.join(", "),
    };
    let queries = parts
        .iter()
        .map(|part| format!("(SELECT {selected} FROM {part} AS t {group})"))
        .collect();
    (queries, combined)
}

fn is_near(expected: &Option<String>, actual: &Option<String>, near: Near) -> bool {
    let (Some(expected), Some(actual), Near::Float(relative, scale)) = (expected, actual, near)
    else {
        return expected == actual;
    };
    let (Ok(expected), Ok(actual)) = (expected.parse::<f64>(), actual.parse::<f64>()) else {
        return expected == actual;
    };
    if !expected.is_finite() || !actual.is_finite() {
        return expected.to_string() == actual.to_string();
    }
    (expected - actual).abs() <= relative * expected.abs().max(actual.abs()).max(scale)
}
