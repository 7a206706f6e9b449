//! Which joins PostgreSQL may take for the rows of steps.

use super::*;
use crate::config::SessionSettings;

/// What a step finds that reads this many rows of the first one, as `nestloop,jit`; and what one behind
/// it finds in the same session.
async fn found(query: &Query, rows: usize, reads: &str) -> String {
    let settings = "SELECT max(setting) FILTER (WHERE name = 'enable_nestloop') AS n, \
                    max(setting) FILTER (WHERE name = 'jit') AS j FROM pg_settings";
    let first = format!("SELECT k FROM generate_series(1, {rows}) AS k");
    let first = step("m1", &first, Place::AnyShard, union(), &["k"]);
    let body = format!("{settings} WHERE (SELECT {reads} FROM m1) IS NOT NULL");
    let mut second = step("m2", &body, Place::Finish, union(), &["n", "j"]);
    second.uses = vec![0];
    let body = format!("SELECT m2.n, m2.j, now.n AS n2, now.j AS j2 FROM m2, ({settings}) AS now");
    let mut last = step("m3", &body, Place::Finish, union(), &[]);
    last.uses = vec![1];
    let user = "SELECT ''::text AS n, ''::text AS j, ''::text AS n2, ''::text AS j2";
    answer(query, user, vec![first, second, last])
        .await
        .unwrap()
}

#[tokio::test]
async fn many_rows_are_not_joined_in_nested_loops() {
    let Some(databases) = databases(1, "") else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let on = "n,j,n2,j2\non,on,on,on\n";
    assert_eq!(found(&query, 100, "count(*)").await, on);
    let off_then_on = "n,j,n2,j2\noff,off,on,on\n";
    assert_eq!(found(&query, 101, "count(*)").await, off_then_on);

    // What asks for settings finds those of the server, and what the user sets stays.
    let reads = "count(*) || Current_Setting('enable_nestloop')";
    assert_eq!(found(&query, 101, reads).await, on);
    let session = SessionSettings::default().with_setting("enable_nestloop", "on");
    let query = cluster.query("").with_session(session);
    assert_eq!(
        found(&query, 101, "count(*)").await,
        "n,j,n2,j2\non,off,on,on\n"
    );
    assert_idle(&cluster, &databases).await;
}
