//! Each thing that plans rest on is broken in turn: no plan may rest on it then.
//!
//! `testdata/plans/broken.txt` tells what becomes of the plans of `premises.sql`; `MERGANSER_BLESS=1` writes it
//! anew.

use std::fs;
use std::path::Path;

use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Topology};
use merganser_local::TABLES;

use crate::support;

const SHARDS: usize = 2;

/// Where the rows of a table are.
#[derive(Debug, Clone, Copy)]
enum Place {
    Replicated,
    /// Split by this key: with others of this group, where there is one, and told by the topology.
    Split {
        key: &'static str,
        colocation: Option<&'static str>,
        is_told: bool,
    },
}

const fn split(key: &'static str, colocation: Option<&'static str>) -> Place {
    Place::Split {
        key,
        colocation,
        is_told: true,
    }
}

/// One thing that is otherwise than plans took it to be.
struct Break {
    name: &'static str,
    /// Tables that are elsewhere.
    places: &'static [(&'static str, Place)],
    /// What is done to the databases, and undone.
    sql: (&'static str, &'static str),
    /// What plans rested on, in part, and may not any more.
    untrue: &'static [&'static str],
}

const BREAKS: [Break; 10] = [
    Break {
        name: "lineitem is split by another column",
        places: &[("lineitem", split("l_partkey", None))],
        sql: ("", ""),
        untrue: &[
            "orders and lineitem are joined by the equality of their shard keys",
            "the partitions of its windows have lineitem.l_orderkey, the shard key",
            "DISTINCT compares lineitem.l_orderkey, the shard key",
            "orders.o_orderkey IN (..) compares shard keys",
            "a subquery finds lineitem by the shard key of the row outside",
            "EXCEPT compares the shard key",
        ],
    },
    Break {
        name: "orders and lineitem are split each in its own way",
        places: &[
            ("orders", split("o_orderkey", Some("one"))),
            ("lineitem", split("l_orderkey", Some("another"))),
        ],
        sql: ("", ""),
        untrue: &[
            "orders and lineitem are joined by the equality of their shard keys",
            "orders.o_orderkey IN (..) compares shard keys",
            "a subquery finds lineitem by the shard key of the row outside",
            "EXCEPT compares the shard key",
        ],
    },
    Break {
        name: "customer is split, too",
        places: &[("customer", split("c_custkey", None))],
        sql: ("", ""),
        untrue: &["every shard has all rows of customer"],
    },
    Break {
        name: "nation is split, too",
        places: &[("nation", split("n_nationkey", None))],
        sql: ("", ""),
        untrue: &["it reads no sharded table"],
    },
    Break {
        name: "nobody tells which shard has a key",
        places: &[(
            "orders",
            Place::Split {
                key: "o_orderkey",
                colocation: Some("order"),
                is_told: false,
            },
        )],
        sql: ("", ""),
        untrue: &["conditions pin the keys of all sharded tables to one shard"],
    },
    Break {
        name: "shard keys may be NULL",
        places: &[],
        sql: (
            "alter table lineitem drop constraint lineitem_pkey; \
             alter table lineitem alter l_orderkey drop not null; \
             alter table orders drop constraint orders_pkey; \
             alter table orders alter o_orderkey drop not null",
            "alter table lineitem add primary key (l_orderkey, l_linenumber); \
             alter table orders add primary key (o_orderkey)",
        ),
        untrue: &[
            "lineitem.l_orderkey, the shard key, which is not NULL",
            "groups by orders.o_orderkey, the shard key, which is not NULL",
            "the shard key, column 1, which is not NULL",
        ],
    },
    Break {
        name: "comments have an order of their own",
        places: &[],
        sql: (
            "alter table orders alter o_comment type varchar(79) collate \"en-x-icu\"",
            "alter table orders alter o_comment type varchar(79) collate \"default\"",
        ),
        untrue: &["(orders.o_comment) as PostgreSQL does"],
    },
    Break {
        name: "customers are told apart by numbers with any scale",
        places: &[],
        sql: (
            "alter table orders alter o_custkey type numeric",
            "alter table orders alter o_custkey type int4",
        ),
        untrue: &[
            "values of its keys are equal where their bytes are",
            "stddev(int4) is made of",
            "count(DISTINCT int4) is over",
        ],
    },
    Break {
        name: "prices are floating-point numbers",
        places: &[],
        sql: (
            "alter table orders alter o_totalprice type float8",
            "alter table orders alter o_totalprice type numeric(15,2)",
        ),
        untrue: &[
            "avg(numeric) is the sum of the shards' sums",
            "sum(numeric) is the sum of the shards' sums",
        ],
    },
    Break {
        name: "a table inherits from orders that is nowhere told of",
        places: &[],
        sql: ("create table more () inherits (orders)", "drop table more"),
        untrue: &[],
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_hold_is_no_premise() {
    let Some(urls) = support::shards(SHARDS) else {
        return;
    };
    merganser_local::Tpch::new(0.001).load(&urls).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plans");
    let statements = super::statements(&folder.join("premises.sql"));
    let whole = argued(&urls, &[], &statements).await;
    let mut text = String::new();
    for broken in &BREAKS {
        let (make, undo) = broken.sql;
        urls.iter().for_each(|url| support::execute(url, make));
        let without = argued(&urls, broken.places, &statements).await;
        urls.iter().for_each(|url| support::execute(url, undo));
        let rests = |plans: &[Argued], untrue: &str| {
            let premises = plans.iter().flat_map(|plan| &plan.premises);
            premises.filter(|premise| premise.contains(untrue)).count()
        };
        for untrue in broken.untrue {
            assert!(rests(&whole, untrue) > 0, "no plan rested on {untrue:?}");
            let name = broken.name;
            assert_eq!(rests(&without, untrue), 0, "{name}: {untrue:?}");
        }
        text.push_str(&format!("== {}\n\n", broken.name));
        for (((name, _), before), after) in statements.iter().zip(&whole).zip(&without) {
            if let Some(change) = change(before, after) {
                text.push_str(&format!("-- {name}\n{change}\n"));
            }
        }
    }
    let path = folder.join("broken.txt");
    if super::blesses() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "what becomes of plans has changed; MERGANSER_BLESS=1 accepts it:\n{text}"
    );
}

/// How a statement is answered, or why it is not, and why that is right.
#[derive(Debug, PartialEq, Eq)]
struct Argued {
    how: String,
    premises: Vec<String>,
}

impl Argued {
    fn of(verbose: &str) -> Self {
        let (mut premises, mut is_premise) = (Vec::new(), false);
        for line in verbose.lines() {
            let premise = line.strip_prefix("    ").filter(|_| is_premise);
            premises.extend(premise.map(str::to_owned));
            is_premise = premise.is_some() || line == "  exact because";
        }
        let how: Vec<_> = verbose
            .lines()
            .take_while(|line| !line.is_empty())
            .collect();
        Self {
            how: how.join("; "),
            premises,
        }
    }
}

async fn argued(
    urls: &[String],
    places: &[(&str, Place)],
    statements: &[(String, String)],
) -> Vec<Argued> {
    let cluster = Cluster::new(topology(urls, places)).unwrap();
    let mut argued = Vec::new();
    for (_, sql) in statements {
        argued.push(Argued::of(&super::explain(&cluster, sql, true).await));
    }
    cluster.close().await;
    argued
}

fn topology(urls: &[String], places: &[(&str, Place)]) -> Topology {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for table in &TABLES {
        let usual = table
            .shard_key
            .map_or(Place::Replicated, |key| split(key, Some("order")));
        let other = places.iter().find(|(name, _)| *name == table.name);
        let kind = match other.map_or(usual, |(_, place)| *place) {
            Place::Replicated => TableKind::Replicated,
            Place::Split {
                key,
                colocation,
                is_told,
            } => TableKind::Sharded {
                key: key.to_owned(),
                colocation: colocation.map(str::to_owned),
                shard_index: is_told.then(|| format!("{key} % {SHARDS}")),
            },
        };
        builder = builder.with_table(table.name, kind);
    }
    builder.build().unwrap()
}

/// What is otherwise; `None` where nothing is.
fn change(before: &Argued, after: &Argued) -> Option<String> {
    if before == after {
        return None;
    }
    let mut text = match before.how == after.how {
        true => format!("as before: {}\n", after.how),
        false => format!("before: {}\nnow: {}\n", before.how, after.how),
    };
    let lost = |before: &Argued, after: &Argued| -> Vec<String> {
        let premises = before.premises.iter();
        let lost = premises.filter(|premise| !after.premises.contains(premise));
        lost.cloned().collect()
    };
    for premise in lost(before, after) {
        text.push_str(&format!("  no longer: {premise}\n"));
    }
    for premise in lost(after, before) {
        text.push_str(&format!("  instead: {premise}\n"));
    }
    Some(text)
}
