//! What planning has to know of the shards' databases: relations, functions, operators, casts, types,
//! collations.
//!
//! ```text
//! facts ───────── one document per shard: what there is
//! circumstances ─ two others: what the database does around a query (policies, rights; settings, sizes)
//! load ────────── reads them, from all shards at once
//! cache ───────── keeps facts and rights in files, each with a fingerprint that tells whether they still hold
//! identity ────── refuses two shards that are one database
//! compare ─────── makes one catalog of the facts, and tells how shards differ
//! conditions ──── does so with the circumstances
//! ```
//! Shards that differ are no error here: each thing has a `difference`, a sentence that says how
//! the shards differ on it. Whoever uses the thing refuses the query with it. The inspection, which
//! shows all differences, takes them from the same comparison.

#[cfg(feature = "datafusion")]
mod cache;
#[cfg(feature = "datafusion")]
mod circumstances;
mod compare;
#[cfg(feature = "datafusion")]
mod conditions;
pub(crate) mod facts;
pub(crate) mod identity;
mod load;
#[cfg(feature = "datafusion")]
mod settings;
mod suggest;

use std::collections::{HashMap, HashSet};
#[cfg(feature = "datafusion")]
use std::sync::Arc;

use serde::Deserialize;

#[cfg(feature = "datafusion")]
pub(crate) use self::cache::Cache;
#[cfg(feature = "datafusion")]
pub(crate) use self::circumstances::Policy;
pub(crate) use self::compare::{
    Aspect, Comparison, PerShard, by_key, differences, name_list, places,
};
#[cfg(feature = "datafusion")]
pub(crate) use self::conditions::{Access, Conditions};
pub(crate) use self::facts::FunctionName;
pub(crate) use self::load::read;
#[cfg(feature = "datafusion")]
pub(crate) use self::load::{load, load_finish};

/// The catalog that all shards have in common.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    /// Where names without a schema are looked up.
    search_path: Vec<String>,
    default_collation: Collation,
    difference: Option<String>,
    relations: Objects<Relation>,
    /// How the shards differ on the rows of relations, by the [key](type_key) of their types.
    row_differences: HashMap<String, String>,
    functions: Objects<Function>,
    types: Objects<DataType>,
    collations: Objects<Collation>,
    #[cfg(feature = "datafusion")]
    conditions: Conditions,
    /// One shard by itself, where another server finishes.
    #[cfg(feature = "datafusion")]
    sample: Option<Arc<load::Sample>>,
    operators: Objects<Operator>,
    /// The casts of users.
    pub(crate) casts: Vec<Cast>,
    /// Of types that are not PostgreSQL's own, rows of tables among them, or that users have given a
    /// way to be compared, by their [key](type_key).
    pub(crate) type_calls: HashMap<String, TypeCalls>,
    /// The names of PostgreSQL's own types.
    pub(crate) system_types: HashSet<String>,
    /// How the shards differ on `current_user` or `session_user`.
    pub(crate) role_difference: Option<String>,
    /// How the shards differ on a configuration or dictionary of text search.
    pub(crate) text_search_difference: Option<String>,
    /// How the shards differ on the search path.
    pub(crate) path_difference: Option<String>,
}

impl Catalog {
    /// A catalog without anything in it. `search_path` has `pg_catalog` in its place, by default
    /// the first.
    pub(crate) fn new(search_path: Vec<String>, default_collation: Collation) -> Self {
        Self {
            search_path,
            difference: default_collation.difference.clone(),
            default_collation,
            relations: Objects::default(),
            row_differences: HashMap::new(),
            functions: Objects::default(),
            types: Objects::default(),
            collations: Objects::default(),
            #[cfg(feature = "datafusion")]
            conditions: Conditions::default(),
            #[cfg(feature = "datafusion")]
            sample: None,
            operators: Objects::default(),
            casts: Vec::new(),
            type_calls: HashMap::new(),
            system_types: HashSet::new(),
            role_difference: None,
            path_difference: None,
            text_search_difference: None,
        }
    }

    #[cfg(feature = "datafusion")]
    fn with_conditions(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_relation(mut self, relation: Relation) -> Self {
        self.add_relation(relation);
        self
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_function(mut self, function: Function) -> Self {
        self.functions.add(function);
        self
    }

    #[cfg(test)]
    pub(crate) fn add_operator(&mut self, operator: Operator) {
        self.operators.add(operator);
    }

    #[cfg(test)]
    pub(crate) fn with_collation(mut self, collation: Collation) -> Self {
        self.collations.add(collation);
        self
    }

    /// The relation that a name means; without a schema, by the search path. Names are as the
    /// catalog has them: without quotes, and folded to lower case where SQL would.
    pub(crate) fn relation(&self, schema: Option<&str>, name: &str) -> Option<&Relation> {
        self.relations.first(&self.search_path, schema, name)
    }

    /// All relations whose columns are known: those of users and extensions.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &Relation> {
        let all = self.relations.by_name.values().flatten();
        all.filter(|relation| relation.kind != RelationKind::Other)
    }

    /// The functions that a name may mean, in the order of the search path where it has no schema.
    /// Which one of several, the arguments decide, which are not known here.
    pub(crate) fn functions(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> impl Iterator<Item = &Function> {
        self.functions
            .all(&self.search_path, schema, name)
            .into_iter()
    }

    /// The functions of a name in any schema: what a text that somebody else's search path reads may
    /// mean.
    pub(crate) fn functions_anywhere(&self, name: &str) -> impl Iterator<Item = &Function> {
        self.functions.anywhere(name)
    }

    /// The relations of a name in any schema.
    pub(crate) fn relations_anywhere(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.relations.anywhere(name)
    }

    /// The operators of users and extensions that a symbol may mean; those of PostgreSQL itself are
    /// not among them.
    pub(crate) fn operators(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> impl Iterator<Item = &Operator> {
        self.operators
            .all(&self.search_path, schema, name)
            .into_iter()
    }

    /// The operators of users and extensions of a symbol, in any schema.
    pub(crate) fn operators_anywhere(&self, name: &str) -> impl Iterator<Item = &Operator> {
        self.operators.anywhere(name)
    }

    /// A base type, enum, domain, range or composite type of users; `None` for all others.
    pub(crate) fn data_type(&self, schema: Option<&str>, name: &str) -> Option<&DataType> {
        self.types.first(&self.search_path, schema, name)
    }

    /// How the shards differ on a type of users, or on the rows of a relation, by its
    /// [key](type_key).
    #[cfg(feature = "datafusion")]
    pub(crate) fn type_difference(&self, key: &str) -> Option<&str> {
        let mut types = self.types.by_name.values().flatten();
        if let Some(found) = types.find(|it| type_key(&it.sql) == key) {
            return found.difference.as_deref();
        }
        self.row_differences.get(key).map(String::as_str)
    }

    /// Whether there are relations whose columns differ.
    #[cfg(feature = "datafusion")]
    pub(crate) fn has_columns_that_differ(&self) -> bool {
        !self.row_differences.is_empty()
    }

    fn add_relation(&mut self, relation: Relation) {
        if let Some(difference) = relation.row_difference() {
            let row_type = format!("{}.{}", relation.schema, relation.name);
            self.row_differences.insert(row_type, difference.to_owned());
        }
        self.relations.add(relation);
    }

    /// The types of users of a name, in any schema.
    pub(crate) fn types_anywhere(&self, name: &str) -> impl Iterator<Item = &DataType> {
        self.types.anywhere(name)
    }

    /// The collations of a name, in any schema; that of the database is none of them.
    #[cfg(feature = "datafusion")]
    pub(crate) fn collations_anywhere(&self, name: &str) -> impl Iterator<Item = &Collation> {
        self.collations.anywhere(name)
    }

    /// The collation that a name after `COLLATE` means.
    pub(crate) fn collation(&self, schema: Option<&str>, name: &str) -> Option<&Collation> {
        let is_system = schema.is_none_or(|schema| schema == "pg_catalog");
        if is_system && name == "default" {
            return Some(&self.default_collation);
        }
        self.collations.first(&self.search_path, schema, name)
    }

    /// The collation of the database, which text has unless told otherwise.
    pub(crate) fn default_collation(&self) -> &Collation {
        &self.default_collation
    }

    /// What the shards do around a query.
    #[cfg(feature = "datafusion")]
    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// How shards differ in what concerns all text: encoding or default collation. Versions of
    /// PostgreSQL may differ.
    pub(crate) fn difference(&self) -> Option<&str> {
        self.difference.as_deref()
    }
}

/// Anything that a query can read rows from, as all shards have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relation {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: RelationKind,
    /// In their order, without system columns; also those that some shards lack, which have a
    /// difference. Empty for the relations of `pg_catalog` and `information_schema`, of which only
    /// the names are known.
    pub(crate) columns: Vec<ColumnFacts>,
    /// The columns of unique keys, none of which is ever NULL; the primary key first. They hold on
    /// each shard, not over all of them.
    pub(crate) keys: Vec<Vec<String>>,
    /// The columns of the primary key. Rows of tables that inherit from this one may have it once more: then
    /// it is none of `keys`.
    pub(crate) primary_key: Option<Vec<String>>,
    /// Whether any shard has row-level security on it.
    pub(crate) row_security: bool,
    /// Schema and name of the table that it is a partition of.
    pub(crate) parent: Option<(String, String)>,
    /// Whether on any shard other tables inherit from it, partitions among them.
    pub(crate) has_children: bool,
    /// How the shards differ on which columns it has, or on their order.
    pub(crate) list_difference: Option<String>,
    /// How the shards differ on it as a whole; differences of the columns of a view are its own.
    pub(crate) difference: Option<String>,
}

impl Relation {
    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// How the shards differ on its rows: on the list of its columns, or on one of them.
    pub(crate) fn row_difference(&self) -> Option<&str> {
        let mut columns = self.columns.iter();
        let list = self.list_difference.as_deref();
        list.or_else(|| columns.find_map(|column| column.difference.as_deref()))
    }

    /// How the shards differ on it, or on any of its columns.
    pub(crate) fn any_difference(&self) -> Option<&str> {
        let whole = self.difference.as_deref();
        whole.or_else(|| self.row_difference())
    }
}

/// What a relation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RelationKind {
    /// Ordinary, or partitioned.
    Table,
    View {
        /// The query, in which all names but those of `pg_catalog` have their schema.
        definition: String,
    },
    MaterializedView,
    Foreign,
    Sequence,
    /// A relation of `pg_catalog` or `information_schema`, whatever it is.
    Other,
}

/// A column of a relation, as all shards have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnFacts {
    pub(crate) name: String,
    /// The type with its modifiers, as SQL writes it anywhere: types outside `pg_catalog` have
    /// their schema.
    pub(crate) type_name: String,
    /// The type below all domains.
    pub(crate) base_type: BaseType,
    /// What an array is made of, which may be a domain; `None` if `base_type` is no array.
    pub(crate) element: Option<BaseType>,
    /// The domain that it has, as SQL writes it.
    pub(crate) domain: Option<String>,
    /// `atttypmod` of `base_type`; -1: none.
    pub(crate) type_modifier: i32,
    /// The dimensions that an array was declared with, to which PostgreSQL does not hold values.
    pub(crate) dimensions: i32,
    /// On every shard.
    pub(crate) not_null: bool,
    /// Whether it is computed from other columns.
    pub(crate) is_generated: bool,
    /// `None`: the type has no collation.
    pub(crate) collation: Option<Collation>,
    /// How the shards differ on it.
    pub(crate) difference: Option<String>,
}

/// A type by its name in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct BaseType {
    pub(crate) schema: String,
    /// That of `pg_type`: `int4`, `_text`.
    pub(crate) name: String,
    /// `typtype`: `b` base, `c` composite, `d` domain, `e` enum, `m` multirange, `r` range.
    pub(crate) kind: char,
}

/// A type of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataType {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Its name in SQL anywhere.
    pub(crate) sql: String,
    /// As in [`BaseType`].
    pub(crate) kind: char,
    /// How the shards differ on it, or on a type that it is made of.
    pub(crate) difference: Option<String>,
}

/// A rule by which texts are equal, and come one before the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collation {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The name to write after `COLLATE`; `None` for that of the database.
    pub(crate) sql: Option<String>,
    /// Whether texts are equal only when their bytes are.
    pub(crate) deterministic: bool,
    /// Whether the order is that of the bytes in UTF-8.
    pub(crate) bytewise: bool,
    /// How the shards differ on it, which concerns order, and equality too if it is not
    /// deterministic.
    pub(crate) difference: Option<String>,
}

impl Collation {
    /// A default collation of databases: that of `C`, or of some language.
    #[cfg(test)]
    pub(crate) fn database(bytewise: bool) -> Self {
        Self {
            schema: "pg_catalog".to_owned(),
            name: "default".to_owned(),
            sql: None,
            deterministic: true,
            bytewise,
            difference: None,
        }
    }
}

/// What a type is known by: its name in SQL without quotes, the brackets of an array and modifiers.
pub(crate) fn type_key(sql: &str) -> String {
    let name = sql.trim_end_matches("[]");
    let name = match (name.find('('), name.ends_with('"')) {
        (Some(open), false) => name[..open].trim_end(),
        _ => name,
    };
    name.replace('"', "")
}

/// What values of a type call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TypeCalls {
    /// Where they are read, written, made or compared.
    pub(crate) calls: Vec<FunctionName>,
    /// The conditions of a domain.
    pub(crate) check: Option<String>,
    /// The types that it is made of, by their name in SQL.
    pub(crate) parts: Vec<String>,
}

/// An operator of users or extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// What it calls.
    pub(crate) function: FunctionName,
    /// How the shards differ on the operators of this name.
    pub(crate) difference: Option<String>,
}

/// A cast of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) facts: facts::Cast,
    /// How the shards differ on the casts between these types.
    pub(crate) difference: Option<String>,
}

/// Functions of one name with equal properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: FunctionKind,
    pub(crate) volatility: Volatility,
    pub(crate) origin: Origin,
    /// The fewest arguments, and the most; `None` if there is no end to them.
    pub(crate) arguments: (usize, Option<usize>),
    /// Whether it returns values whose column in FROM is called like its alias.
    pub(crate) gives_values: bool,
    /// What it runs; `None` for those of PostgreSQL itself.
    pub(crate) code: Option<Code>,
    /// How the shards differ on the functions of this name; `None` unless `origin` is `User`, or
    /// the name has no schema and search paths differ.
    pub(crate) difference: Option<String>,
}

impl Function {
    /// Whether so many arguments fit; `None`: how many is not known.
    pub(crate) fn takes(&self, count: Option<usize>) -> bool {
        let (least, most) = self.arguments;
        count.is_none_or(|count| count >= least && most.is_none_or(|most| count <= most))
    }
}

/// What a function of users or extensions runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Code {
    /// `lanname`.
    pub(crate) language: String,
    /// Types of arguments and result; empty for those of extensions.
    pub(crate) signature: String,
    /// Its text, with the defaults of its arguments behind; `None` unless it is a function of users
    /// that is declared IMMUTABLE.
    pub(crate) body: Option<String>,
    /// What an aggregate is made of.
    pub(crate) calls: Vec<FunctionName>,
    /// The types of users and extensions that it takes and gives, by their name in SQL.
    pub(crate) types: Vec<String>,
    /// The columns that it has in FROM, if they have names of their own.
    pub(crate) outputs: Vec<String>,
    /// Whether it returns rows, and not values.
    pub(crate) gives_rows: bool,
}

/// `prokind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FunctionKind {
    Normal,
    Aggregate,
    Window,
    Procedure,
}

/// `provolatile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// Where a function comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// `pg_catalog` or `information_schema`.
    System,
    Extension,
    User,
}

/// What has a name in a schema.
trait Object: Clone {
    fn schema(&self) -> &str;
    fn name(&self) -> &str;
    fn difference_mut(&mut self) -> &mut Option<String>;
}

macro_rules! object {
    ($($type:ty),*) => {$(
        impl Object for $type {
            fn schema(&self) -> &str { &self.schema }
            fn name(&self) -> &str { &self.name }
            fn difference_mut(&mut self) -> &mut Option<String> { &mut self.difference }
        }
    )*};
}

object!(Relation, Function, DataType, Collation, Operator);

/// Things of one kind, by name.
#[derive(Debug, Clone)]
struct Objects<T> {
    by_name: HashMap<String, Vec<T>>,
    /// What names without a schema mean where that is not the same on all shards; each with the
    /// difference.
    unclear: HashMap<String, Vec<T>>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            unclear: HashMap::new(),
        }
    }
}

impl<T: Object> Objects<T> {
    fn add(&mut self, object: T) {
        let same = self.by_name.entry(object.name().to_owned()).or_default();
        same.push(object);
    }

    /// All that a name may mean, nearest first.
    fn all(&self, search_path: &[String], schema: Option<&str>, name: &str) -> Vec<&T> {
        let same = || self.by_name.get(name).into_iter().flatten();
        match (schema, self.unclear.get(name)) {
            (Some(schema), _) => same().filter(|object| object.schema() == schema).collect(),
            (None, Some(unclear)) => unclear.iter().collect(),
            (None, None) => search_path
                .iter()
                .flat_map(|schema| same().filter(move |object| object.schema() == schema))
                .collect(),
        }
    }

    /// All of a name, whatever their schema.
    fn anywhere(&self, name: &str) -> impl Iterator<Item = &T> {
        self.by_name.get(name).into_iter().flatten()
    }

    fn first(&self, search_path: &[String], schema: Option<&str>, name: &str) -> Option<&T> {
        self.all(search_path, schema, name).into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn relation(schema: &str, name: &str) -> Relation {
        Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            keys: Vec::new(),
            primary_key: None,
            row_security: false,
            parent: None,
            has_children: false,
            list_difference: None,
            difference: None,
        }
    }

    fn function(schema: &str, name: &str, volatility: Volatility) -> Function {
        Function {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: FunctionKind::Normal,
            volatility,
            origin: Origin::User,
            arguments: (0, None),
            gives_values: false,
            code: None,
            difference: None,
        }
    }

    pub(super) fn path(schemas: &[&str]) -> Vec<String> {
        schemas.iter().map(|schema| (*schema).to_owned()).collect()
    }

    #[test]
    fn names_without_a_schema_follow_the_search_path() {
        let make = |schemas: &[&str]| {
            Catalog::new(path(schemas), Collation::database(true))
                .with_relation(relation("public", "t"))
                .with_relation(relation("app", "t"))
                .with_relation(relation("other", "u"))
                .with_relation(relation("public", "pg_class"))
                .with_relation(relation("pg_catalog", "pg_class"))
        };
        let catalog = make(&["pg_catalog", "app", "public"]);
        let schema = |schema, name| {
            let found = catalog.relation(schema, name);
            found.map(|relation| relation.schema.as_str())
        };
        assert_eq!(schema(None, "t"), Some("app"));
        assert_eq!(schema(Some("public"), "t"), Some("public"));
        assert_eq!(schema(None, "u"), None);
        assert_eq!(schema(Some("other"), "u"), Some("other"));
        assert_eq!(schema(None, "T"), None);
        assert_eq!(schema(None, "pg_class"), Some("pg_catalog"));
        // A path may name pg_catalog, and then it is where it is named.
        let catalog = make(&["public", "pg_catalog"]);
        let found = catalog.relation(None, "pg_class").unwrap();
        assert_eq!(found.schema, "public");
    }

    #[test]
    fn functions_of_all_schemas_in_the_path_are_candidates() {
        let catalog = Catalog::new(
            path(&["pg_catalog", "app", "public"]),
            Collation::database(true),
        )
        .with_function(function("public", "f", Volatility::Stable))
        .with_function(function("app", "f", Volatility::Immutable))
        .with_function(function("app", "f", Volatility::Volatile))
        .with_function(function("hidden", "f", Volatility::Volatile));
        let schemas = |schema| -> Vec<String> {
            let found = catalog.functions(schema, "f");
            found.map(|function| function.schema.clone()).collect()
        };
        assert_eq!(schemas(None), ["app", "app", "public"]);
        assert_eq!(schemas(Some("hidden")), ["hidden"]);
        assert_eq!(catalog.functions(None, "g").count(), 0);
    }

    #[test]
    fn the_default_collation_has_a_name_too() {
        let mut c = Collation::database(true);
        c.name = "C".to_owned();
        c.sql = Some("pg_catalog.\"C\"".to_owned());
        let catalog =
            Catalog::new(path(&["pg_catalog"]), Collation::database(false)).with_collation(c);
        assert!(!catalog.collation(None, "default").unwrap().bytewise);
        assert!(!catalog.default_collation().bytewise);
        assert!(catalog.collation(None, "C").unwrap().bytewise);
        assert!(catalog.collation(Some("pg_catalog"), "C").is_some());
        assert_eq!(catalog.collation(Some("public"), "default"), None);
    }
}
