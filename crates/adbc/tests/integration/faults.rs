//! What goes wrong: the status, the SQLSTATE, and a text that names shard, phase and cure.

use std::sync::Arc;

use adbc_core::error::{Error, Status};
use adbc_core::{Connection as _, Database as _, Statement as _};
use merganser::arrow::array::{RecordBatch, StringArray};
use merganser_local::Server;

use crate::{Scene, error, open, support, texts};

fn detail<'a>(error: &'a Error, key: &str) -> Option<&'a str> {
    let details = error.details.as_ref()?;
    let (_, value) = details.iter().find(|(name, _)| name == key)?;
    std::str::from_utf8(value).ok()
}

#[test]
fn an_error_of_a_server_has_its_sqlstate_and_the_shard() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let refused = error(scene.fan_out("SELECT frm FROM t").execute());
    assert_eq!(refused.status, Status::InvalidArguments);
    assert_eq!(refused.sqlstate.map(|c| c as u8), *b"42703");
    assert!(
        refused.message.contains("column \"frm\" does not exist"),
        "{refused}"
    );
    assert!(refused.message.contains("SQLSTATE 42703"), "{refused}");
    assert_eq!(detail(&refused, "kind"), Some("Server"));
    assert_eq!(detail(&refused, "phase"), Some("describe"));
    let shard = detail(&refused, "shard").unwrap();
    assert!(
        refused.message.contains(&format!("shard {shard:?}")),
        "{refused}"
    );

    let missing = error(scene.statement("SELECT * FROM nowhere").execute());
    assert_eq!(missing.status, Status::NotFound, "{missing}");
    let syntax = error(scene.statement("SELECT FROM WHERE").execute());
    assert_eq!(syntax.status, Status::InvalidArguments, "{syntax}");
}

#[test]
fn an_error_in_mid_stream_names_the_shard() {
    // All rows of the first shard are fine, and so are many of the second.
    let Some(scene) = Scene::numbered(&[10, 100_000]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n, 1 / (n - 90000) AS x FROM t");
    let mut reader = statement.execute().unwrap();
    let mut rows = 0;
    let failure = loop {
        match reader.next().expect("the error comes before the end") {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => break error.to_string(),
        }
    };
    assert!(rows > 10, "{rows} rows before the error");
    assert!(failure.contains("shard \"s1\""), "{failure}");
    assert!(
        failure.contains("division by zero (SQLSTATE 22012)"),
        "{failure}"
    );
    assert!(reader.next().is_none());
    // Without rows to take, the error is the call's own.
    let whole = error(statement.execute_update());
    assert_eq!(whole.status, Status::InvalidData);
    assert_eq!(whole.sqlstate.map(|c| c as u8), *b"22012");
    assert!(whole.message.contains("shard \"s1\""), "{whole}");
}

#[test]
fn what_is_not_exact_is_refused_with_the_reason() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let refused = error(scene.statement("SELECT pg_backend_pid() FROM t").execute());
    assert_eq!(refused.status, Status::NotImplemented, "{refused}");
    assert_eq!(detail(&refused, "kind"), Some("Unsupported"));
    for sql in [
        "INSERT INTO t VALUES (7)",
        "DELETE FROM t",
        "CREATE TABLE u (a int)",
    ] {
        let refused = error(scene.statement(sql).execute_update());
        assert!(
            matches!(
                refused.status,
                Status::NotImplemented | Status::InvalidArguments
            ),
            "{sql}: {refused}"
        );
        assert!(error(scene.fan_out(sql).execute_update()).message.len() > 10);
    }
    assert_eq!(
        texts(scene.statement("SELECT count(*) FROM t").execute().unwrap())[0][0].as_deref(),
        Some("2")
    );
}

#[test]
fn what_cannot_be_bound_is_an_error_and_no_panic() {
    let Some(scene) = Scene::numbered(&[1, 1]) else {
        return;
    };
    let mut statement = scene.statement("SELECT n FROM t WHERE n::text = $1");
    let bind = |statement: &mut crate::ManagedStatement, text: &str| {
        let values = Arc::new(StringArray::from(vec![text]));
        let batch = RecordBatch::try_from_iter([("$1", values as _)]).unwrap();
        statement.bind(batch).unwrap();
    };
    bind(&mut statement, "a\0b");
    let nul = error(statement.execute());
    assert!(nul.message.contains("$1"), "{nul}");
    bind(&mut statement, "' OR true --");
    assert!(texts(statement.execute().unwrap()).is_empty());

    let mut statement = scene.statement("SELECT n FROM t WHERE n = $1::int");
    bind(&mut statement, "seven");
    let wrong = error(statement.execute());
    assert_eq!(wrong.status, Status::InvalidData, "{wrong}");
    assert_eq!(wrong.sqlstate.map(|c| c as u8), *b"22P02");
}

#[test]
fn nobody_at_home_is_said_with_the_shard() {
    let Some(urls) = support::shards(1) else {
        return;
    };
    let shards = format!("{} postgresql://postgres@127.0.0.1:1/nowhere", urls[0]);
    let database = open(&[("merganser.shards", &shards)]).unwrap();
    let mut connection = database.new_connection().unwrap();
    let mut statement = connection.new_statement().unwrap();
    statement.set_sql_query("SELECT 1").unwrap();
    let gone = error(statement.execute());
    assert_eq!(gone.status, Status::IO, "{gone}");
    assert_eq!(detail(&gone, "shard"), Some("s1"), "{gone}");
}

#[test]
fn user_name_and_password_are_those_of_shards_that_name_none() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_password("right canary")
        .start()
        .unwrap();
    let shards = format!("postgresql://127.0.0.1:{}/postgres", server.port());
    let ask = |password: &str| {
        let database = open(&[
            ("merganser.shards", &shards),
            ("username", "postgres"),
            ("password", password),
            ("merganser.mode", "fan_out"),
        ])?;
        let mut statement = database.new_connection()?.new_statement()?;
        statement.set_sql_query("SELECT current_user::text")?;
        Ok(texts(statement.execute()?))
    };
    assert_eq!(
        ask("right canary").unwrap()[0][0].as_deref(),
        Some("postgres")
    );
    let refused: Error = error(ask("wrong canary"));
    assert_eq!(refused.status, Status::Unauthenticated, "{refused}");
    assert!(!refused.message.contains("canary"), "{refused}");
}
