//! Views: the rights and policies of their owners.

use super::{Databases, error_of, roles};
use crate::support;

/// Views of one owner over tables of another, with and without policies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_read_with_the_rights_of_their_owner_or_refused() {
    let sql = roles("around_user around_owner around_poor")
        + "create table t as select i as id, i % 3 as team, case i % 2 when 0 then 'around_user' else 'x' end as owner
               from generate_series(1, 60) i;
           create table secret as table t;
           create table filtered as table t;
           alter table filtered enable row level security;
           create policy p on filtered using (owner = current_user);
           create policy q on filtered to around_owner using (team = 1);
           create view plain as select id, team from t;
           create view of_secret as select id, team from secret;
           create view of_filtered as select id, team from filtered;
           create view of_poor as select id, team from t;
           create view not_granted as select id from t;
           create view partly as select id, team from t;
           create view outer_plain as select id from plain where team = 1;
           create view outer_secret as select id from of_secret where team = 1;
           create view outer_hidden as select id from not_granted;
           create view outer_poor as select id from not_granted;
           create view barrier with (security_barrier) as select id from t where team = 1;
           create view barred with (security_barrier) as select id from filtered where team = 1;
           alter view plain owner to around_owner;
           alter view of_secret owner to around_owner;
           alter view of_filtered owner to around_owner;
           alter view of_poor owner to around_poor;
           alter view outer_poor owner to around_poor;
           grant select on t, filtered to around_user;
           grant select on t, secret, filtered to around_owner;
           grant select on plain, of_secret, of_filtered, of_poor, outer_plain, outer_secret,
               outer_hidden, outer_poor, barrier, barred to around_user;
           grant select (id) on partly to around_user;";
    let sharded = &[("t", "id"), ("secret", "id"), ("filtered", "id")];
    let Some(databases) = Databases::new(&sql, sharded, &[]) else {
        return;
    };
    databases
        .check(
            "around_user",
            &[
                ("select count(*), sum(team) from plain", ""),
                ("select count(*) from outer_plain", ""),
                ("select count(*) from barrier", ""),
                ("select count(*) from filtered", ""),
                // Through the owner's rights only.
                ("select count(*) from of_secret", "owner around_owner"),
                ("select count(*) from outer_secret", "owner around_owner"),
                ("select count(*) from secret", ""),
                // By the owner's policies.
                (
                    "select count(*) from of_filtered",
                    "policies for its owner around_owner",
                ),
                ("select count(*) from barred", "policies for its owner"),
                // The caller may read the table, but not the view, or the view's owner may not.
                ("select count(*) from not_granted", ""),
                (
                    "select count(*) from t where exists (select from not_granted)",
                    "",
                ),
                (
                    "with c as (select * from not_granted) select count(*) from c",
                    "",
                ),
                ("select count(*) from of_poor", ""),
                ("select count(*) from outer_poor", ""),
                ("select count(*) from outer_hidden", ""),
            ],
        )
        .await;
    databases
        .check(
            "postgres",
            &[
                ("select count(*), sum(team) from plain", ""),
                ("select count(*) from of_secret", ""),
                ("select count(*) from of_filtered", "policies for its owner"),
                ("select count(*) from barred", ""),
                ("select count(*) from of_poor", ""),
                ("select count(*) from outer_hidden", ""),
                ("select count(*) from filtered", ""),
            ],
        )
        .await;
    // Rights on single columns of a view are not looked at: an error, and never rows.
    let error = error_of(databases.topology("around_user"), "select team from partly").await;
    assert_eq!(error.sql_state(), Some("42501"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoking_views_are_read_as_the_caller() {
    let Some(server) = support::server() else {
        return;
    };
    if server.binaries().major_version() < 15 {
        return;
    }
    let sql = roles("around_user around_owner")
        + "create table filtered as select i as id, case i % 2 when 0 then 'around_user' else 'x' end as owner
               from generate_series(1, 60) i;
           alter table filtered enable row level security;
           create policy p on filtered using (owner = current_user);
           create view invoked with (security_invoker) as select id from filtered;
           create view outer_invoked as select id from invoked;
           alter view outer_invoked owner to around_owner;
           grant select on filtered, invoked, outer_invoked to around_user, around_owner;";
    let Some(databases) = Databases::new(&sql, &[("filtered", "id")], &[]) else {
        return;
    };
    let statements = [
        ("select count(*) from invoked", ""),
        ("select count(*) from outer_invoked", ""),
    ];
    databases.check("around_user", &statements).await;
    databases.check("postgres", &statements).await;
}
