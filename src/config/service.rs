//! Connection services: named sets of options in `~/.pg_service.conf`.
//!
//! See `parseServiceInfo` in PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::path::{Path, PathBuf};

use super::keywords::{Keyword, unknown};
use super::options::{Options, Origin};
use super::{Environment, Secret, invalid, within};
use crate::error::{Error, Result};

/// Where Debian's libpq looks when `PGSYSCONFDIR` is not set.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// Fills in the options of the service that the connection string, or `PGSERVICE`, names.
///
/// # Errors
/// When a service is named and no file defines it, or its definition is wrong.
pub(super) fn apply(options: &mut Options, environment: &Environment) -> Result<()> {
    let variable = |name| Ok::<_, Error>(environment.variable(name)?.filter(|v| !v.is_empty()));
    let service = match options.get("service") {
        Some(service) => service.to_owned(),
        None => match variable("PGSERVICE")? {
            Some(service) => service.to_owned(),
            None => return Ok(()),
        },
    };

    let given = match options.get("servicefile") {
        Some(file) => Some(file),
        None => variable("PGSERVICEFILE")?,
    };
    let mut looked_at = Vec::new();
    let mut files = Vec::new();
    match given {
        Some(file) => files.push(PathBuf::from(file)),
        None => files.extend(environment.home().map(|home| home.join(".pg_service.conf"))),
    }
    let directory = variable("PGSYSCONFDIR")?.unwrap_or(SYSTEM_DIRECTORY);
    files.push(Path::new(directory).join("pg_service.conf"));

    for file in files {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Secret::from(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                looked_at.push(format!("{} (does not exist)", file.display()));
                continue;
            }
            Err(error) => {
                return Err(
                    invalid(format!("service file {}: cannot be read", file.display()))
                        .with_source(error),
                );
            }
        };
        if apply_text(text.expose(), &service, options).map_err(|(line, error)| {
            let place = format!("service file {}, line {line}", file.display());
            within(error, &place)
        })? {
            return Ok(());
        }
        looked_at.push(file.display().to_string());
    }
    Err(
        invalid(format!("definition of service {service:?} not found"))
            .with_hint(format!("looked at {}", looked_at.join(", "))),
    )
}

/// What fuzzing begins with.
#[cfg(fuzzing)]
pub(super) fn fuzz(text: &str) {
    let _ = apply_text(text, "s", &mut Options::default());
}

/// Fills in the options of one section; `false` when the text has no such section. Errors come with
/// the number of their line.
fn apply_text(text: &str, service: &str, options: &mut Options) -> Result<bool, (usize, Error)> {
    let mut found = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found {
                break;
            }
            found = header
                .split_once(']')
                .is_some_and(|(name, _)| name == service);
            continue;
        }
        if found {
            apply_line(line, options).map_err(|error| (index + 1, error))?;
        }
    }
    Ok(found)
}

fn apply_line(line: &str, options: &mut Options) -> Result<()> {
    if line.starts_with("ldap") {
        return Err(invalid("services in an LDAP directory are not supported"));
    }
    let (name, value) = line
        .split_once('=')
        .ok_or_else(|| invalid("expected name=value"))?;
    if matches!(name, "service" | "servicefile") {
        return Err(invalid("a service cannot name another service"));
    }
    let keyword = Keyword::find(name).ok_or_else(|| unknown(name))?;
    options.set_default(keyword, value, Origin::Service);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ConnectionString;
    use super::*;

    fn environment() -> (tempfile::TempDir, Environment) {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment::default()
            .with_user("ann")
            .with_home(directory.path())
            .with_variable(
                "PGSYSCONFDIR",
                directory.path().join("etc").to_str().unwrap(),
            )
            .with_variable("PGUSER", "env")
            .with_variable("PGAPPNAME", "env");
        (directory, environment)
    }

    #[test]
    fn a_service_comes_after_the_string_and_before_the_environment() {
        let (directory, environment) = environment();
        std::fs::write(
            directory.path().join(".pg_service.conf"),
            "# comment\n[other]\nhost=wrong\nnonsense\n\n  [sales] \nhost=db0\n dbname=sales\nuser=svc\n\
             password=a=b c\n[sales]\nport=1\n",
        )
        .unwrap();
        let params = ConnectionString::new("postgresql:///mine?service=sales")
            .resolve(&environment)
            .unwrap();
        assert_eq!(params.endpoints[0].to_string(), "db0:5432");
        assert_eq!(params.dbname, "mine");
        assert_eq!(params.user, "svc");
        assert_eq!(params.application_name.as_deref(), Some("env"));
        assert_eq!(params.password.unwrap().expose(), "a=b c");

        let environment = environment.with_variable("PGSERVICE", "sales");
        let params = ConnectionString::new("user=me")
            .resolve(&environment)
            .unwrap();
        assert_eq!((&*params.user, &*params.dbname), ("me", "sales"));
    }

    #[test]
    fn the_systems_file_comes_second() {
        let (directory, environment) = environment();
        std::fs::write(directory.path().join(".pg_service.conf"), "[other]\n").unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(
            directory.path().join("etc/pg_service.conf"),
            "[sales]\nhost=db1",
        )
        .unwrap();
        let sales = ConnectionString::new("service=sales");
        let params = sales.resolve(&environment).unwrap();
        assert_eq!(params.endpoints[0].to_string(), "db1:5432");

        let named = directory.path().join("mine.conf");
        std::fs::write(&named, "[sales]\nhost=db2").unwrap();
        let environment = environment.with_variable("PGSERVICEFILE", named.to_str().unwrap());
        let params = sales.resolve(&environment).unwrap();
        assert_eq!(params.endpoints[0].to_string(), "db2:5432");
    }

    #[test]
    fn a_missing_service_names_the_files() {
        let (directory, environment) = environment();
        std::fs::write(directory.path().join(".pg_service.conf"), "[other]\n").unwrap();
        let error = ConnectionString::new("service=sales")
            .resolve(&environment)
            .unwrap_err();
        assert_eq!(error.message(), "definition of service \"sales\" not found");
        let home = directory.path().display();
        assert_eq!(
            error.hint().unwrap(),
            format!(
                "looked at {home}/.pg_service.conf, {home}/etc/pg_service.conf (does not exist)"
            )
        );
    }

    #[test]
    fn errors_name_file_and_line_and_no_value() {
        let (directory, environment) = environment();
        let file = directory.path().join(".pg_service.conf");
        for (line, message) in [
            ("canary", "expected name=value"),
            ("sslmod=canary", "invalid connection option \"sslmod\""),
            ("Canary 1=x", "invalid connection option"),
            ("service=canary", "a service cannot name another service"),
            (
                "ldap://canary",
                "services in an LDAP directory are not supported",
            ),
        ] {
            std::fs::write(&file, format!("[sales]\n{line}\n")).unwrap();
            let error = ConnectionString::new("service=sales")
                .resolve(&environment)
                .unwrap_err();
            assert_eq!(
                error.message(),
                format!("service file {}, line 2: {message}", file.display())
            );
            assert!(!format!("{error:?}").to_lowercase().contains("canary"));
        }
        std::fs::write(&file, "[sales]\nport=canary\n").unwrap();
        let error = ConnectionString::new("service=sales")
            .resolve(&environment)
            .unwrap_err();
        assert_eq!(
            error.message(),
            "invalid port (from the service file) of host 1: expected a number from 1 to 65535"
        );
    }
}
