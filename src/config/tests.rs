use std::time::Duration;

use super::*;

const FULL: &str = r#"
[session]
timezone = "Europe/Berlin"
search_path = "sales, public"
statement_timeout = "5min"
lock_timeout = "1500ms"
read_from = "any"
max_replay_lag = "1500ms"
connect_timeout = "3s"

[session.settings]
work_mem = "256MB"
geqo = false
random_page_cost = 1.1
geqo_threshold = 12
pg_trgm.similarity_threshold = 0.5
"citus.x" = "y"

[finish]
url = "host=db9 dbname=x"

[read_fence]
max_skew = "250ms"
watermark = "SELECT up_to FROM w -- it"
max_wait = "1min"

[[shard]]
name = "s0"
url = "postgresql://app:${PW}@db0/sales"
replicas = ["postgresql://app@db0b/sales", "host=db0c password='its'"]

[[shard]]
name = "s \"1\""
url = "host=db1"

[[table]]
name = "orders"
shard_key = "o_orderkey"
colocation = "order"
shard_index = "o_orderkey % 2"

[[table]]
name = 'Sales."Line Item"'
shard_key = '"Key"'
colocation = "order"

[[table]]
name = "nation"
replicated = true
"#;

fn environment() -> Environment {
    Environment::default()
        .with_user("ann")
        .with_variable("PW", "secret")
}

fn parse(text: &str) -> Result<Topology> {
    file::parse(text, Some("merganser.toml"), environment())
}

fn full() -> Topology {
    parse(FULL).unwrap()
}

#[test]
fn a_file_gives_everything() {
    let topology = full();
    let session = topology.session();
    assert_eq!(session.timezone(), "Europe/Berlin");
    assert_eq!(session.search_path(), Some("sales, public"));
    assert_eq!(session.statement_timeout(), Some(Duration::from_secs(300)));
    assert_eq!(session.lock_timeout(), Some(Duration::from_millis(1500)));
    assert_eq!(session.read_from(), ReadFrom::Any);
    assert_eq!(session.max_replay_lag(), Duration::from_millis(1500));
    let settings: Vec<_> = session
        .settings()
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    assert_eq!(
        settings.join(" "),
        "citus.x=y geqo=false geqo_threshold=12 pg_trgm.similarity_threshold=0.5 \
         random_page_cost=1.1 work_mem=256MB"
    );
    let names: Vec<_> = topology.shards().iter().map(Shard::name).collect();
    assert_eq!(names, ["s0", "s \"1\""]);
    assert_eq!(topology.shards()[0].replicas().len(), 2);
    let params = topology.shards()[0]
        .primary()
        .resolve(&environment())
        .unwrap();
    assert_eq!(params.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(params.password.unwrap().expose(), "secret");
    assert!(matches!(topology.finish(), Finish::Server(_)));
    let fence = topology.read_fence().unwrap();
    assert_eq!(fence.max_skew(), Duration::from_millis(250));
    assert_eq!(fence.watermark(), Some("SELECT up_to FROM w -- it"));
    assert_eq!(fence.max_wait(), Duration::from_secs(60));

    let tables = topology.tables();
    assert_eq!(
        tables[0].kind(),
        &TableKind::Sharded {
            key: "o_orderkey".into(),
            colocation: Some("order".into()),
            shard_index: Some("o_orderkey % 2".into()),
        }
    );
    assert_eq!(
        (tables[1].schema(), tables[1].name()),
        (Some("sales"), "Line Item")
    );
    assert!(matches!(tables[1].kind(), TableKind::Sharded { key, .. } if key == "Key"));
    assert_eq!(tables[2].kind(), &TableKind::Replicated);
}

#[test]
fn what_is_written_reads_the_same() {
    let topology = full();
    let text = topology.to_toml();
    assert_eq!(parse(&text).unwrap(), topology, "{text}");
    assert!(text.contains("${PW}") && !text.contains("secret"));
    // Because of the second replica.
    assert!(text.contains("holds a password"));

    let odd = Topology::builder()
        .with_shard(
            Shard::new("a\tb'\"\\", "host=h password='new\nline \"\"\" '''").with_replica("host=ü"),
        )
        .with_finish(Finish::Off)
        .with_environment(environment());
    assert_eq!(
        odd.build().unwrap_err().message(),
        "invalid shard name \"a\\tb'\\\"\\\\\": expected printable text"
    );
    let odd = Topology::builder()
        .with_shard(
            Shard::new("a b'\"\\", "host=h password='new\nline \"\"\" \\'\\'\\''")
                .with_replica("host=ü"),
        )
        .with_finish(Finish::Off)
        .with_table("\"x\"\".y\"", TableKind::sharded("\"A b\""))
        .with_session(SessionSettings::default().with_setting("a.b", "it's \"\n"))
        .with_environment(environment())
        .build()
        .unwrap();
    assert_eq!(parse(&odd.to_toml()).unwrap(), odd, "{}", odd.to_toml());
}

#[test]
fn rows_go_into_tables_where_that_is_said_or_the_server_is_one_of_its_own() {
    let shard = || Topology::builder().with_shard(Shard::new("s", "host=h"));
    let own = || Finish::Server(ConnectionString::new("host=f"));
    let (text, tables) = (FinishRelations::Text, FinishRelations::Temporary);
    for (builder, relations) in [
        (shard(), text),
        (shard().with_finish_relations(tables), tables),
        (shard().with_finish(own()), tables),
        (shard().with_finish(own()).with_finish_relations(text), text),
        (shard().with_finish(Finish::Off), text),
    ] {
        let topology = builder.build().unwrap();
        assert_eq!(topology.finish_relations(), relations, "{topology:?}");
        assert_eq!(parse(&topology.to_toml()).unwrap(), topology);
    }
}

#[test]
fn the_smallest_forms() {
    let topology =
        Topology::from_urls(["postgresql://db0/sales", "postgresql://db1/sales"]).unwrap();
    let names: Vec<_> = topology.shards().iter().map(Shard::name).collect();
    assert_eq!(names, ["s0", "s1"]);
    assert_eq!(topology.session(), &SessionSettings::default());
    assert_eq!(topology.finish(), &Finish::AnyShard);
    assert!(!topology.to_toml().contains("password"));
    assert_eq!(Topology::from_toml(&topology.to_toml()).unwrap(), topology);

    let error = Topology::from_urls(Vec::<String>::new()).unwrap_err();
    assert_eq!(error.message(), "the topology has no shard");
    let error = parse("").unwrap_err();
    assert_eq!(error.message(), "merganser.toml: the topology has no shard");
}

#[test]
fn files_are_found_or_explained() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("merganser.toml");
    let error = Topology::from_path(&path).unwrap_err();
    assert_eq!(
        error.message(),
        format!("{}: file not found", path.display())
    );
    assert!(error.hint().unwrap().contains("merganser inspect"));
    assert!(error.hint().unwrap().contains("--shard URL"));

    std::fs::write(&path, "[[shard]]\nname = \"s0\"\nurl = \"host=h\"\n").unwrap();
    assert_eq!(Topology::from_path(&path).unwrap().shards().len(), 1);
    std::fs::write(&path, b"# one\n# \xff").unwrap();
    let error = Topology::from_path(&path).unwrap_err();
    assert_eq!(
        error.message(),
        format!(
            "{}:2: not UTF-8, which TOML has to be: byte 3 of this line",
            path.display()
        )
    );
}

#[test]
fn errors_say_where_and_what() {
    let shard = "[[shard]]\nname = \"s0\"\nurl = \"host=h\"\n";
    for (text, expected) in [
        (
            "x = 1",
            "1:1: unknown key `x`, expected one of `session`, `finish`, `read_fence`, `shard`, `table`",
        ),
        (
            "[[shard]]\nname = \"s0\"\nulr = \"host=h\"",
            "3:1: unknown key `ulr`, expected one of `name`, `url`, `replicas`",
        ),
        ("[[shard]]\nname = \"s0\"", "1:1: missing field `url`"),
        (
            "[[shard]]\nname = 5\nurl = \"host=h\"",
            "2:8: name: expected a string, found integer",
        ),
        (
            "[[shard]]\nname = \"s0\"\nurl = \"host=h",
            "3:14: url: invalid basic string, expected `\"`",
        ),
        (
            "[session]\nconnect_timeout = \"5\"\n",
            "2:19: session: connect_timeout: invalid duration: expected a whole number and a unit",
        ),
        (
            "[session]\nconnect_timeout = 5\n",
            "2:19: connect_timeout: expected a string, found integer",
        ),
        (
            "[session]\ntimezone = \"\"\n[[shard]]\nname=\"s\"\nurl=\"host=h\"",
            "1:1: session: timezone is empty",
        ),
        (
            "[session.settings]\ndatestyle = []\n",
            "2:13: datestyle: expected a string, a number or a boolean, found sequence",
        ),
        (
            "[finish]\nmode = \"of\"",
            "2:8: mode: unknown value `of`, expected `on` or `off`",
        ),
        (
            "[finish]\nmode = \"off\"\nurl = \"host=h\"",
            "1:1: finish: mode is off, but there is a url",
        ),
        (
            "[finish]\nrelations = \"table\"",
            "2:13: relations: unknown value `table`, expected `text` or `temporary`",
        ),
        (
            "[finish]\nmode = \"off\"\nrelations = \"text\"\n[[shard]]\nname = \"s\"\nurl = \"host=h\"",
            "1:1: finish: mode is off, but there is relations",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(
            error.message(),
            format!("merganser.toml:{expected}"),
            "{text}"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    for (table, expected) in [
        (
            "name = \"t\"",
            "table \"t\": has no shard_key, and replicated is not true",
        ),
        (
            "name = \"t\"\nreplicated = false",
            "table \"t\": has no shard_key, and replicated is not true",
        ),
        (
            "name = \"t\"\nshard_key = \"k\"\nreplicated = true",
            "table \"t\": has a shard_key, but replicated is true",
        ),
        (
            "name = \"t\"\nreplicated = true\ncolocation = \"g\"",
            "table \"t\": colocation and shard_index are for sharded tables only",
        ),
        (
            "name = \"t.\"\nreplicated = true",
            "invalid table name \"t.\": expected an identifier",
        ),
    ] {
        let error = parse(&format!("{shard}[[table]]\n{table}\n")).unwrap_err();
        assert_eq!(error.message(), format!("merganser.toml:4:1: {expected}"));
    }
}

#[test]
fn errors_name_the_shard() {
    let error =
        parse("[[shard]]\nname = \"s0\"\nurl = \"host=h\"\nreplicas = [\"host=${NO_SUCH}\"]")
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "shard \"s0\": merganser.toml:4:13: replica 1: environment variable NO_SUCH is not set"
    );
    assert_eq!(error.hint(), Some("set it: export NO_SUCH=..."));
}

#[test]
fn names_are_unique() {
    let build = |tables: &[&str]| {
        let builder = Topology::builder().with_environment(environment());
        tables
            .iter()
            .fold(
                builder.with_shard(Shard::new("s0", "host=h")),
                |builder, table| builder.with_table(table, TableKind::Replicated),
            )
            .build()
            .map_err(|error| error.message().to_owned())
    };
    build(&["t", "T2", "a.u", "b.u"]).unwrap();
    assert_eq!(build(&["t", "T"]).unwrap_err(), "table t is declared twice");
    assert_eq!(
        build(&["a.t", "t"]).unwrap_err(),
        "table t is declared with and without a schema"
    );
    let shard = Shard::new("s0", "host=h");
    let twice = Topology::builder()
        .with_shard(shard.clone())
        .with_shard(shard)
        .build();
    assert_eq!(
        twice.unwrap_err().message(),
        "shard name \"s0\" is used twice"
    );
}

/// Whatever is wrong with a connection string or near it, its password is shown nowhere.
#[test]
fn no_error_and_no_debug_output_shows_a_password() {
    let urls = [
        "postgresql://app:canary@h:x/d",
        "postgresql://app:canary@h:70000/d",
        "postgresql://app:1%canary@h/d",
        "postgresql://app:%00canary@h/d",
        "postgresql://app:%ffcanary@h/d",
        "postgresql://app:canary@h/d?sslmod=require",
        "postgresql://app:canary@h/d?canary",
        "postgresql://app:canary@h/d?password=canary=canary",
        "postgresql://app:canary@h/d?Canary%20=1",
        "postgresql://app:pre@canary@h/d",
        "postgresql://app:pre/canary@h/d",
        "postgresql://app:5432/canary@h/d",
        "postgresql://app:canary/x@h/d",
        "postgresql://app:p@[canary/d",
        "postgresql://h?password=canary@h",
        "postgresql://h:1?password=pre@canary",
        "postgresql://app:12?canary/y@h/d",
        "postgresql://app:canary@h/d?sslcert=canary",
        "postgresql://app:canary@h/d?sslmode=canary",
        "postgresql://app:canary@h/d?connect_timeout=canary",
        "postgresql://app:canary@h/d?target_session_attrs=canary",
        "postgresql://app:canary@h/d?channel_binding=canary",
        "postgresql://app:canary@h/d?hostaddr=canary",
        "postgresql://app:canary@h/d?port=canary",
        "postgresql://app:canary@h/d?sslmode=require&sslrootcert=/canary",
        "postgresql://app:canary@h,i/d?port=1,2,3",
        "postgresql://app:${NO_SUCH}canary@h/d",
        "postgresql://app:${canary@h/d",
        "postgresql://app:${canary 1}@h/d",
        "mysql://app:canary@h/d",
        "app:canary@h/d",
        "host=h password=canary canary",
        "host=h password=two canary=x",
        "host=h password='canary",
        "host=h password='canary' sslmod=x",
        "host=h password='canary' port=x",
        "password=canary host='h i'",
        "password=x host=h@canary",
    ];
    let environment = environment();
    let mut failed = 0;
    let mut check = |what: &str, shown: String| {
        assert!(!shown.to_lowercase().contains("canary"), "{what}: {shown}");
        failed += 1;
    };
    let show = |error: &Error| format!("{error} {error:?} {error:#?}");
    for url in urls {
        let string = ConnectionString::new(url);
        let error = string.resolve(&environment).expect_err(url);
        check(url, show(&error));
        check(url, format!("{string:?} {string:#?}"));
        let shard = Shard::new("s0", url).with_replica(url);
        check(url, format!("{shard:?}"));
        let builder = Topology::builder()
            .with_environment(environment.clone())
            .with_shard(shard);
        check(url, format!("{builder:?}"));
        if let Err(error) = builder.build() {
            check(url, show(&error));
        }
    }

    let url = "postgresql://app:canary@h/d";
    for text in [
        format!("[[shard]]\nname = \"s0\"\nurl = {url}\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\" canary\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\\q\"\n"),
        format!("[[shard]]\nname = \"s0\"\nurl \"{url}\"\n"),
        format!("[[shard]]\nname = \"s0\"\n\"{url}\" = 1\n"),
        format!("[[shard]]\nname = \"s0\"\n{url}\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = [\"{url}\"]\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = {{ primary = \"{url}\" }}\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\"\nreplicas = \"{url}\"\n"),
        format!(
            "[[shard]]\nname = \"s0\"\nurl = \"{url}\"\nreplicas = \"canary, expected canary\"\n"
        ),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\"\nrole = \"x\"\n"),
        format!("[[shard]]\nname = \"s0\"\nurl = \"{url}\"\nurl = \"{url}\"\n"),
        format!("[[shard]]\nname = \"{url}\"\nurl = \"s0\"\n"),
        format!("[[shard]]\nurl = \"{url}\"\n"),
        format!("shard = \"{url}\"\n"),
        format!("shard = [\"{url}\"]\n"),
        format!("[finish]\nmode = \"{url}\"\n"),
        format!("[session]\nconnect_timeout = \"{url}\"\n"),
        format!("[session.settings]\n\"{url}\" = 1\n[[shard]]\nname=\"s\"\nurl=\"host=h\"\n"),
        format!("[[\"{url}\"]]\n"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(error.message().contains("merganser.toml:"), "{error}");
        check(&text, show(&error));
    }
    let topology = Topology::from_urls([url, "host=h password=canary"]).unwrap();
    check("Topology", format!("{topology:?}"));
    assert!(failed > 150, "{failed}");
}

/// The keys that the parser knows after these lines, from what it says of one that it does not.
fn known_keys(section: &str) -> BTreeSet<String> {
    let error = parse(&format!("{section}\nx = 1\n")).unwrap_err();
    let message = error.message();
    let (_, expected) = message.split_once(", expected ").expect(message);
    let names = expected.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn the_reference_has_exactly_the_keys_that_the_parser_knows() {
    let file: toml::Table = Topology::REFERENCE.parse().unwrap();
    let keys = |value: &toml::Value| -> BTreeSet<String> {
        let tables = match value {
            toml::Value::Array(tables) => tables.as_slice(),
            table => std::slice::from_ref(table),
        };
        let keys = tables.iter().filter_map(toml::Value::as_table);
        keys.flat_map(|table| table.keys().cloned()).collect()
    };
    assert_eq!(
        file.keys().cloned().collect::<BTreeSet<_>>(),
        known_keys("")
    );
    for (name, section) in [
        ("session", "[session]"),
        ("finish", "[finish]"),
        ("shard", "[[shard]]"),
        ("table", "[[table]]"),
    ] {
        assert_eq!(keys(&file[name]), known_keys(section), "{name}");
    }
    let topology = Topology::from_toml(Topology::REFERENCE).unwrap();
    assert_eq!((topology.shards().len(), topology.tables().len()), (1, 3));
}

#[test]
fn the_reference_says_the_default_of_every_key() {
    // Each key with the comments up to the next one; a key may stand in two examples of a table.
    let mut said: Vec<(&str, String)> = Vec::new();
    for line in Topology::REFERENCE.lines() {
        let (code, comment) = line.split_once('#').unwrap_or((line, ""));
        match code.split_once(" = ") {
            Some((key, _)) => said.push((key, comment.to_owned())),
            None if code.starts_with('[') => said.push(("", String::new())),
            None => {
                if let Some((_, text)) = said.last_mut() {
                    text.push_str(comment);
                }
            }
        }
    }
    for (key, _) in &said {
        let is_said = said
            .iter()
            .filter(|(other, _)| other == key)
            .any(|(_, text)| {
                ["default: ", "needed"]
                    .iter()
                    .any(|word| text.contains(word))
            });
        // A header, and a setting of the server's own.
        assert!(is_said || key.is_empty() || *key == "work_mem", "{key}");
    }
}
