//! Settings: which can change an answer, and where shards differ on those.
//!
//! ```text
//! pinned ──── every session sets them: PINNED, and the keys of [session]
//! compared ── the same on all shards, or no query is planned
//! harmless ── settings.txt
//! others ──── compared too if a session can set them: those of extensions and of later versions
//! custom ──── app.tenant: compared when something reads them with current_setting
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::circumstances::Circumstances;
use super::compare::differences;
use crate::config::PINNED;

/// Settings that can change an answer, and for which there is no value that all users expect.
const COMPARED: [&str; 8] = [
    "default_text_search_config",
    "ignore_checksum_failure",
    "ignore_invalid_pages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    // The type name is cut off there.
    "max_identifier_length",
    "zero_damaged_pages",
];

/// Those among them that any session may set.
const SETTABLE: [&str; 4] = [
    "default_text_search_config",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
];

/// Settings that are set or compared elsewhere: by the session, by what names mean, as facts of the
/// database; and versions, which may differ.
const ELSEWHERE: [&str; 9] = [
    "idle_in_transaction_session_timeout",
    "lc_collate",
    "lc_ctype",
    "search_path",
    "server_encoding",
    "server_version",
    "server_version_num",
    "timezone",
    "transaction_timeout",
];

const HARMLESS: &str = include_str!("settings.txt");

/// Extensions that watch, log or schedule.
const HARMLESS_EXTENSIONS: [&str; 10] = [
    "auto_explain",
    "cron",
    "pg_hint_plan",
    "pg_prewarm",
    "pg_qualstats",
    "pg_stat_kcache",
    "pg_stat_monitor",
    "pg_stat_statements",
    "pg_wait_sampling",
    "pgaudit",
];

/// What extensions call their settings, where that is not the name of the extension.
const EXTENSIONS: [&str; 3] = ["hnsw", "ivfflat", "vchordrq"];

/// What may be done with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Harmless,
    Compared,
    /// Without a meaning to PostgreSQL.
    Custom,
}

/// How the shards have their settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// The first that differs of those that can change any answer, and how.
    pub(super) difference: Option<(String, String)>,
    /// All of which something is known, in lower case, and how they differ.
    by_name: HashMap<String, Option<String>>,
}

impl Settings {
    pub(super) fn compare(names: &[String], all: &[Circumstances]) -> Self {
        let classes = Classes::of(all);
        let known: BTreeSet<&str> = all.iter().flat_map(setting_names).collect();
        let mut settings = Self::default();
        for name in known {
            let difference = differences(names, &values(name, all));
            // Those of users and extensions may be secrets.
            let difference = difference.map(|shown| match name.contains('.') {
                true => "not the same value on all shards".to_owned(),
                false => shown,
            });
            if let Some(difference) = &difference
                && settings.difference.is_none()
                && classes.of_setting(name) == Class::Compared
            {
                settings.difference = Some((name.to_owned(), difference.clone()));
            }
            settings.by_name.insert(name.to_owned(), difference);
        }
        settings
    }

    /// How the shards differ on what `current_setting` gives; `None` for a name of which nothing is
    /// known.
    pub(super) fn difference_of(&self, name: &str) -> Option<Option<&str>> {
        let found = self.by_name.get(&name.to_lowercase())?;
        Some(found.as_deref())
    }
}

/// The names of which one shard says something.
fn setting_names(shard: &Circumstances) -> impl Iterator<Item = &str> {
    let settings = shard.settings.keys().chain(shard.stored.keys());
    settings.chain(shard.asked.keys()).map(String::as_str)
}

/// The value that a setting has on each shard; `None` from one that does not have it, or does not
/// show it to this role.
fn values(name: &str, all: &[Circumstances]) -> Vec<Option<String>> {
    let value = |shard: &Circumstances| {
        let asked = shard.asked.get(name).cloned().flatten();
        let value = asked.or_else(|| shard.settings.get(name).cloned().flatten());
        let value = value.or_else(|| shard.stored.get(name).cloned())?;
        Some(canonical(name, value))
    };
    let values: Vec<_> = all.iter().map(value).collect();
    // One that has no definition is NULL where nobody has set it.
    let is_set = |shard: &Circumstances| {
        shard.stored.contains_key(name) || shard.asked.get(name).is_some_and(Option::is_some)
    };
    match name.contains('.') && all.iter().any(is_set) {
        true => values
            .into_iter()
            .map(|value| value.or_else(|| Some("not set".to_owned())))
            .collect(),
        false => values,
    }
}

/// One spelling for the locales that are the same: the encoding is that of the database in any case
/// (`src/backend/utils/adt/pg_locale.c`).
fn canonical(name: &str, value: String) -> String {
    if !name.starts_with("lc_") {
        return value;
    }
    let (locale, modifier) = value.split_once('@').unwrap_or((&value, ""));
    let language = locale.split('.').next().unwrap_or_default();
    match (language, modifier) {
        ("POSIX", "") => "C".to_owned(),
        (language, "") => language.to_owned(),
        (language, modifier) => format!("{language}@{modifier}"),
    }
}

/// The names in the list of what is harmless.
fn harmless() -> impl Iterator<Item = &'static str> {
    let lines = HARMLESS.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace)
}

struct Classes<'a> {
    pinned: BTreeSet<String>,
    harmless: BTreeSet<&'a str>,
    of_session: BTreeSet<&'a str>,
    extensions: BTreeSet<&'a str>,
}

impl<'a> Classes<'a> {
    fn of(all: &'a [Circumstances]) -> Self {
        Self {
            pinned: PINNED.iter().map(|(name, _)| name.to_lowercase()).collect(),
            harmless: harmless().chain(ELSEWHERE).collect(),
            of_session: all
                .iter()
                .flat_map(|it| it.session_settings.iter().map(String::as_str))
                .collect(),
            extensions: all
                .iter()
                .flat_map(|it| it.extensions.iter().map(String::as_str))
                .chain(EXTENSIONS)
                .collect(),
        }
    }

    fn of_setting(&self, name: &str) -> Class {
        if let Some((prefix, _)) = name.split_once('.') {
            return match () {
                () if HARMLESS_EXTENSIONS.contains(&prefix) => Class::Harmless,
                () if self.of_session.contains(name) => Class::Compared,
                () if self.extensions.contains(prefix) => Class::Compared,
                () => Class::Custom,
            };
        }
        let is_known = self.pinned.contains(name) || self.harmless.contains(name);
        match COMPARED.contains(&name) || !is_known && self.of_session.contains(name) {
            true => Class::Compared,
            false => Class::Harmless,
        }
    }

    /// Whether somebody has looked at this setting of PostgreSQL.
    #[cfg(test)]
    fn knows(&self, name: &str) -> bool {
        self.pinned.contains(name) || self.harmless.contains(name) || COMPARED.contains(&name)
    }
}

/// The settings of PostgreSQL on this server that nobody has looked at yet.
#[cfg(test)]
pub(super) fn unknown(shard: &Circumstances) -> Vec<&str> {
    let classes = Classes::of(std::slice::from_ref(shard));
    let settings = shard.settings.keys().map(String::as_str);
    settings
        .filter(|name| !name.contains('.') && !classes.knows(name))
        .collect()
}

/// The settings by which a catalog's expressions may be written in another way: all but those that are
/// harmless anywhere, of which some change from run to run, as the name of the application. And the one that
/// takes policies away.
pub(super) fn of_documents(shard: &Circumstances) -> BTreeMap<&str, Option<&str>> {
    let harmless: BTreeSet<&str> = harmless().collect();
    let settings = shard.settings.iter();
    settings
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        // What `pg_describe_object` says is translated.
        .filter(|(name, _)| {
            ["row_security", "lc_messages"].contains(name) || !harmless.contains(name)
        })
        .collect()
}

/// What a session elsewhere has to set to give the same answers.
pub(super) fn common(shard: &Circumstances) -> Vec<(String, String)> {
    let value = |name: &str| shard.settings.get(name).cloned().flatten();
    let settings = SETTABLE.into_iter();
    settings
        .filter_map(|name| Some((name.to_owned(), value(name)?)))
        .collect()
}

/// The dotted names of settings that the options of a connection string set (`-c app.tenant=1`,
/// `--app.tenant=1`).
pub(super) fn named_in_options(options: &str) -> Vec<String> {
    let words = options.split_whitespace();
    let names = words.filter_map(|word| {
        let word = word.strip_prefix("-c").unwrap_or(word);
        let (name, _) = word.strip_prefix("--").unwrap_or(word).split_once('=')?;
        name.contains('.').then(|| name.replace('-', "_"))
    });
    names.collect()
}

/// The settings of users and extensions among these.
pub(super) fn dotted(settings: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    let names = settings.keys().filter(|name| name.contains('.'));
    names.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_is_in_two_lists() {
        let classes = Classes::of(&[]);
        let listed: Vec<&str> = harmless().chain(ELSEWHERE).collect();
        let distinct: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(listed.len(), distinct.len());
        for name in distinct {
            assert!(!classes.pinned.contains(name), "{name}");
            assert!(!COMPARED.contains(&name), "{name}");
        }
    }

    #[test]
    fn spellings_of_one_locale_are_equal() {
        for (value, expected) in [
            ("en_US.UTF-8", "en_US"),
            ("en_US.utf8", "en_US"),
            ("POSIX", "C"),
            ("C.UTF-8", "C"),
            ("de_DE.ISO-8859-15@euro", "de_DE@euro"),
        ] {
            assert_eq!(canonical("lc_time", value.to_owned()), expected);
        }
        assert_eq!(canonical("app.x", "a.b".to_owned()), "a.b");
    }

    #[test]
    fn options_name_settings_in_two_forms() {
        let options = "-c app.tenant=1 -csearch_path=a --my.own-one=2 -c statement_timeout=0";
        assert_eq!(named_in_options(options), ["app.tenant", "my.own_one"]);
    }
}
