//! PostgreSQL's own types, a row for each: what their equality and their order are to values, and who
//! else compares values so.
//!
//! Enums have no names of their own here: their values are the same wherever they are equal, and are
//! sorted by a merge, but DataFusion sees their texts.

use Arrow::{All, Decimals, Instants};
use Equal::{Differ, Padded, Same, Scaled, Texts};
use Groups::{Both, Hash, Never, Unknown};
use Order::{Bytewise, Decimal};

/// What is known of a type.
#[derive(Debug)]
pub(in crate::plan) struct Type {
    /// First that of `pg_type`, which describes columns; then that of `format_type`, which declares them;
    /// then others of SQL.
    names: &'static [&'static str],
    /// What its equal values are.
    equal: Equal,
    /// Whether DataFusion finds values equal where PostgreSQL does, if equal ones are the same.
    pub(in crate::plan) arrow: Arrow,
    /// Whether a merge of sorted rows compares values as PostgreSQL does.
    pub(in crate::plan) order: Order,
    /// How GROUP BY finds equal values: by the operator classes of the type.
    groups: Groups,
}

/// What values are that `=` of a type calls equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Equal {
    /// One and the same.
    Same,
    /// The same, if the collation is deterministic.
    Texts,
    /// So too where a length is declared: otherwise blanks at the end may differ.
    Padded,
    /// The same where a scale is declared: otherwise digits behind the point may differ.
    Scaled,
    /// They may differ, as 0 and -0 do, or nobody has looked.
    Differ,
}

/// Whether Arrow holds the values, so that those are equal in DataFusion which are so in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Arrow {
    All,
    /// All but NaN.
    Decimals,
    /// All but the infinities.
    Instants,
    No,
}

/// Whether a merge of sorted rows compares values as PostgreSQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Order {
    Always,
    /// Under a collation that compares bytes.
    Bytewise,
    /// Where a precision is declared, or the values fit the decimals of Arrow.
    Decimal,
    No,
}

/// How GROUP BY can find equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    /// By sorting and by hashing.
    Both,
    Hash,
    /// In one way or the other; PostgreSQL reports it if there is none.
    Unknown,
    Never,
}

const fn row(
    names: &'static [&'static str],
    equal: Equal,
    arrow: Arrow,
    order: Order,
    groups: Groups,
) -> Type {
    Type {
        names,
        equal,
        arrow,
        order,
        groups,
    }
}

/// `src/include/catalog/pg_type.dat`, `pg_opclass.dat`. None of them holds an instant but for dates and
/// times, which [`instant`](crate::plan::instant) knows.
#[rustfmt::skip]
static TYPES: &[Type] = &[
    row(&["bool", "boolean"],                              Same,   All,       Order::Always, Both),
    row(&["int2", "smallint"],                             Same,   All,       Order::Always, Both),
    row(&["int4", "integer", "int"],                       Same,   All,       Order::Always, Both),
    row(&["int8", "bigint"],                               Same,   All,       Order::Always, Both),
    row(&["oid"],                                          Same,   All,       Order::Always, Both),
    row(&["xid8"],                                         Differ, Arrow::No, Order::Always, Both),
    row(&["float4", "real"],                               Differ, Arrow::No, Order::Always, Both),
    row(&["float8", "double precision"],                   Differ, Arrow::No, Order::Always, Both),
    row(&["numeric", "numeric", "decimal"],                Scaled, Decimals,  Decimal,       Both),
    row(&["text"],                                         Texts,  All,       Bytewise,      Both),
    row(&["varchar", "character varying"],                 Texts,  All,       Bytewise,      Both),
    row(&["bpchar", "character"],                          Padded, All,       Bytewise,      Both),
    row(&["name"],                                         Texts,  All,       Order::No,     Both),
    // Not all of its bytes are UTF-8. What SQL calls char, without quotes, is `character`.
    row(&["char", "\"char\""],                             Same,   Arrow::No, Order::No,     Unknown),
    row(&["uuid"],                                         Same,   All,       Order::Always, Both),
    row(&["bytea"],                                        Same,   All,       Order::Always, Both),
    row(&["bit"],                                          Differ, Arrow::No, Order::Always, Unknown),
    row(&["varbit", "bit varying"],                        Differ, Arrow::No, Order::Always, Unknown),
    row(&["date"],                                         Same,   Instants,  Order::Always, Both),
    // 24:00 has no place in Arrow.
    row(&["time", "time without time zone"],               Same,   Arrow::No, Order::Always, Both),
    row(&["timestamp", "timestamp without time zone"],     Same,   Instants,  Order::Always, Both),
    row(&["timestamptz", "timestamp with time zone"],      Same,   Instants,  Order::Always, Both),
    row(&["interval"],                                     Differ, Arrow::No, Order::Always, Unknown),
    row(&["money"],                                        Differ, Arrow::No, Order::No,     Unknown),
    row(&["inet"],                                         Differ, Arrow::No, Order::No,     Unknown),
    row(&["cidr"],                                         Differ, Arrow::No, Order::No,     Unknown),
    row(&["jsonb"],                                        Differ, Arrow::No, Order::No,     Unknown),
    row(&["regclass"],                                     Differ, Arrow::No, Order::No,     Unknown),
    row(&["xid"],                                          Differ, Arrow::No, Order::No,     Hash),
    row(&["cid"],                                          Differ, Arrow::No, Order::No,     Hash),
    row(&["aclitem"],                                      Differ, Arrow::No, Order::No,     Hash),
    row(&["json"],                                         Differ, Arrow::No, Order::No,     Never),
    row(&["jsonpath"],                                     Differ, Arrow::No, Order::No,     Never),
    row(&["xml"],                                          Differ, Arrow::No, Order::No,     Never),
    row(&["point"],                                        Differ, Arrow::No, Order::No,     Never),
    row(&["line"],                                         Differ, Arrow::No, Order::No,     Never),
    row(&["lseg"],                                         Differ, Arrow::No, Order::No,     Never),
    row(&["box"],                                          Differ, Arrow::No, Order::No,     Never),
    row(&["path"],                                         Differ, Arrow::No, Order::No,     Never),
    row(&["polygon"],                                      Differ, Arrow::No, Order::No,     Never),
    row(&["circle"],                                       Differ, Arrow::No, Order::No,     Never),
    row(&["pg_snapshot"],                                  Differ, Arrow::No, Order::No,     Never),
    row(&["txid_snapshot"],                                Differ, Arrow::No, Order::No,     Never),
];

/// What holds of a type that has no row: another database type, a domain, an array, a composite, a
/// range. Its values are compared by PostgreSQL alone, and are grouped if it can.
static OTHER: Type = row(&[], Differ, Arrow::No, Order::No, Unknown);

/// What is known of a type by its name, with or without a modifier: as it is described
/// (`numeric(15,2)`), or declared (`timestamp(3) with time zone`).
pub(in crate::plan) fn of(name: &str) -> &'static Type {
    let plain = without_modifier(name);
    let found = TYPES.iter().find(|it| it.names.contains(&&*plain));
    found.unwrap_or(&OTHER)
}

/// Whether a type is known, and so is no domain.
pub(in crate::plan) fn is_known(name: &str) -> bool {
    !of(name).names.is_empty()
}

/// Whether values of a type are one and the same wherever its `=` calls them equal.
pub(in crate::plan) fn is_identified(name: &str, has_deterministic_collation: bool) -> bool {
    let has_modifier = name.contains('(');
    match of(name).equal {
        Same => true,
        Texts => has_deterministic_collation,
        Padded => has_modifier && has_deterministic_collation,
        Scaled => has_modifier,
        Differ => false,
    }
}

/// What types have in common that are compared by one `=`, so that `a = b AND b = c` says that a is c.
/// That a type without a row compares two of its own values so, is a rule for all equality operators
/// of btree and hash (`src/backend/access/nbtree/README`), and PostgreSQL joins by no others.
pub(in crate::plan) fn equality(name: &str) -> String {
    let known = of(name);
    match known.names.first() {
        Some(&("int2" | "int4" | "int8")) => "integer".to_owned(),
        Some(&("text" | "varchar")) => "text".to_owned(),
        Some(name) => (*name).to_owned(),
        None => without_modifier(name),
    }
}

/// Whether PostgreSQL's own types have an equality that GROUP BY takes. Of others it is not known:
/// PostgreSQL reports it if not.
pub(in crate::plan) fn can_be_grouped(name: &str) -> bool {
    can_be_sent(name) && of(name.trim_end_matches("[]")).groups != Never
}

/// Whether one GROUP BY can hold values of all these types, which sorts by all of them or hashes them
/// all. Grouping sets that are one by one possible may not be so together.
pub(in crate::plan) fn can_be_grouped_together<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
) -> bool {
    let mut all = names.map(|name| of(name.trim_end_matches("[]")).groups);
    let mut any = all.clone();
    !any.any(|groups| groups == Hash) || all.all(|groups| matches!(groups, Hash | Both))
}

/// Whether values can be handed to another server: those of a row without a type cannot.
pub(in crate::plan) fn can_be_sent(name: &str) -> bool {
    !["record", "record[]", "void", "unknown"].contains(&name)
}

/// Whether values have a collation. Types of extensions do where they are made of texts.
pub(in crate::plan) fn is_collatable(name: &str) -> bool {
    let name = without_modifier(name.trim_end_matches("[]"));
    ["text", "varchar", "bpchar", "citext", "name"].contains(&&*name)
}

/// The name of a type without what is in parentheses: `timestamp(3) with time zone` is not
/// `timestamp(3) without time zone`.
fn without_modifier(name: &str) -> String {
    match (name.find('('), name.find(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", &name[..open], &name[close + 1..])
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merganser_local::{Server, fixture};

    fn succeeds(server: &Server, sql: &str) -> bool {
        server.query("postgres", sql).is_ok()
    }

    #[test]
    fn the_names_and_the_ways_to_group_are_those_of_a_server() {
        let Some(server) = fixture::server() else {
            return;
        };
        for known in TYPES {
            let name = known.names[0];
            let quoted = format!("pg_catalog.\"{name}\"");
            let sql = format!("SELECT format_type('{quoted}'::regtype, NULL)");
            let found = server.query("postgres", &sql).unwrap().remove(0).remove(0);
            let declared = known.names.get(1).unwrap_or(&name);
            assert_eq!(found.as_deref(), Some(*declared), "{name}");
            let sorts = succeeds(
                server,
                &format!("SELECT x FROM (SELECT NULL::{quoted} AS x) AS q ORDER BY x"),
            );
            let hashes = succeeds(
                server,
                &format!(
                    "WITH RECURSIVE r (x) AS (SELECT NULL::{quoted} UNION SELECT x FROM r WHERE false) \
                     SELECT count(*) FROM r"
                ),
            );
            match known.groups {
                Both => assert!(sorts && hashes, "{name}: {sorts}, {hashes}"),
                Hash => assert!(!sorts && hashes, "{name}: {sorts}, {hashes}"),
                Never => assert!(!sorts && !hashes, "{name}: {sorts}, {hashes}"),
                Unknown => {}
            }
        }
    }

    /// Types, and values of which some are equal that are written in several ways.
    const SPELLED: [(&str, &[&str]); 27] = [
        ("boolean", &["t", "true", "f"]),
        ("smallint", &["1", "01", "-0", "0"]),
        ("integer", &["1", "01", "-0", "0"]),
        ("bigint", &["1", "01", "-0", "0"]),
        ("oid", &["1", "01", "0"]),
        ("\"char\"", &["a", "ab", ""]),
        (
            "uuid",
            &[
                "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            ],
        ),
        ("bytea", &["\\x61", "a", "\\141"]),
        (
            "date",
            &["2020-01-01", "Jan 1 2020", "infinity", "0001-01-01 BC"],
        ),
        (
            "time without time zone",
            &["24:00", "00:00", "12:00", "12:00:00.0000001", "23:59:60"],
        ),
        ("time(0) without time zone", &["12:00:00.4", "12:00"]),
        (
            "timestamp without time zone",
            &["2020-01-01", "2020-01-01 00:00:00.0", "infinity"],
        ),
        (
            "timestamp with time zone",
            &["2020-01-01 00:00+00", "2020-01-01 01:00+01", "infinity"],
        ),
        ("text", &["a", "a ", "A", "\u{e9}", "e\u{301}"]),
        ("character varying", &["a", "a ", "A"]),
        ("character(3)", &["a", "a ", "a  ", "b"]),
        ("name", &["a", "a ", "A"]),
        ("numeric(6,2)", &["1", "1.0", "1.00", "NaN", "-0"]),
        ("numeric", &["1", "1.0", "1.00"]),
        ("bpchar", &["a", "a "]),
        ("real", &["0", "-0"]),
        ("double precision", &["0", "-0"]),
        ("interval", &["1 mon", "30 days"]),
        ("jsonb", &["1.0", "1.00"]),
        ("numeric[]", &["{1.0}", "{1.00}"]),
        ("numeric(6,2)[]", &["{1.0}", "{1.00}"]),
        ("inet", &["10.0.0.1", "10.0.0.1/32"]),
    ];

    #[test]
    fn equal_values_are_the_same_where_the_table_says_so() {
        let Some(server) = fixture::server() else {
            return;
        };
        for (name, values) in SPELLED {
            let rows = values.iter().map(|value| format!("($$<{value}>$$)"));
            let rows = rows.collect::<Vec<_>>().join(", ");
            // What the output function tells apart, and a digest of what a step is handed.
            let sql = format!(
                "SELECT count(*) FROM (SELECT substr(v, 2, length(v) - 2)::{name} AS a FROM (VALUES {rows}) AS v (v)) AS l, \
                 (SELECT substr(v, 2, length(v) - 2)::{name} AS b FROM (VALUES {rows}) AS v (v)) AS r \
                 WHERE a = b AND format('%s', a) COLLATE \"C\" <> format('%s', b) COLLATE \"C\""
            );
            let found = server.query("postgres", &sql).unwrap().remove(0).remove(0);
            let differ = found.as_deref() != Some("0");
            if is_identified(name, true) {
                assert!(!differ, "equal values of {name} differ");
            }
            // Those that the table says nothing of, but for some that nobody has looked at.
            let is_looked_at = !["numeric(6,2)[]", "inet"].contains(&name);
            assert!(
                differ || is_identified(name, true) || !is_looked_at,
                "{name}"
            );
        }
    }

    #[test]
    fn every_type_whose_equal_values_are_the_same_is_spelled_in_several_ways() {
        let claims = TYPES.iter().filter(|known| known.equal != Differ);
        for known in claims {
            let mut spelled = SPELLED.iter();
            assert!(
                spelled.any(|(name, _)| std::ptr::eq(of(name), known)),
                "{:?}",
                known.names
            );
        }
    }

    #[test]
    fn a_name_is_known_however_it_is_spelled() {
        for (name, plain) in [
            ("varchar(20)", "varchar"),
            ("character varying(20)", "varchar"),
            ("timestamp(3) with time zone", "timestamptz"),
            ("timestamp(3) without time zone", "timestamp"),
            ("numeric(10,2)", "numeric"),
            ("\"char\"", "char"),
        ] {
            assert_eq!(of(name).names[0], plain);
        }
        assert_eq!(without_modifier("numeric(10,2)[]"), "numeric[]");
    }

    #[test]
    fn collations_and_lengths_decide() {
        assert!(is_identified("text", true) && !is_identified("text", false));
        assert!(is_identified("character(3)", true) && !is_identified("character", true));
        assert!(!is_identified("character(3)", false) && !is_identified("bpchar", true));
        assert!(is_identified("numeric(6,2)", false) && !is_identified("numeric", true));
    }

    /// Decisions for types without a row: domains, arrays, composites, types of users and extensions.
    #[test]
    fn a_type_without_a_row_is_compared_by_postgresql_alone() {
        for name in [
            "citext",
            "public.mood",
            "int4[]",
            "numeric(6,2)[]",
            "int4range",
            "geometry",
        ] {
            assert!(!is_identified(name, true), "{name}");
            assert_eq!(
                (of(name).order, of(name).arrow),
                (Order::No, Arrow::No),
                "{name}"
            );
            assert!(
                can_be_grouped(name),
                "{name}: PostgreSQL says so if it cannot"
            );
            assert!(!is_known(name), "{name}: a server is asked");
            assert_eq!(equality(name), without_modifier(name));
        }
        // One that only hashes beside one of which nobody knows whether it hashes.
        let together = |names: &[&str]| can_be_grouped_together(names.iter().copied());
        assert!(together(&["xid", "int4"]) && together(&["citext", "int4"]));
        assert!(!together(&["xid", "citext"]));
    }

    #[test]
    fn types_of_one_equality() {
        assert_eq!(equality("integer"), equality("int8"));
        assert_eq!(equality("character varying(3)"), equality("text"));
        // `=` compares them as dates and as texts, with blanks at the end and without.
        assert_ne!(equality("date"), equality("timestamp without time zone"));
        assert_ne!(equality("character(3)"), equality("text"));
        assert_ne!(equality("numeric"), equality("integer"));
    }

    #[test]
    fn each_name_is_of_one_type() {
        for known in TYPES {
            assert!(
                known.names.iter().all(|name| std::ptr::eq(of(name), known)),
                "{:?}",
                known.names
            );
        }
    }
}
