//! Rows that are handed over in temporary tables.

use super::*;
use crate::config::FinishRelations;
use crate::plan::Surroundings;

/// Where each step that others read makes a table.
fn surroundings(cluster: &Cluster) -> Surroundings {
    Surroundings::new(cluster.topology()).with_relations(FinishRelations::Temporary, u64::MAX)
}

#[tokio::test]
async fn steps_that_finish_hand_tables_to_each_other_and_may_write_nothing_else() {
    let sql = format!(
        "{NUMBERS}; CREATE TABLE log (k int);
         CREATE FUNCTION written(k int) RETURNS int LANGUAGE sql AS
         'INSERT INTO log VALUES (k) RETURNING k'"
    );
    let Some(databases) = databases(3, &sql) else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let steps = |expression: &str| {
        let first = step("m1", "SELECT k FROM t", all(), union(), &["k"]);
        let body = format!("SELECT {expression} AS k FROM m1");
        let mut second = step("m2", &body, Place::Finish, union(), &["k"]);
        second.uses = vec![0];
        let body = "SELECT sum(m2.k) AS n FROM m2 JOIN m1 USING (k)";
        let mut last = step("m3", body, Place::Finish, union(), &[]);
        last.uses = vec![0, 1];
        vec![first, second, last]
    };
    let user = "SELECT sum(k) AS n FROM t";
    for _ in 0..3 {
        let around = surroundings(&cluster);
        let rows = start_in(&query, user, steps("k + 1"), around)
            .await
            .unwrap();
        assert_eq!(csv(rows).await.unwrap(), "n\n435\n");
        let around = surroundings(&cluster);
        let started = start_in(&query, user, steps("written(k)"), around).await;
        let error = started.map(|_| ()).unwrap_err();
        assert_eq!(error.sql_state(), Some("25006"), "{error:?}");
        assert_idle(&cluster, &databases).await;
    }
}
