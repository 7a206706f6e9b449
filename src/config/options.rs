//! The options of a connection, each with where it comes from.

use std::collections::BTreeMap;

use super::keywords::{KEYWORDS, Keyword};
use super::{Environment, Secret};
use crate::error::Result;

/// Where the value of an option comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    ConnectionString,
    Service,
    Environment,
}

/// The options of one connection. All values are secrets until somebody knows better.
#[derive(Default)]
pub(super) struct Options(pub(super) BTreeMap<&'static str, (Secret, Origin)>);

impl Options {
    /// The value; `None` when it is missing or empty, which libpq treats alike for most options.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|(value, _)| value.expose())
            .filter(|value| !value.is_empty())
    }

    /// Whether the option is given, but empty. Where libpq knows certain words only, that is none of
    /// them: `sslmode=${MODE}` without `MODE` is not to mean less than was meant.
    pub(super) fn is_empty(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|(value, _)| value.expose().is_empty())
    }

    /// Sets an option of the connection string; the last one wins.
    pub(super) fn set(&mut self, keyword: &'static Keyword, value: String) {
        self.0
            .insert(keyword.name, (value.into(), Origin::ConnectionString));
    }

    /// Sets an option that nothing before has set.
    pub(super) fn set_default(&mut self, keyword: &'static Keyword, value: &str, origin: Origin) {
        self.0
            .entry(keyword.name)
            .or_insert_with(|| (value.into(), origin));
    }

    /// Fills in what the `PG*` variables say.
    pub(super) fn set_defaults_from(&mut self, environment: &Environment) -> Result<()> {
        for keyword in &KEYWORDS {
            if let Some(variable) = keyword.variable
                && let Some(value) = environment.variable(variable)?.filter(|v| !v.is_empty())
            {
                self.set_default(keyword, value, Origin::Environment);
            }
        }
        Ok(())
    }

    /// Names an option, and says where to look for it when that is not the connection string.
    pub(super) fn describe(&self, name: &str) -> String {
        match self.0.get(name) {
            Some((_, Origin::Service)) => format!("{name} (from the service file)"),
            Some((_, Origin::Environment)) => {
                match Keyword::find(name).and_then(|keyword| keyword.variable) {
                    Some(variable) => format!("{name} (from {variable})"),
                    None => name.to_owned(),
                }
            }
            _ => name.to_owned(),
        }
    }

    pub(super) fn check_support(&self) -> Result<()> {
        self.0
            .keys()
            .filter_map(|name| Some((Keyword::find(name)?, self.get(name)?)))
            .try_for_each(|(keyword, value)| keyword.check(value))
    }
}
