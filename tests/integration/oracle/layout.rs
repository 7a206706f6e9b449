//! The rows of the schema on one database, and spread over shards in several ways.

use std::env;
use std::sync::OnceLock;
use std::thread;

use merganser::config::{
    ConnectionString, Finish, FinishRelations, SessionSettings, Shard, TableKind, TopologyBuilder,
};
use merganser::{Cluster, MergeMode, Topology};
use merganser_local::Server;

use crate::support;

const SCHEMA: &str = include_str!("../../../testdata/oracle/schema.sql");

/// The sharded tables: name, key, colocation group, and a hash of the key, which is NULL where that
/// is.
const SHARDED: [(&str, &str, Option<&str>, &str); 6] = [
    ("sale", "id", Some("sale"), "hashint8(id)"),
    ("item", "sale_id", Some("sale"), "hashint8(sale_id)"),
    ("visit", "visitor", Some("visitor"), "hashtext(visitor)"),
    ("profile", "visitor", Some("visitor"), "hashtext(visitor)"),
    ("reading", "device", None, "hashtext(device)"),
    ("zoo", "k", None, "hashint4(k)"),
];

pub(super) const REPLICATED: [&str; 4] = ["region", "customer", "product", "calendar"];

/// How the rows are spread over shards.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// How many shards there are.
    pub(super) size: usize,
    /// The number of the shard, where `#` stands for the hash of the key, which is not negative.
    index: &'static str,
    /// Whether the topology tells it.
    tells: bool,
    /// Whether cases are compared with the default type options too.
    pub(super) checks_defaults: bool,
    urls: Vec<String>,
}

const LAYOUTS: [Layout; 7] = [
    layout("one", 1, "0", false),
    layout("two", 2, "# % 2", true),
    layout("three", 3, "# % 3", false),
    layout("four", 4, "# % 4", true),
    layout("sixteen", 16, "# % 16", true),
    // All rows on one of three shards.
    layout("skewed", 3, "1", false),
    // No rows on the second, third and last of five.
    layout("empty", 5, "(# % 2) * 3", true),
];

const fn layout(name: &'static str, size: usize, index: &'static str, tells: bool) -> Layout {
    Layout {
        name,
        size,
        index,
        tells,
        checks_defaults: size == 2,
        urls: Vec::new(),
    }
}

impl Layout {
    /// The name of a shard's database.
    fn database(&self, shard: usize) -> String {
        format!("oracle_{}_{shard}", self.name)
    }

    /// Leaves in the shard's database, which holds all rows, those that belong there.
    fn keep(&self, shard: usize) -> String {
        let deletions = SHARDED.map(|(table, key, _, hash)| {
            let index = self.index_of(hash);
            // Rows without a key are spread over all shards that have rows.
            let of_null = match table {
                "visit" => self.index.replace('#', "n"),
                _ => "0".into(),
            };
            format!(
                "delete from {table} where case when {key} is null then {of_null} else {index} end <> {shard};"
            )
        });
        deletions.join("\n")
    }

    fn index_of(&self, hash: &str) -> String {
        self.index.replace('#', &format!("({hash} & 2147483647)"))
    }

    /// The topology, as a user would write it.
    pub(super) fn topology(&self) -> Topology {
        self.declared().build().expect("a topology")
    }

    fn declared(&self) -> TopologyBuilder {
        let mut builder = Topology::builder().with_session(session());
        for (number, url) in self.urls.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        for (name, key, colocation, hash) in SHARDED {
            let kind = TableKind::Sharded {
                key: key.into(),
                colocation: colocation.map(str::to_owned),
                shard_index: self.tells.then(|| self.index_of(hash)),
            };
            builder = builder.with_table(name, kind);
        }
        for name in REPLICATED {
            builder = builder.with_table(name, TableKind::Replicated);
        }
        builder
    }

    /// A cluster for one test: its connections belong to the test's runtime.
    pub(super) fn cluster(&self) -> Cluster {
        connected(self.topology())
    }

    /// The same with connections for several readers of a shard, unless there are very many.
    pub(super) fn cluster_of_readers(&self) -> Cluster {
        let connections = match self.size {
            ..10 => super::AT_ONCE * 2,
            _ => super::AT_ONCE,
        };
        Cluster::builder(self.topology())
            .with_connections_per_shard(connections)
            .build()
            .expect("a cluster")
    }

    /// A cluster whose queries finish there.
    pub(super) fn cluster_finishing(&self, finishing: Finishing, databases: &Databases) -> Cluster {
        let declared = self.declared();
        let declared = match finishing {
            Finishing::Texts | Finishing::Readers => declared,
            Finishing::Tables => declared.with_finish_relations(FinishRelations::Temporary),
            Finishing::Apart => {
                let url = ConnectionString::new(&databases.reversed);
                declared.with_finish(Finish::Server(url))
            }
        };
        let readers = match finishing {
            Finishing::Readers => super::READERS,
            _ => 1,
        };
        let topology = declared.build().expect("a topology");
        Cluster::builder(topology)
            .with_connections_per_shard(super::AT_ONCE * readers)
            .build()
            .expect("a cluster")
    }
}

/// Where the last step of a query runs, and how it is handed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finishing {
    /// On a shard, as SQL text.
    Texts,
    /// So, too, and each shard is read by several connections at once, a block at a time.
    Readers,
    /// On a shard, in temporary tables.
    Tables,
    /// On a server whose types have other OIDs, in temporary tables.
    Apart,
}

/// Each table, and how many copies of its rows this many shards hold.
pub(super) fn tables(shards: usize) -> impl Iterator<Item = (&'static str, usize)> {
    let sharded = SHARDED.iter().map(|(table, ..)| (*table, 1));
    sharded.chain(REPLICATED.map(|table| (table, shards)))
}

/// Whether `MERGANSER_LAYOUT` names this layout, or none at all; `gather` stands for all that are
/// gathered.
pub(super) fn is_selected(name: &str, merge: MergeMode) -> bool {
    let wanted = env::var("MERGANSER_LAYOUT").unwrap_or_default();
    let mut wanted = wanted.split(',').filter(|name| !name.is_empty()).peekable();
    wanted.peek().is_none()
        || wanted.any(|wanted| match merge {
            MergeMode::Gather => wanted == "gather",
            _ => wanted == name,
        })
}

/// All databases, made when first asked for.
#[derive(Debug)]
pub(super) struct Databases {
    oracle: String,
    reversed: String,
    layouts: Vec<Layout>,
}

impl Databases {
    /// `None` without a server.
    pub(super) fn get() -> Option<&'static Self> {
        static DATABASES: OnceLock<Databases> = OnceLock::new();
        let server = support::server()?;
        Some(DATABASES.get_or_init(|| Self::make(server)))
    }

    /// The database that holds all rows.
    pub(super) fn oracle(&self) -> Cluster {
        single(&self.oracle)
    }

    /// It again, with the rows of every table in another order, and planned differently.
    pub(super) fn reversed(&self) -> Cluster {
        single(&self.reversed)
    }

    pub(super) fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    pub(super) fn layout(&self, name: &str) -> &Layout {
        self.layouts
            .iter()
            .find(|layout| layout.name == name)
            .expect("a layout")
    }

    fn make(server: &Server) -> Self {
        let create = |name: &str| {
            let sql = format!(
                "create database {name} template template0 encoding utf8 locale 'C' \
                 locale_provider icu icu_locale 'en-US'"
            );
            server.execute("postgres", &sql).expect("a database");
            server.execute(name, SCHEMA).expect("the schema");
        };
        create("oracle_all");
        // Made by itself, so that types have other OIDs: half of the shards are copies of it.
        create("oracle_reversed");
        let tables = SHARDED.iter().map(|(table, ..)| *table).chain(REPLICATED);
        for table in tables {
            let sql = format!(
                "create temp table copy as table {table}; truncate {table};
                 insert into {table} select * from copy order by ctid desc; drop table copy"
            );
            server.execute("oracle_reversed", &sql).expect(table);
        }
        for setting in [
            "enable_hashagg = off",
            "enable_hashjoin = off",
            "enable_seqscan = off",
            "enable_material = off",
            // What is disabled counts as dear, and what is dear is compiled.
            "jit = off",
        ] {
            // Copies of a database do not get its settings.
            let sql = format!("alter database oracle_reversed set {setting}");
            server.execute("postgres", &sql).expect(setting);
        }

        let mut layouts = Vec::from(LAYOUTS);
        let mut shards: Vec<(usize, usize)> = Vec::new();
        for (number, layout) in layouts.iter_mut().enumerate() {
            for shard in 0..layout.size {
                layout.urls.push(server.url(&layout.database(shard)));
                shards.push((number, shard));
            }
        }
        // Two cores; copying a database is mostly work of the server.
        let halves = [0, 1].map(|parity| {
            let (layouts, shards) = (&layouts, &shards);
            move || {
                for &(number, shard) in shards.iter().filter(|(_, shard)| shard % 2 == parity) {
                    let layout = &layouts[number];
                    let template = ["oracle_all", "oracle_reversed"][parity];
                    let name = layout.database(shard);
                    let sql = format!("create database {name} template {template}");
                    server.execute("postgres", &sql).expect("a copy");
                    server.execute(&name, &layout.keep(shard)).expect("a shard");
                }
            }
        });
        thread::scope(|scope| {
            for half in halves {
                scope.spawn(half);
            }
        });
        Self {
            oracle: server.url("oracle_all"),
            reversed: server.url("oracle_reversed"),
            layouts,
        }
    }
}

fn single(url: &str) -> Cluster {
    let topology = Topology::builder()
        .with_session(session())
        .with_shard(Shard::new("oracle", url))
        .build();
    connected(topology.expect("a topology"))
}

fn connected(topology: Topology) -> Cluster {
    Cluster::builder(topology)
        .with_connections_per_shard(super::AT_ONCE)
        .build()
        .expect("a cluster")
}

/// A zone with summer time, so that truncation and casts of timestamps show where they run.
fn session() -> SessionSettings {
    SessionSettings::default().with_timezone("Europe/Vienna")
}
