use super::*;
use crate::config::ConnectionString;

fn parse_with(text: &str, environment: &Environment) -> Result<Vec<(&'static str, String)>> {
    let options = parse(text, Some(environment))?;
    let pairs = options.0.iter();
    Ok(pairs
        .map(|(name, (value, _))| (*name, value.expose().to_owned()))
        .collect())
}

fn parse_one(text: &str) -> Vec<(&'static str, String)> {
    parse_with(text, &Environment::default()).unwrap()
}

fn error(text: &str) -> String {
    parse_with(text, &Environment::default())
        .map(drop)
        .unwrap_err()
        .message()
        .to_owned()
}

/// The cases are those of PostgreSQL's `src/interfaces/libpq/t/001_uri.pl`, in our words.
#[test]
fn urls_are_read_as_libpq_reads_them() {
    for (text, expected) in [
        ("postgresql://", ""),
        ("postgres://", ""),
        ("postgresql:///", ""),
        ("postgresql://h", "host=h"),
        ("postgresql://h/", "host=h"),
        ("postgresql://h:1/d", "dbname=d host=h port=1"),
        (
            "postgresql://u:p@h:1/d",
            "dbname=d host=h password=p port=1 user=u",
        ),
        ("postgresql://u@h", "host=h user=u"),
        ("postgresql://u@", "user=u"),
        ("postgresql://:p@h", "host=h password=p"),
        ("postgresql://u:p:q@h", "host=h password=p:q user=u"),
        (
            "postgresql://%75%3A:%40%2f%25@h%31/d%20e",
            "dbname=d e host=h1 password=@/% user=u:",
        ),
        ("postgresql://:1", "port=1"),
        ("postgresql://:1/d?user=u", "dbname=d port=1 user=u"),
        (
            "postgresql:///d?host=/run/pg&port=2",
            "dbname=d host=/run/pg port=2",
        ),
        ("postgresql://%2Frun%2Fpg/d", "dbname=d host=/run/pg"),
        (
            "postgresql://%2Frun%2Fpg:3/d",
            "dbname=d host=/run/pg port=3",
        ),
        ("postgresql://[::1]:1/d", "dbname=d host=::1 port=1"),
        ("postgresql://[2001:db8::1]", "host=2001:db8::1"),
        ("postgresql://[::1]?dbname=d", "dbname=d host=::1"),
        (
            "postgresql://a:1,b:2,[::1]/d",
            "dbname=d host=a,b,::1 port=1,2,",
        ),
        ("postgresql://a,b/d", "dbname=d host=a,b port=,"),
        ("postgresql://h?ssl=true", "host=h sslmode=require"),
        (
            "postgresql://h?sslmode=allow&ssl=true&sslmode=disable",
            "host=h sslmode=disable",
        ),
        (
            "postgresql://h?password=a%26b%3Dc&",
            "host=h password=a&b=c",
        ),
        ("postgresql://h/d?dbname=e", "dbname=e host=h"),
        ("postgresql://h?%75ser=u", "host=h user=u"),
        (
            "postgresql://h/?application_name=a@b",
            "application_name=a@b host=h",
        ),
    ] {
        let found: Vec<_> = parse_one(text)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
}

#[test]
fn key_values_are_read_as_libpq_reads_them() {
    let pairs = |list: &[(&'static str, &str)]| {
        list.iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("host=h", &[("host", "h")][..]),
        (" host = h\n\tport=1 ", &[("host", "h"), ("port", "1")]),
        (
            "password='a b'user=u",
            &[("password", "a b"), ("user", "u")],
        ),
        (r"password='it\'s \\ \x' ", &[("password", r"it's \ x")]),
        (
            r"password=a\ b\\c'd user=u",
            &[("password", r"a b\c'd"), ("user", "u")],
        ),
        ("password=a=b", &[("password", "a=b")]),
        ("password= user=u", &[("password", "user=u")]),
        ("password='' user=u", &[("password", ""), ("user", "u")]),
        ("user=a user=b", &[("user", "b")]),
        ("dbname=", &[("dbname", "")]),
    ] {
        assert_eq!(parse_one(text), pairs(expected), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (text, message) in [
        ("", "connection string is empty"),
        ("  ", "connection string is empty"),
        (
            "db0",
            "connection string is neither a URL nor key=value pairs",
        ),
        (
            "mysql://h/d?a=b",
            "connection URL does not start with postgresql:// or postgres://",
        ),
        (
            "host=h sslmod=require",
            "invalid connection option \"sslmod\"",
        ),
        (
            "postgresql://h?sslmod=x",
            "invalid connection option \"sslmod\"",
        ),
        (
            "postgresql://h?ssl=false",
            "invalid connection option \"ssl\"",
        ),
        (
            "postgresql://h?user",
            "missing \"=\" in a parameter of the connection URL",
        ),
        (
            "postgresql://h?user=a=b",
            "extra \"=\" in a parameter of the connection URL",
        ),
        (
            "postgresql://[::1",
            "missing \"]\" after the IPv6 address of host 1",
        ),
        ("postgresql://a,[]", "the IPv6 address of host 2 is empty"),
        (
            "postgresql://[::1]x",
            "expected \":\", \",\", \"/\" or \"?\" after the IPv6 address of host 1",
        ),
        (
            "postgresql://::1",
            "more than one \":\" in host 1 of the connection URL",
        ),
        (
            "postgresql://u%zz@h",
            "invalid percent-encoding in the connection URL",
        ),
        (
            "postgresql://u%4",
            "invalid percent-encoding in the connection URL",
        ),
        (
            "postgresql://h/%00",
            "%00 is not allowed in a connection URL",
        ),
        (
            "postgresql://h/%ff",
            "percent-encoded text in the connection URL is not valid UTF-8",
        ),
        (
            "postgresql://u:p@q@h/d",
            "more than one \"@\", or one after \"/\", in the connection URL",
        ),
        (
            "postgresql://u:p?q@h",
            "\"?\" before \"@\" in the connection URL",
        ),
        (
            "postgresql://h?password=p@q",
            "\"?\" before \"@\" in the connection URL",
        ),
        (
            "postgresql://u:1/p@h/d",
            "more than one \"@\", or one after \"/\", in the connection URL",
        ),
        (
            "host=h password='x",
            "unterminated quoted string in the value of \"password\"",
        ),
        (
            r"password='x\'",
            "unterminated quoted string in the value of \"password\"",
        ),
        (
            "password=a b host=h",
            "missing \"=\" after the value of \"password\"",
        ),
        (
            "password=a b=c",
            "invalid connection option after the value of \"password\"",
        ),
        ("user=${", "invalid use of \"${\" in the connection string"),
        (
            "user=${1x}",
            "invalid use of \"${\" in the connection string",
        ),
        (
            "postgresql://${NO_SUCH}@h",
            "environment variable NO_SUCH is not set",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn variables_are_values_and_not_syntax() {
    let environment = Environment::default()
        .with_variable("PW", "a@b/c:%41 'd\\${X}")
        .with_variable("HOSTS", "a:1,b:2")
        .with_variable("BASE", "postgresql://u:${p}@h")
        .with_variable("EMPTY", "");
    let parse = |text| parse_with(text, &environment).unwrap();
    let password = ("password", "a@b/c:%41 'd\\${X}".to_owned());

    let found = parse("postgresql://app:${PW}@${HOSTS}/sales");
    assert!(found.contains(&password));
    assert!(found.contains(&("host", "a,b".to_owned())));
    assert!(found.contains(&("port", "1,2".to_owned())));
    assert!(parse("postgresql://h?password=${PW}").contains(&password));
    assert!(parse("password=${PW} user=u").contains(&password));
    assert!(parse("password='${PW}' user=u").contains(&password));
    // As the whole text, or its beginning, a variable is syntax; what is in it is final.
    let found = parse("${BASE}/sales");
    assert!(found.contains(&("password", "${p}".to_owned())));
    assert!(found.contains(&("dbname", "sales".to_owned())));
    assert_eq!(
        parse("password=a$${PW}$1"),
        [("password", "a${PW}$1".to_owned())]
    );
    assert_eq!(
        parse_with("${EMPTY}", &environment).unwrap_err().message(),
        "connection string is empty"
    );
}

#[test]
fn a_password_in_the_text_is_noticed() {
    for (text, expected) in [
        ("postgresql://app@h", false),
        ("postgresql://app:pw@h", true),
        ("postgresql://h?password=pw", true),
        ("host=h password=pw", true),
        ("postgresql://app:${PW}@h", false),
        ("postgresql://app:${A}${B}@h", true),
        ("${URL}", false),
        ("${URL}?password=x", true),
        ("not a connection string", true),
    ] {
        assert_eq!(
            ConnectionString::new(text).has_password(),
            expected,
            "{text}"
        );
    }
}
