//! What the catalog of one database says, as it is read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The query that gives all of it but the search path, as one JSON document.
pub(super) const QUERY: &str = include_str!("facts.sql");

/// The facts about one database on which answers depend.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Facts {
    /// `server_version_num`: 150004 is 15.4.
    pub(crate) version: u32,
    pub(crate) database: Database,
    /// All collations but the database's own, by their name in SQL.
    pub(crate) collations: BTreeMap<String, Collation>,
    /// Enums, domains, ranges and composite types of users, by their name in SQL.
    pub(crate) types: BTreeMap<String, Type>,
    /// The relations of users and extensions.
    pub(crate) relations: Vec<ShardRelation>,
    /// The names of the relations that every server has, by schema.
    #[serde(default)]
    pub(crate) system_relations: BTreeMap<String, Vec<String>>,
    /// The names of the functions that every server has.
    pub(crate) system_functions: Vec<SystemFunctions>,
    /// The names of PostgreSQL's own types.
    #[serde(default)]
    pub(crate) system_types: Vec<String>,
    /// The functions of users and extensions.
    pub(crate) functions: Vec<Function>,
    /// The operators of users and extensions.
    #[serde(default)]
    pub(crate) operators: Vec<Operator>,
    /// The casts of users that call a function.
    #[serde(default)]
    pub(crate) casts: Vec<Cast>,
    /// Of PostgreSQL's own types, and of rows of tables, that users have given a way to be compared:
    /// what it calls.
    #[serde(default)]
    pub(crate) classes: BTreeMap<String, Vec<FunctionName>>,
    /// `current_user` and `session_user`.
    #[serde(default)]
    pub(crate) role: (String, String),
    /// Text search configurations and dictionaries by name, each with a hash of what it does.
    #[serde(default)]
    pub(crate) text_search: BTreeMap<String, String>,
    /// The schemas in which names without one are looked up, in this order; `pg_catalog` is one of
    /// them.
    #[serde(default)]
    pub(crate) search_path: Vec<String>,
}

/// Schema and name of a function.
pub(crate) type FunctionName = (String, String);

/// `pg_database`: the collation that most text has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Database {
    pub(crate) encoding: String,
    pub(crate) collate: Option<String>,
    pub(crate) ctype: Option<String>,
    /// `c` is the C library, `i` ICU, `b` PostgreSQL's own.
    pub(crate) provider: String,
    pub(crate) locale: Option<String>,
    pub(crate) version: Option<String>,
}

impl Database {
    /// The default collation, for people.
    pub(crate) fn collation(&self) -> String {
        format!(
            "provider {}, locale {}, collate {}, ctype {}, version {}",
            self.provider,
            optional(self.locale.as_deref()),
            optional(self.collate.as_deref()),
            optional(self.ctype.as_deref()),
            optional(self.version.as_deref()),
        )
    }
}

/// `pg_collation`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Collation {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) locale: Option<String>,
    pub(crate) ctype: Option<String>,
    pub(crate) rules: Option<String>,
    pub(crate) deterministic: bool,
    /// That of the library, where it tells one.
    pub(crate) version: Option<String>,
    /// Whether a column has it.
    pub(crate) is_used: bool,
}

impl Collation {
    /// All that makes two collations differ, for people.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "provider {}, locale {}, version {}",
            self.provider,
            optional(self.locale.as_deref()),
            optional(self.version.as_deref()),
        );
        if self.ctype.is_some() && self.ctype != self.locale {
            text += &format!(", ctype {}", optional(self.ctype.as_deref()));
        }
        if let Some(rules) = &self.rules {
            text += &format!(", rules {rules}");
        }
        if !self.deterministic {
            text += ", not deterministic";
        }
        text
    }
}

/// `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Type {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `typtype`.
    pub(crate) kind: char,
    /// An enum's labels in their order, a composite type's attributes, else one base type.
    pub(crate) definition: Option<Vec<String>>,
    /// The types that it is made of, by their name in SQL.
    pub(crate) parts: Option<Vec<String>>,
    /// What reading, writing, making and comparing its values calls.
    #[serde(default)]
    pub(crate) calls: Option<Vec<FunctionName>>,
    /// The conditions of a domain.
    #[serde(default)]
    pub(crate) check: Option<String>,
}

impl Type {
    /// All that makes two types differ, for people.
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind {
            'e' => "enum",
            'd' => "domain over",
            'r' => "range of",
            'm' => "multirange of",
            'b' => "base",
            _ => "composite",
        };
        let parts = self.definition.as_deref().unwrap_or_default();
        format!("{kind} {}", parts.join(", "))
    }
}

/// `pg_class`: anything that a query can read rows from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ShardRelation {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `relkind`.
    pub(crate) kind: char,
    /// Schema and name of the table that it is a partition of.
    pub(crate) parent: Option<(String, String)>,
    /// Whether other tables inherit from it, partitions among them.
    #[serde(default)]
    pub(crate) has_children: bool,
    pub(crate) row_security: bool,
    /// The query of a view.
    pub(crate) definition: Option<String>,
    pub(crate) columns: Vec<Column>,
    /// Unique indexes over all rows, that of the primary key first.
    pub(crate) keys: Vec<Key>,
}

impl ShardRelation {
    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The name as SQL writes it.
    pub(crate) quoted: String,
    #[serde(rename = "type")]
    pub(crate) data_type: String,
    /// The type without modifiers, below all domains.
    pub(crate) base: String,
    pub(crate) base_schema: String,
    pub(crate) base_name: String,
    /// `typtype`; never `d`.
    pub(crate) base_kind: char,
    /// What an array is made of.
    pub(crate) element: Option<super::BaseType>,
    /// The domain above the base type.
    pub(crate) domain: Option<String>,
    /// That of the base type.
    pub(crate) modifier: i32,
    /// Declared ones; PostgreSQL does not hold values to them.
    pub(crate) dimensions: i32,
    pub(crate) not_null: bool,
    /// The expression of a generated column.
    pub(crate) generated: Option<String>,
    pub(crate) collation: Option<String>,
}

/// `pg_index`, of a unique index over all rows and without expressions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Key {
    pub(crate) columns: Vec<String>,
    pub(crate) is_primary: bool,
    /// Whether it is checked at once, for all rows that a query of the table reads, and by the
    /// equality that the columns have in queries.
    pub(crate) is_plain: bool,
}

/// Names of functions.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SystemFunctions {
    pub(crate) schema: String,
    /// `prokind`.
    pub(crate) kind: char,
    /// `provolatile`.
    pub(crate) volatility: char,
    /// The fewest arguments.
    #[serde(default)]
    pub(crate) least: usize,
    /// The most arguments; `None` if there is no end to them.
    #[serde(default)]
    pub(crate) most: Option<usize>,
    /// Whether each returns values, not rows, and its column in FROM has no name of its own.
    #[serde(default)]
    pub(crate) gives_values: bool,
    pub(crate) names: Vec<String>,
}

/// `pg_proc`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Function {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `prokind`.
    pub(crate) kind: char,
    /// `provolatile`.
    pub(crate) volatility: char,
    /// Whether it belongs to an extension.
    pub(crate) is_member: bool,
    /// The fewest arguments.
    #[serde(default)]
    pub(crate) least: usize,
    /// The most arguments; `None` if there is no end to them.
    #[serde(default)]
    pub(crate) most: Option<usize>,
    /// `lanname`.
    #[serde(default)]
    pub(crate) language: String,
    /// What it runs, with the defaults of its arguments behind; `None` unless it is declared
    /// IMMUTABLE, or STABLE in `sql` or `plpgsql`.
    #[serde(default)]
    pub(crate) body: Option<String>,
    /// What an aggregate is made of.
    #[serde(default)]
    pub(crate) calls: Option<Vec<FunctionName>>,
    /// The types of users and extensions that it takes and gives, by their name in SQL.
    #[serde(default)]
    pub(crate) types: Option<Vec<String>>,
    /// The columns that it has in FROM, if they have names of their own.
    #[serde(default)]
    pub(crate) outputs: Option<Vec<String>>,
    /// Whether it returns rows, and not values.
    #[serde(default)]
    pub(crate) gives_rows: bool,
    /// Whether it returns values, and its column in FROM has no name of its own.
    #[serde(default)]
    pub(crate) gives_values: bool,
    /// Types of arguments and result; `None` for those of extensions.
    pub(crate) signature: Option<String>,
    /// A hash of all on which its results may depend; `None` for those of extensions.
    pub(crate) fingerprint: Option<String>,
}

/// `pg_operator`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Operator {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The types that it stands between.
    pub(crate) operands: String,
    /// Whether it belongs to an extension.
    pub(crate) is_member: bool,
    pub(crate) function: FunctionName,
}

/// `pg_cast`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Cast {
    /// The types by their names in SQL.
    pub(crate) source: String,
    pub(crate) target: String,
    /// `typname` of the target.
    pub(crate) target_name: String,
    /// Whether one of the types is not PostgreSQL's own.
    pub(crate) has_own_type: bool,
    /// Whether it is applied where nobody has written a cast.
    pub(crate) is_implicit: bool,
    /// `castmethod`: `f` calls a function, `i` goes by the types' texts, `b` takes the bytes as they are.
    pub(crate) method: char,
    /// `castcontext`.
    pub(crate) context: char,
    /// Names without a letter where none is called.
    pub(crate) function: FunctionName,
}

fn optional(value: Option<&str>) -> &str {
    value.unwrap_or("none")
}

/// Facts for the tests of whatever compares them.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A column that is never NULL.
    pub(crate) fn column(name: &str, data_type: &str) -> Column {
        Column {
            name: name.to_owned(),
            quoted: name.to_owned(),
            data_type: data_type.to_owned(),
            base: data_type.to_owned(),
            base_schema: "pg_catalog".to_owned(),
            base_name: data_type.to_owned(),
            base_kind: 'b',
            element: None,
            domain: None,
            modifier: -1,
            dimensions: 0,
            not_null: true,
            generated: None,
            collation: None,
        }
    }

    /// A unique index of these columns.
    pub(crate) fn key(columns: &[&str]) -> Key {
        Key {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            is_primary: false,
            is_plain: true,
        }
    }

    /// A table.
    pub(crate) fn relation(name: &str, columns: &[Column]) -> ShardRelation {
        ShardRelation {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: 'r',
            parent: None,
            has_children: false,
            row_security: false,
            definition: None,
            columns: columns.to_vec(),
            keys: Vec::new(),
        }
    }

    /// A database with these relations.
    pub(crate) fn facts(relations: &[ShardRelation]) -> Facts {
        Facts {
            version: 150_004,
            database: Database {
                encoding: "UTF8".to_owned(),
                collate: Some("C".to_owned()),
                ctype: Some("C".to_owned()),
                provider: "c".to_owned(),
                locale: None,
                version: None,
            },
            collations: BTreeMap::new(),
            types: BTreeMap::new(),
            relations: relations.to_vec(),
            system_relations: BTreeMap::from([(
                "pg_catalog".to_owned(),
                vec!["pg_class".to_owned()],
            )]),
            system_functions: vec![SystemFunctions {
                schema: "pg_catalog".to_owned(),
                kind: 'a',
                volatility: 'i',
                least: 1,
                most: Some(1),
                gives_values: false,
                names: vec!["sum".to_owned(), "avg".to_owned()],
            }],
            system_types: Vec::new(),
            functions: Vec::new(),
            operators: Vec::new(),
            casts: Vec::new(),
            classes: BTreeMap::new(),
            role: ("app".to_owned(), "app".to_owned()),
            text_search: BTreeMap::new(),
            search_path: vec!["pg_catalog".to_owned(), "public".to_owned()],
        }
    }
}
