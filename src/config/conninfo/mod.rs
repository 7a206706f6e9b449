//! The text of a connection string, taken apart as libpq does.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::keywords::{Keyword, unknown};
use super::options::Options;
use super::{Environment, Secret, invalid};
use crate::error::Result;

/// Takes the text apart. Without an environment, variables stay as they are.
pub(super) fn parse(text: &str, environment: Option<&Environment>) -> Result<Options> {
    if text.starts_with("${") && environment.is_some() {
        let text = Secret::new(expand(text, environment, |piece| Ok(piece.into()))?);
        return parse_either(text.expose(), None);
    }
    parse_either(text, environment)
}

fn parse_either(text: &str, environment: Option<&Environment>) -> Result<Options> {
    if text.trim().is_empty() {
        return Err(invalid("connection string is empty")
            .with_hint("write postgresql:// to use the PG* variables and defaults alone"));
    }
    match text
        .strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"))
    {
        Some(rest) => parse_url(rest, environment),
        None => parse_key_values(text, environment),
    }
}

/// What follows `postgresql://`; see `conninfo_uri_parse_options` in fe-connect.c.
///
/// ```text
/// [user[:password]@][host][:port][,...][/dbname][?name=value[&...]]
/// ```
fn parse_url(text: &str, environment: Option<&Environment>) -> Result<Options> {
    let mut options = Options::default();
    let mut set = |name: &str, value: String| {
        if let Some(keyword) = Keyword::find(name)
            && !value.is_empty()
        {
            options.set(keyword, value);
        }
    };
    let decoded = |text: &str| expand(text, environment, decode);

    let mut rest = text;
    if let Some(at) = text.find(['@', '/'])
        && text[at..].starts_with('@')
    {
        if text[..at].contains('?') {
            return Err(invalid("\"?\" before \"@\" in the connection URL").with_hint(
                "in user and password \"?\" is %3F; in parameters without a database \"@\" is %40",
            ));
        }
        let (user, password) = text[..at].split_once(':').unwrap_or((&text[..at], ""));
        set("user", decoded(user)?);
        set("password", decoded(password)?);
        rest = &text[at + 1..];
    }

    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    if rest.contains('@') {
        return Err(invalid("more than one \"@\", or one after \"/\", in the connection URL").with_hint(
            "percent-encode special characters in user, password and database: \"@\" is %40, \"/\" is %2F",
        ));
    }
    let (network, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    let network = expand(network, environment, |piece| Ok(piece.into()))?;
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for (index, place) in network.split(',').enumerate() {
        let (host, port) = split_port(place, index + 1)?;
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    set("host", hosts.join(","));
    // For two hosts without ports this is ",": both have the default port, whatever PGPORT says.
    set("port", ports.join(","));
    set("dbname", decoded(dbname)?);

    let mut after_secret = false;
    for parameter in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = match parameter.split_once('=') {
            Some((_, value)) if value.contains('=') => {
                return Err(invalid("extra \"=\" in a parameter of the connection URL")
                    .with_hint("percent-encode it as %3D"));
            }
            Some(pair) => pair,
            None => {
                return Err(invalid("missing \"=\" in a parameter of the connection URL")
                    .with_hint("parameters are written ?name=value&name=value; a \"?\" in a password is %3F"));
            }
        };
        let (name, value) = (decode(name)?, decoded(value)?);
        // JDBC's way to ask for TLS, which libpq knows too.
        let (name, value) = match (&*name, &*value) {
            ("ssl", "true") => ("sslmode", "require".to_owned()),
            _ => (&*name, value),
        };
        let keyword = Keyword::find(name).ok_or_else(|| match after_secret {
            // It may be the rest of a password with "&" in it.
            true => invalid("invalid connection option after the value of a password")
                .with_hint("percent-encode \"&\" in a password as %26"),
            false => unknown(name),
        })?;
        after_secret = ["password", "sslpassword"].contains(&name);
        options.set(keyword, value);
    }
    Ok(options)
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`; either may be empty. `number` counts from 1.
fn split_port(place: &str, number: usize) -> Result<(&str, &str)> {
    let Some(bracketed) = place.strip_prefix('[') else {
        return match place.split_once(':') {
            Some((_, port)) if port.contains(':') => Err(invalid(format!(
                "more than one \":\" in host {number} of the connection URL"
            ))
            .with_hint("write an IPv6 address in brackets; \":\" in a password is %3A")),
            Some(pair) => Ok(pair),
            None => Ok((place, "")),
        };
    };
    let (host, rest) = bracketed.split_once(']').ok_or_else(|| {
        invalid(format!(
            "missing \"]\" after the IPv6 address of host {number}"
        ))
    })?;
    if host.is_empty() {
        return Err(invalid(format!(
            "the IPv6 address of host {number} is empty"
        )));
    }
    match (rest, rest.strip_prefix(':')) {
        ("", _) => Ok((host, "")),
        (_, Some(port)) => Ok((host, port)),
        _ => Err(invalid(format!(
            "expected \":\", \",\", \"/\" or \"?\" after the IPv6 address of host {number}"
        ))),
    }
}

/// `key = value` pairs; see `conninfo_parse` in fe-connect.c.
fn parse_key_values(text: &str, environment: Option<&Environment>) -> Result<Options> {
    let mut options = Options::default();
    let mut previous: Option<&'static str> = None;
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let name_end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_end);
        // What stands after an unquoted value may be the rest of a password with a space in it,
        // so neither message repeats it.
        let Some(after) = after.trim_start_matches(is_space).strip_prefix('=') else {
            return Err(match previous {
                Some(previous) => invalid(format!("missing \"=\" after the value of {previous:?}"))
                    .with_hint("put a value with spaces in single quotes"),
                None => invalid("connection string is neither a URL nor key=value pairs")
                    .with_hint(
                        "write postgresql://user@host:port/dbname or host=... dbname=... user=...",
                    ),
            });
        };
        let keyword = Keyword::find(name).ok_or_else(|| match previous {
            Some(secret @ ("password" | "sslpassword")) => invalid(format!(
                "invalid connection option after the value of {secret:?}"
            ))
            .with_hint("put a password with spaces in single quotes"),
            None if name.contains("://") => {
                invalid("connection URL does not start with postgresql:// or postgres://")
            }
            _ => unknown(name),
        })?;
        let (value, after) = value(after.trim_start_matches(is_space)).ok_or_else(|| {
            invalid(format!(
                "unterminated quoted string in the value of {:?}",
                keyword.name
            ))
        })?;
        options.set(
            keyword,
            expand(value.expose(), environment, |piece| Ok(piece.into()))?,
        );
        previous = Some(keyword.name);
        rest = after.trim_start_matches(is_space);
    }
    Ok(options)
}

/// One value and what follows it; `None` when its quote is not closed.
fn value(text: &str) -> Option<(Secret, &str)> {
    let mut value = String::with_capacity(text.len());
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((index, next)) = chars.next() {
        match next {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value.into(), &text[index + 1..])),
            space if !quoted && is_space(space) => return Some((value.into(), &text[index..])),
            other => value.push(other),
        }
    }
    (!quoted).then_some((value.into(), ""))
}

/// C's `isspace` in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Replaces `${NAME}` by the variable's value, untouched, and gives all other text to `literal`.
fn expand<'a>(
    text: &'a str,
    environment: Option<&Environment>,
    literal: impl Fn(&'a str) -> Result<Cow<'a, str>>,
) -> Result<String> {
    let Some(environment) = environment else {
        return Ok(literal(text)?.into_owned());
    };
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            expanded.push_str(&literal(before)?);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&literal(&rest[..start])?);
        let name = rest[start + 2..]
            .split_once('}')
            .filter(|(name, _)| is_variable_name(name));
        let Some((name, after)) = name else {
            return Err(
                invalid("invalid use of \"${\" in the connection string").with_hint(
                    "write ${NAME} for an environment variable, and $${ for the characters ${",
                ),
            );
        };
        let value = environment.variable(name)?.ok_or_else(|| {
            invalid(format!("environment variable {name} is not set"))
                .with_hint(format!("set it: export {name}=..."))
        })?;
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(&literal(rest)?);
    Ok(expanded)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Percent-decodes; a bad escape is an error, as in libpq, and not kept as it is.
fn decode(text: &str) -> Result<Cow<'_, str>> {
    for (index, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(index + 1..index + 3);
        match digits {
            Some(b"00") => {
                return Err(invalid("%00 is not allowed in a connection URL"));
            }
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => {
                return Err(
                    invalid("invalid percent-encoding in the connection URL").with_hint(
                        "\"%\" is followed by two hexadecimal digits; \"%\" itself is %25",
                    ),
                );
            }
        }
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| invalid("percent-encoded text in the connection URL is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
