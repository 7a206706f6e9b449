//! Whether a function, an operator, a cast or a type may be used in a query that runs in parts.

use std::cell::RefCell;
use std::collections::HashMap;

use super::text;
use super::verdict::{Judges, READS, Verdict, Why, why};
use crate::catalog::{
    Cast, Catalog, Code, Collation, Function, FunctionKind, FunctionName, Operator, Origin,
    Volatility, type_key,
};
use crate::plan::facts::functions::{self as system, Class};

const DECLARE: &str = "declare it IMMUTABLE, or STABLE if it is SQL or PL/pgSQL, where it reads no table; or \
     write what it does into the query";
const SAME: &str = "make it the same on all shards";
const REFRESH: &str = "a function made after the first query is seen after `Cluster::refresh`";

/// Judges what the catalog has, and remembers.
pub(in crate::plan) struct Judge<'a> {
    pub(super) catalog: &'a Catalog,
    /// Whether a statement may call what tells of the server, and changes nothing.
    at_home: bool,
    /// What is being judged counts as harmless meanwhile: a function may call itself.
    functions: RefCell<HashMap<(String, String, String), Verdict>>,
    types: RefCell<HashMap<String, Verdict>>,
}

impl<'a> Judge<'a> {
    pub(in crate::plan) fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            at_home: false,
            functions: RefCell::default(),
            types: RefCell::default(),
        }
    }

    /// Of a statement that one shard runs as it is.
    pub(super) fn at_home(catalog: &'a Catalog) -> Self {
        Self {
            at_home: true,
            ..Self::new(catalog)
        }
    }

    /// A call in a statement, of so many arguments if that is known.
    pub(in crate::plan) fn call(
        &self,
        schema: Option<&str>,
        name: &str,
        count: Option<usize>,
    ) -> Verdict {
        let all: Vec<&Function> = self.catalog.functions(schema, name).collect();
        let fitting = fitting(&all, count);
        if fitting.is_empty() {
            return self.no_function(schema, name);
        }
        for function in fitting {
            match self.function(function) {
                Ok(Class::Plain | Class::Clock | Class::Chance) => {}
                Ok(Class::Server | Class::Unknown)
                    if self.at_home
                        && function.origin == Origin::System
                        && system::only_tells(name, function.volatility) => {}
                Ok(class) => return Err(why(name, class)),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// What looks like a call, and is none of a function that was read.
    fn no_function(&self, schema: Option<&str>, name: &str) -> Verdict {
        let is_system = schema.is_none_or(|schema| schema == "pg_catalog");
        if is_system && (system::is_keyword(name) || self.catalog.system_types.contains(name)) {
            return self.cast_to(name);
        }
        match self.catalog.data_type(schema, name) {
            Some(data_type) => self
                .data_type(&data_type.sql)
                .and_then(|()| self.cast_to(&data_type.sql)),
            None => Err(unknown_function(name)),
        }
    }

    /// What calls a function by name behind the statement's back, like an operator.
    fn named(&self, (schema, name): &FunctionName) -> Verdict {
        let all = self.catalog.functions_anywhere(name);
        let same: Vec<&Function> = all.filter(|it| it.schema == *schema).collect();
        match same.is_empty() {
            true => Err(unknown_function(name)),
            false => self.in_text(name, &same),
        }
    }

    /// Refuses text search where the shards make other words of a text.
    pub(super) fn text_search(&self, name: &str) -> Verdict {
        match &self.catalog.text_search_difference {
            Some(difference) if system::is_text_search(name) => {
                Err(Why::new(format!("{name}: {difference}"), SAME))
            }
            _ => Ok(()),
        }
    }

    /// What a function is; `Err` for one of users that may not be used.
    fn function(&self, function: &Function) -> Result<Class, Why> {
        if let Some(difference) = &function.difference {
            let what = format!("{}: {difference}", label(function));
            return Err(Why::new(what, SAME));
        }
        match function.origin {
            Origin::System => {
                self.text_search(&function.name)?;
                Ok(system::class(&function.name, function.volatility))
            }
            Origin::Extension => Ok(system::extension_class(&function.name, function.volatility)),
            Origin::User => self.own(function).map(|()| Class::Plain),
        }
    }

    /// A function of users.
    fn own(&self, function: &Function) -> Verdict {
        let Some(code) = &function.code else {
            return self.own_afresh(function);
        };
        let key = (
            function.schema.clone(),
            function.name.clone(),
            code.signature.clone(),
        );
        if let Some(known) = self.functions.borrow().get(&key) {
            return known.clone();
        }
        self.functions.borrow_mut().insert(key.clone(), Ok(()));
        let verdict = self.own_afresh(function);
        self.functions.borrow_mut().insert(key, verdict.clone());
        verdict
    }

    fn own_afresh(&self, function: &Function) -> Verdict {
        let label = label(function);
        // A STABLE one is held to its text, as an IMMUTABLE one is; without a text there is its word only.
        let has_text = function.code.as_ref().is_some_and(|code| {
            code.body.is_some() && ["sql", "plpgsql"].contains(&&*code.language)
        });
        let is_stable_text = function.volatility == Volatility::Stable && has_text;
        if function.kind == FunctionKind::Normal
            && function.volatility != Volatility::Immutable
            && !is_stable_text
        {
            let what = format!(
                "{label}, which is not declared IMMUTABLE: it may read tables, of which one \
                 database has a part only"
            );
            return Err(Why::new(what, DECLARE));
        }
        let Some(code) = &function.code else {
            return Err(Why::new(
                format!("{label}, whose code is not known"),
                REFRESH,
            ));
        };
        self.code(code)
            .map_err(|why| match why.what.starts_with(", ") {
                true => Why::new(format!("{label}{}", why.what), why.hint),
                false => why.within(&label),
            })
    }

    /// What a function runs. A reason that begins with a comma is its own.
    fn code(&self, code: &Code) -> Verdict {
        for called in &code.calls {
            self.named(called)?;
        }
        for sql in &code.types {
            self.data_type(sql)?;
        }
        let Some(body) = &code.body else {
            return Ok(());
        };
        match &*code.language {
            // Only a superuser makes one, who answers for what it is declared to be.
            "c" => Ok(()),
            "internal" => {
                let all: Vec<&Function> = self
                    .catalog
                    .functions_anywhere(body)
                    .filter(|it| it.origin == Origin::System)
                    .collect();
                match all.is_empty() {
                    true => Err(unknown_code(&code.language)),
                    false => self.in_text(body, &all),
                }
            }
            "sql" | "plpgsql" => text::check(self, body),
            "plperl" | "plperlu" | "plpython3u" | "pltcl" | "pltclu" | "plv8" => {
                let lower = body.to_ascii_lowercase();
                match ["spi_", "plpy", "plv8", "eval", "exec"]
                    .iter()
                    .any(|word| lower.contains(word))
                {
                    true => Err(Why::new(
                        ", whose text asks the database, or runs another text".to_owned(),
                        READS,
                    )),
                    false => Ok(()),
                }
            }
            other => Err(unknown_code(other)),
        }
    }

    /// The operators that a symbol in a statement may mean.
    pub(in crate::plan) fn operator(&self, schema: Option<&str>, symbol: &str) -> Verdict {
        let operators: Vec<&Operator> = self.catalog.operators(schema, symbol).collect();
        self.operators(symbol, &operators)
    }

    fn cast(&self, cast: &Cast) -> Verdict {
        let facts = &cast.facts;
        let label = format!("the cast from {} to {}", facts.source, facts.target);
        if let Some(difference) = &cast.difference {
            return Err(Why::new(format!("{label}: {difference}"), SAME));
        }
        match facts.method {
            'f' => self
                .named(&facts.function)
                .map_err(|why| why.within(&label)),
            // It calls what the types call, or nothing.
            _ => Ok(()),
        }
    }

    fn data_type_afresh(&self, sql: &str) -> Verdict {
        let label = format!("the type {sql}");
        if let Some(difference) = self.catalog.type_difference(sql) {
            return Err(Why::new(format!("{label}: {difference}"), SAME));
        }
        let implicit = self.catalog.casts.iter().filter(|cast| {
            let facts = &cast.facts;
            facts.is_implicit
                && [&facts.source, &facts.target]
                    .iter()
                    .any(|it| type_key(it) == sql)
        });
        for cast in implicit {
            self.cast(cast)?;
        }
        let Some(of_type) = self.catalog.type_calls.get(sql) else {
            return Ok(());
        };
        for called in &of_type.calls {
            self.named(called).map_err(|why| why.within(&label))?;
        }
        if let Some(check) = &of_type.check {
            text::check(self, check).map_err(|why| match why.what.starts_with(", ") {
                true => Why::new(format!("{label}{}", why.what), why.hint),
                false => why.within(&label),
            })?;
        }
        of_type
            .parts
            .iter()
            .try_for_each(|part| self.data_type(part))
    }
}

impl Judges for Judge<'_> {
    fn catalog(&self) -> &Catalog {
        self.catalog
    }

    fn in_text(&self, name: &str, functions: &[&Function]) -> Verdict {
        for function in functions {
            match self.function(function)? {
                Class::Plain => {}
                class => return Err(why(name, class)),
            }
        }
        Ok(())
    }

    fn operators(&self, symbol: &str, operators: &[&Operator]) -> Verdict {
        operators.iter().try_for_each(|operator| {
            let label = format!("the operator {symbol}");
            if let Some(difference) = &operator.difference {
                return Err(Why::new(format!("{label}: {difference}"), SAME));
            }
            self.named(&operator.function)
                .map_err(|why| why.within(&label))
        })
    }

    fn cast_to(&self, sql: &str) -> Verdict {
        let element = &*type_key(sql);
        let mut casts = self.catalog.casts.iter().filter(|cast| {
            let facts = &cast.facts;
            type_key(&facts.target) == element
                || facts.target_name == element
                || facts.target_name == alias(element)
        });
        casts.try_for_each(|cast| self.cast(cast))
    }

    fn casts_of_anything(&self) -> Verdict {
        let casts = self.catalog.casts.iter();
        casts
            .filter(|cast| cast.facts.is_implicit && !cast.facts.has_own_type)
            .try_for_each(|cast| self.cast(cast))
    }

    fn collation(&self, collation: &Collation) -> Verdict {
        match &collation.difference {
            Some(difference) => Err(Why::new(
                format!("the collation {}: {difference}", collation.name),
                SAME,
            )),
            None => Ok(()),
        }
    }

    fn data_type(&self, sql: &str) -> Verdict {
        let sql = &*type_key(sql);
        if let Some(known) = self.types.borrow().get(sql) {
            return known.clone();
        }
        self.types.borrow_mut().insert(sql.to_owned(), Ok(()));
        let verdict = self.data_type_afresh(sql);
        self.types
            .borrow_mut()
            .insert(sql.to_owned(), verdict.clone());
        verdict
    }
}

fn label(function: &Function) -> String {
    match function.kind {
        FunctionKind::Aggregate => format!("the aggregate {}", function.name),
        _ => format!("the function {}", function.name),
    }
}

fn fitting<'a>(all: &[&'a Function], count: Option<usize>) -> Vec<&'a Function> {
    let fitting: Vec<&Function> = all.iter().filter(|it| it.takes(count)).copied().collect();
    match fitting.is_empty() {
        // PostgreSQL has found one: the arguments are written in a way that is not understood here.
        true => all.to_vec(),
        false => fitting,
    }
}

fn unknown_function(name: &str) -> Why {
    Why::new(
        format!("the function {name}, which is not in the catalog as it was read"),
        REFRESH,
    )
}

fn unknown_code(language: &str) -> Why {
    Why::new(
        format!(", whose code is {language}, of which it cannot be told whether it reads tables"),
        READS,
    )
}

/// What `pg_type` calls a type that SQL has other names for (`src/backend/parser/gram.y`).
fn alias(sql: &str) -> &str {
    match sql {
        "int" | "integer" => "int4",
        "smallint" => "int2",
        "bigint" => "int8",
        "real" => "float4",
        "float" | "double precision" => "float8",
        "decimal" | "dec" => "numeric",
        "boolean" => "bool",
        "character" | "char" => "bpchar",
        "character varying" => "varchar",
        "bit varying" => "varbit",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time with time zone" => "timetz",
        "time without time zone" => "time",
        other => other,
    }
}
