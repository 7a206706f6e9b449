//! A topology and a catalog made by hand, over which tests and fuzzing plan.

use crate::catalog::{
    BaseType, Catalog, Collation, ColumnFacts, Function, FunctionKind, Origin, Relation as Facts,
    RelationKind, Volatility,
};
use crate::config::{Shard, TableKind, Topology};

/// A shard of the table `t` by `k`, the replicated table `r`, and the view `v` of what is of today.
pub(in crate::plan) fn topology() -> Topology {
    let sharded = TableKind::Sharded {
        key: "k".to_owned(),
        colocation: None,
        shard_index: None,
    };
    Topology::builder()
        .with_shard(Shard::new("s0", "postgresql://a/db"))
        .with_shard(Shard::new("s1", "postgresql://b/db"))
        .with_table("t", sharded)
        .with_table("r", TableKind::Replicated)
        .build()
        .expect("a valid topology")
}

/// What the databases of [`topology`] have.
pub(in crate::plan) fn catalog() -> Catalog {
    let columns = [
        ("k", "bigint"),
        ("d", "date"),
        ("ts", "timestamp(0) without time zone"),
        ("tz", "timestamp with time zone"),
        ("note", "text"),
        ("born", "public.birthday"),
        ("dates", "date[]"),
    ];
    let view = RelationKind::View {
        definition: " SELECT t.k\n   FROM public.t\n  WHERE (t.d = CURRENT_DATE);".to_owned(),
    };
    let path = ["pg_catalog", "public"].map(str::to_owned).to_vec();
    Catalog::new(path, Collation::database(true))
        .with_relation(relation("t", RelationKind::Table, &columns))
        .with_relation(relation("r", RelationKind::Table, &columns))
        .with_relation(relation("v", view, &columns[..1]))
        .with_relation(Facts {
            has_children: true,
            ..relation("parent", RelationKind::Table, &columns)
        })
        .with_function(aggregate("max", (1, Some(1))))
        .with_function(aggregate("count", (0, Some(1))))
        .with_function(aggregate("sum", (1, Some(1))))
}

/// One of PostgreSQL's own.
pub(in crate::plan) fn aggregate(name: &str, arguments: (usize, Option<usize>)) -> Function {
    Function {
        schema: "pg_catalog".to_owned(),
        name: name.to_owned(),
        kind: FunctionKind::Aggregate,
        volatility: Volatility::Immutable,
        origin: Origin::System,
        arguments,
        gives_values: false,
        code: None,
        difference: None,
    }
}

fn relation(name: &str, kind: RelationKind, columns: &[(&str, &str)]) -> Facts {
    let columns = columns.iter().map(|(name, type_name)| ColumnFacts {
        name: (*name).to_owned(),
        type_name: (*type_name).to_owned(),
        base_type: BaseType {
            schema: "pg_catalog".to_owned(),
            name: "text".to_owned(),
            kind: 'b',
        },
        element: None,
        domain: None,
        type_modifier: -1,
        dimensions: 0,
        not_null: false,
        is_generated: false,
        collation: None,
        difference: None,
    });
    Facts {
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind,
        columns: columns.collect(),
        keys: Vec::new(),
        primary_key: None,
        row_security: false,
        parent: None,
        has_children: false,
        list_difference: None,
        difference: None,
    }
}
