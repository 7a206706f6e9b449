//! The password file, `~/.pgpass`.
//!
//! ```text
//! host:port:database:user:password        # any of the first four may be *
//! ```
//! See `passwordFromFile` in PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::path::Path;

use super::Secret;

/// Reads the file, unless it is missing or others may read it too.
pub(super) fn read(path: &Path) -> Option<Secret> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!("password file {path:?} is not a plain file, ignored");
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            tracing::warn!(
                "password file {path:?} has group or world access, ignored; permissions should be \
                 u=rw (0600) or less"
            );
            return None;
        }
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::warn!("password file {path:?} cannot be read, ignored: {error}");
            None
        }
    }
}

/// The password of the first line that fits; `None` when there is none, or when it is empty.
pub(super) fn find(text: &str, host: &str, port: u16, dbname: &str, user: &str) -> Option<Secret> {
    let port = port.to_string();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            [host, &port, dbname, user]
                .into_iter()
                .try_fold(line, |rest, wanted| after_match(rest, wanted))
        })
        .map(|rest| field(rest).0)
        .filter(|password| !password.is_empty())
        .map(Secret::from)
}

/// What follows the first field and its colon, if the field is this text or `*`.
fn after_match<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    match field(line) {
        (text, Some(rest)) if text == wanted => Some(rest),
        _ => None,
    }
}

/// The text up to the next colon, without escapes, and what follows the colon.
fn field(line: &str) -> (String, Option<&str>) {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.char_indices();
    while let Some((index, next)) = chars.next() {
        match next {
            ':' => return (text, Some(&line[index + 1..])),
            '\\' => text.push(chars.next().map_or('\\', |(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str, host: &str, user: &str) -> Option<String> {
        find(text, host, 5432, "sales", user).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_wins() {
        let text = "# db0:5432:sales:app:comment\n\
                    db0:5433:sales:app:port\r\n\
                    db0:*:sales:ann:any port\r\n\
                    db0:5432:*:app:first\n\
                    *:*:*:app:last\n";
        assert_eq!(password(text, "db0", "app").as_deref(), Some("first"));
        assert_eq!(password(text, "db1", "app").as_deref(), Some("last"));
        assert_eq!(password(text, "db0", "ann").as_deref(), Some("any port"));
        assert_eq!(password(text, "db0", "bob"), None);
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        assert_eq!(
            password(r"\:\:1:*:*:a\\b:p\:\\q:rest", "::1", r"a\b").as_deref(),
            Some(r"p:\q")
        );
        assert_eq!(password("::1:*:*:app:p", "::1", "app"), None);
        assert_eq!(
            password(r"*:*:*:app:p\", "db0", "app").as_deref(),
            Some(r"p\")
        );
    }

    #[test]
    fn incomplete_lines_and_empty_passwords_are_no_match() {
        for text in [
            "",
            "db0",
            "db0:5432:sales:app",
            "db0:5432:sales:app:",
            "*",
            "****:*:*:app:p",
        ] {
            assert_eq!(password(text, "db0", "app"), None, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:p").unwrap();
        let chmod = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (mode, read_it) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            chmod(mode);
            assert_eq!(read(file.path()).is_some(), read_it, "{mode:o}");
        }
        assert!(read(Path::new("/")).is_none());
        assert!(read(Path::new("/nonexistent/pgpass")).is_none());
    }
}
