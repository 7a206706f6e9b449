//! Options that are wrong, and what a driver that only reads says of the rest of ADBC.

use adbc_core::error::Status;
use adbc_core::options::{IsolationLevel, OptionConnection, OptionStatement, OptionValue};
use adbc_core::{Connection as _, Database as _, Optionable, Statement as _};

use crate::{Scene, error, open, set};

const SHARDS: (&str, &str) = ("merganser.shards", "postgresql://127.0.0.1:1/nowhere");

#[test]
fn a_wrong_option_says_which_are_right() {
    let unknown = error(open(&[SHARDS, ("merganser.mod", "fan_out")]));
    assert_eq!(unknown.status, Status::NotImplemented);
    assert!(unknown.message.contains("merganser.mode"), "{unknown}");
    let wrong = error(open(&[SHARDS, ("merganser.mode", "fan-out")]));
    assert_eq!(wrong.status, Status::InvalidArguments);
    assert!(
        wrong.message.contains("\"query\" or \"fan_out\""),
        "{wrong}"
    );
    let missing = error(open(&[("uri", "merganser:///nowhere/merganser.toml")]));
    assert_eq!(missing.status, Status::InvalidArguments);
    assert!(
        missing
            .message
            .contains("/nowhere/merganser.toml: file not found"),
        "{missing}"
    );
    let invalid = error(open(&[("merganser.topology", "[[shard]]\nname = 1")]));
    assert!(invalid.message.contains("line 2"), "{invalid}");

    let mut connection = open(&[SHARDS]).unwrap().new_connection().unwrap();
    let mut statement = connection.new_statement().unwrap();
    let wrong = error(set(&mut statement, "merganser.timeout_ms", "soon"));
    assert!(
        wrong
            .message
            .contains("a whole number from 0 to 2147483647"),
        "{wrong}"
    );
    let unknown = error(set(&mut statement, "merganser.explan", "x"));
    assert!(unknown.message.contains("merganser.explain"), "{unknown}");
    for name in ["merganser.explain", "adbc.statement.exec.progress"] {
        let fixed = error(set(&mut statement, name, "x"));
        assert!(fixed.message.contains("can only be read"), "{fixed}");
    }
    let nothing = error(statement.get_option_string("merganser.x".into()));
    assert_eq!(nothing.status, Status::NotFound);
}

#[test]
fn statements_begin_with_what_their_connection_and_database_set() {
    let database = open(&[SHARDS, ("merganser.timeout_ms", "7000")]).unwrap();
    let conn = [("merganser.mode".into(), "fan_out".into())];
    let mut connection = database.new_connection_with_opts(conn).unwrap();
    let mut statement = connection.new_statement().unwrap();
    let get = |statement: &crate::ManagedStatement, name: &str| {
        statement.get_option_string(name.into()).unwrap()
    };
    assert_eq!(get(&statement, "merganser.timeout_ms"), "7000");
    assert_eq!(get(&statement, "merganser.mode"), "fan_out");
    statement
        .set_option("merganser.timeout_ms".into(), OptionValue::Int(5))
        .unwrap();
    assert_eq!(
        statement
            .get_option_int("merganser.timeout_ms".into())
            .unwrap(),
        5
    );
    let other = connection.new_statement().unwrap();
    assert_eq!(get(&other, "merganser.timeout_ms"), "7000");
}

#[test]
fn transactions_have_nothing_to_write() {
    let mut connection = open(&[SHARDS]).unwrap().new_connection().unwrap();
    let text =
        |connection: &crate::ManagedConnection, key| connection.get_option_string(key).unwrap();
    assert_eq!(text(&connection, OptionConnection::AutoCommit), "true");
    assert_eq!(text(&connection, OptionConnection::ReadOnly), "true");
    assert_eq!(error(connection.commit()).status, Status::InvalidState);
    assert_eq!(error(connection.rollback()).status, Status::InvalidState);
    connection
        .set_option(OptionConnection::AutoCommit, false.into())
        .unwrap();
    connection.commit().unwrap();
    connection.rollback().unwrap();
    let write = connection.set_option(OptionConnection::ReadOnly, false.into());
    assert_eq!(error(write).status, Status::NotImplemented);
    let level = OptionConnection::IsolationLevel;
    connection
        .set_option(level.clone(), IsolationLevel::ReadCommitted.into())
        .unwrap();
    let snapshot = error(connection.set_option(level, IsolationLevel::Snapshot.into()));
    assert_eq!(snapshot.status, Status::NotImplemented);
    assert!(snapshot.message.contains("share no snapshot"), "{snapshot}");
    let catalog = connection.get_option_string(OptionConnection::CurrentCatalog);
    assert_eq!(error(catalog).status, Status::NotFound);
}

#[test]
fn what_there_is_not_says_what_to_use_instead() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n FROM t");
    let ingest = error(statement.set_option(OptionStatement::TargetTable, "t".into()));
    assert!(ingest.message.contains("only reads"), "{ingest}");
    let plan = error(statement.set_substrait_plan(b"x"));
    assert!(plan.message.contains("SQL"), "{plan}");
    let by_name = error(set(&mut statement, "adbc.statement.bind_by_name", "true"));
    assert!(by_name.message.contains("order of $1"), "{by_name}");
    assert_eq!(
        scene.rows("SELECT count(*) FROM t")[0][0].as_deref(),
        Some("2")
    );
}
