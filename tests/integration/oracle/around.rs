//! What the database does around a query: policies, rights, settings; which database it is; and what
//! the topology says of it.

use merganser::config::{SessionSettings, Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, Topology};

use super::compare::{Answer, is_refusal};
use crate::support;

const SHARDS: usize = 3;

/// One database with all rows, and shards with their own.
struct Databases {
    oracle: String,
    shards: Vec<String>,
    sharded: &'static [(&'static str, &'static str)],
    replicated: &'static [&'static str],
    session: SessionSettings,
}

impl Databases {
    /// Runs SQL in all databases, where `{shard}` is 0 in the one with all rows and on the first
    /// shard, and leaves each shard its rows.
    fn new(
        sql: &str,
        sharded: &'static [(&'static str, &'static str)],
        replicated: &'static [&'static str],
    ) -> Option<Self> {
        let oracle = support::database()?;
        let shards = support::shards(SHARDS)?;
        support::execute(&oracle, &sql.replace("{shard}", "0"));
        for (number, url) in shards.iter().enumerate() {
            support::execute(url, &sql.replace("{shard}", &number.to_string()));
            for (table, key) in sharded {
                let keep = format!(
                    "delete from {table} where (hashtext({key}::text) & 65535) % {SHARDS} <> {number}"
                );
                support::execute(url, &keep);
            }
        }
        Some(Self {
            oracle,
            shards,
            sharded,
            replicated,
            session: SessionSettings::default(),
        })
    }

    fn topology(&self, role: &str) -> Topology {
        let mut builder = Topology::builder().with_session(self.session.clone());
        for (number, url) in self.shards.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), &as_role(url, role)));
        }
        for (table, key) in self.sharded {
            builder = builder.with_table(table, TableKind::sharded(*key));
        }
        for table in self.replicated {
            builder = builder.with_table(table, TableKind::Replicated);
        }
        builder.build().unwrap()
    }

    /// Whether a role gets what it gets from the one database: rows, or PostgreSQL's error. A refusal
    /// has to say `refusal`, and is the only outcome if that is given.
    async fn check(&self, role: &str, statements: &[(&str, &str)]) {
        let oracle = Topology::builder()
            .with_session(self.session.clone())
            .with_shard(Shard::new("oracle", &as_role(&self.oracle, role)));
        let oracle = Cluster::new(oracle.build().unwrap()).unwrap();
        let cluster = Cluster::new(self.topology(role)).unwrap();
        let mut wrong = Vec::new();
        for (sql, refusal) in statements {
            let found = rows(&cluster, sql, true).await;
            let verdict = match (refusal.is_empty(), found) {
                (false, Err(error)) if is_refusal(&error, refusal) => continue,
                (false, found) => format!("not refused by {refusal:?}: {found:?}"),
                (true, found) => match (rows(&oracle, sql, false).await, found) {
                    (Ok(expected), Ok(found)) if expected == found => continue,
                    (Err(expected), Err(found))
                        if expected.sql_state().is_some()
                            && expected.sql_state() == found.sql_state() =>
                    {
                        continue;
                    }
                    (expected, found) => format!("expected {expected:?}, found {found:?}"),
                },
            };
            wrong.push(format!("{role}: {sql}: {verdict}"));
        }
        oracle.close().await;
        cluster.close().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn as_role(url: &str, role: &str) -> String {
    url.replace("//postgres@", &format!("//{role}@"))
}

type Rows = Vec<Vec<Option<String>>>;

async fn rows(cluster: &Cluster, sql: &str, planned: bool) -> Result<Rows, Error> {
    let answer = match planned {
        true => Answer::of(cluster.query(sql)).await,
        false => Answer::of(cluster.fan_out(sql)).await,
    };
    let mut rows = answer?.rows;
    rows.sort();
    Ok(rows)
}

/// The error of a planned query.
async fn error_of(topology: Topology, sql: &str) -> Error {
    let cluster = Cluster::new(topology).unwrap();
    let answer = rows(&cluster, sql, true).await;
    cluster.close().await;
    answer.expect_err(sql)
}

/// Roles are of the server: they may be there already.
fn roles(names: &str) -> String {
    let mut sql = String::new();
    for name in names.split(' ') {
        sql += &format!(
            "do $$ begin create role {name} login; \
             exception when duplicate_object or unique_violation then null; end $$;"
        );
    }
    sql
}

/// Every policy is on a table of its own with the same rows.
const POLICIES: &[(&str, &str, &str)] = &[
    ("own", "using (owner = current_user)", ""),
    (
        "tenant",
        "using (team = current_setting('app.team')::int)",
        "",
    ),
    (
        "tenant_once",
        "using (team = (select current_setting('app.team'))::int)",
        "",
    ),
    (
        "unset",
        "using (team = coalesce(current_setting('app.nothing', true), '1')::int)",
        "",
    ),
    (
        "plain",
        "using (team in (1, 2) and length(body) > 1 and body like 'n%')",
        "",
    ),
    (
        "shown",
        "using (to_char(made, 'YYYY') = '2024' and date_trunc('day', made) < '2024-02-01')",
        "",
    ),
    (
        "copies",
        "using (exists (select from teams t where t.team = r_table.team and t.open))",
        "",
    ),
    (
        "copies_in",
        "using (team in (select t.team from teams t where t.lead = current_user))",
        "",
    ),
    (
        "members_too",
        "using (exists (select from members m where m.team = r_table.team))",
        "members",
    ),
    (
        "counted",
        "using (team < (select count(*) from members))",
        "members",
    ),
    (
        "itself_not",
        "using (exists (select from teams t join members m using (team) where t.open))",
        "members",
    ),
    (
        "through_view",
        "using (team in (select team from open_teams))",
        "open_teams",
    ),
    (
        "chained",
        "using (team in (select team from guarded))",
        "members",
    ),
    ("clock", "using (made < now())", "clock"),
    ("today", "using (made < current_date + 1)", "clock"),
    ("chance", "using (random() >= 0)", "random"),
    ("user_function", "using (may_see(team))", "may_see"),
    ("user_operator", "using (team ~~~ 1)", "operator"),
    ("place", "using (ctid is not null)", "ctid"),
    (
        "table_number",
        "using (tableoid = 'teams'::regclass or true)",
        "tableoid",
    ),
    (
        "some_row",
        "using (team = (select t.team from teams t limit 1))",
        "order of rows",
    ),
    (
        "rights",
        "using (has_table_privilege('teams', 'SELECT'))",
        "has_table_privilege",
    ),
    (
        "of_others",
        "to around_other using (exists (select from members))",
        "",
    ),
    (
        "of_group",
        "to around_group using (exists (select from members))",
        "members",
    ),
    (
        "of_writers",
        "for update using (exists (select from members))",
        "",
    ),
    (
        "of_readers",
        "for select using (exists (select from members))",
        "members",
    ),
    (
        "restrictive",
        "as restrictive using (exists (select from members))",
        "members",
    ),
    (
        "false_setting",
        "using (team = current_setting('application_name')::int)",
        "",
    ),
];

fn policies_sql() -> String {
    let mut sql = roles("around_user around_other around_group around_owner");
    sql += "grant around_group to around_user;
        create table members (user_name text, team int);
        create table teams (team int, open boolean, lead text);
        create table guarded (team int);
        create table plain (id int);
        create view open_teams as select team from teams where open;
        insert into members select 'u' || i, i % 4 from generate_series(1, 9) i;
        insert into teams select i, i % 2 = 0, case i when 3 then 'around_user' end from generate_series(0, 4) i;
        insert into guarded values (1), (2);
        insert into plain values (1), (2);
        create function may_see(t int) returns boolean language sql stable as 'select exists (select from members m where m.team = t)';
        create function sees(a int, b int) returns boolean language sql stable as 'select a > b';
        create operator ~~~ (leftarg = int, rightarg = int, function = sees);
        alter table guarded enable row level security;
        create policy g on guarded using (exists (select from members));";
    for (name, policy, _) in POLICIES {
        let table = format!("p_{name}");
        sql += &format!(
            "create table {table} as select i as id, i % 5 as team, 'n' || i as body,
                case i % 2 when 0 then 'around_user' else 'x' end as owner,
                timestamptz '2024-01-01 00:00+00' + make_interval(days => i) as made
                from generate_series(1, 60) i;
             alter table {table} enable row level security;
             create policy p on {table} {};",
            policy.replace("r_table", &table)
        );
    }
    // Readable without it, but for the policy that holds back.
    sql += "create policy all_rows on p_restrictive using (true);
        create table p_nobody as table p_own; alter table p_nobody enable row level security;
        create table p_owned as table p_own; alter table p_owned owner to around_owner;
        alter table p_owned enable row level security;
        create policy p on p_owned using (exists (select from members));
        create table p_forced as table p_own; alter table p_forced owner to around_owner;
        alter table p_forced enable row level security, force row level security;
        create policy p on p_forced using (exists (select from members));
        create table r_own as table p_own; alter table r_own enable row level security;
        create policy p on r_own using (owner = current_user);
        create table r_members as table p_own; alter table r_members enable row level security;
        create policy p on r_members using (exists (select from members));
        grant select on all tables in schema public to around_user, around_owner;
        grant create on schema public to around_owner;";
    sql
}

const POLICY_TABLES: &[(&str, &str)] = &[
    ("members", "user_name"),
    ("p_own", "id"),
    ("p_tenant", "id"),
    ("p_tenant_once", "id"),
    ("p_unset", "id"),
    ("p_plain", "id"),
    ("p_shown", "id"),
    ("p_copies", "id"),
    ("p_copies_in", "id"),
    ("p_members_too", "id"),
    ("p_counted", "id"),
    ("p_itself_not", "id"),
    ("p_through_view", "id"),
    ("p_chained", "id"),
    ("p_clock", "id"),
    ("p_today", "id"),
    ("p_chance", "id"),
    ("p_user_function", "id"),
    ("p_user_operator", "id"),
    ("p_place", "id"),
    ("p_table_number", "id"),
    ("p_some_row", "id"),
    ("p_rights", "id"),
    ("p_of_others", "id"),
    ("p_of_group", "id"),
    ("p_of_writers", "id"),
    ("p_of_readers", "id"),
    ("p_restrictive", "id"),
    ("p_false_setting", "id"),
    ("p_nobody", "id"),
    ("p_owned", "id"),
    ("p_forced", "id"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_applied_as_by_one_database_or_refused() {
    let replicated = &["teams", "guarded", "plain", "r_own", "r_members"];
    let Some(mut databases) = Databases::new(&policies_sql(), POLICY_TABLES, replicated) else {
        return;
    };
    databases.session = SessionSettings::default().with_setting("app.team", "2");
    let mut statements = Vec::new();
    let others = [("nobody", ""), ("owned", "members"), ("forced", "members")];
    let all = POLICIES.iter().map(|(name, _, refusal)| (*name, *refusal));
    for (name, refusal) in all.chain(others) {
        for sql in [
            format!("select count(*) from p_{name}"),
            format!(
                "select x.id, count(n.id) from plain x left join p_{name} n on n.team > x.id group by x.id"
            ),
            format!("with c as (select team from p_{name}) select distinct team from c"),
            format!(
                "select id from plain where exists (select from p_{name} n where n.team = plain.id)"
            ),
        ] {
            statements.push((sql, refusal));
        }
    }
    for (sql, refusal) in [
        ("select count(*) from r_own", ""),
        ("select count(*) from p_plain join r_own using (id)", ""),
        ("select count(*) from r_members", "members"),
        (
            "select count(*) from p_plain join r_members using (id)",
            "members",
        ),
        ("select count(*) from members", ""),
    ] {
        statements.push((sql.to_owned(), refusal));
    }
    let checked: Vec<(&str, &str)> = statements
        .iter()
        .map(|(sql, refusal)| (sql.as_str(), *refusal))
        .collect();
    databases.check("around_user", &checked).await;
    // Whom policies do not concern.
    let free: Vec<(&str, &str)> = checked.iter().map(|(sql, _)| (*sql, "")).collect();
    databases.check("postgres", &free).await;
    databases
        .check(
            "around_owner",
            &[
                ("select count(*), sum(id) from p_owned", ""),
                ("select count(*) from p_forced", "members"),
            ],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_differ_are_refused() {
    let sql = roles("around_user")
        + "create table a as select i as id from generate_series(1, 30) i;
           create table b as table a;
           create table c as table a;
           do $$ begin
               if {shard} = 1 then alter table a enable row level security; end if;
           end $$;
           create policy p on a using (id > 3);
           alter table b enable row level security;
           create policy p on b using (id > {shard});
           create policy p on c using (id > {shard});
           grant select on a, b, c to around_user;";
    let sharded = &[("a", "id"), ("b", "id"), ("c", "id")];
    let Some(databases) = Databases::new(&sql, sharded, &[]) else {
        return;
    };
    databases
        .check(
            "around_user",
            &[
                (
                    "select count(*) from a",
                    "row security of public.a differs: all rows on s0 and s2",
                ),
                ("select count(*) from b", "policy p: (id > 1) on s1"),
                ("select count(*) from c", ""),
            ],
        )
        .await;
    let sums = [
        ("select count(*) from a", ""),
        ("select sum(id) from b", ""),
    ];
    databases.check("postgres", &sums).await;
    // Other rows for other roles.
    let mut topology = Topology::builder();
    for (number, url) in databases.shards.iter().enumerate() {
        let role = ["around_user", "around_user", "postgres"][number];
        topology = topology.with_shard(Shard::new(&format!("s{number}"), &as_role(url, role)));
    }
    let topology = topology
        .with_table("b", TableKind::sharded("id"))
        .with_table("c", TableKind::sharded("id"))
        .build()
        .unwrap();
    let error = error_of(topology.clone(), "select count(*) from b").await;
    assert!(is_refusal(&error, "public.b"), "{error}");
    let error = error_of(topology, "select current_user, id from c").await;
    assert!(
        is_refusal(&error, "around_user on s0 and s1; postgres on s2"),
        "{error}"
    );
}

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

const T: &str =
    "create table t as select i as id, 'running dogs' as body from generate_series(1, 20) i;";

/// A setting of one database, and whether a query of that table is refused, and by what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_can_change_answers_are_compared() {
    let one = "do $$ begin if {shard} = 1 then \
               execute format('alter database %I set {setting}', current_database()); \
               end if; end $$;";
    let text = "select count(*) from t where to_tsvector(body) @@ to_tsquery('run')";
    let count = "select count(*) from t";
    for (setting, sql, refusal) in [
        (
            "default_text_search_config = german",
            text,
            "default_text_search_config",
        ),
        ("lc_time = \"C\"", count, ""),
        ("row_security = off", count, ""),
        (
            "standard_conforming_strings = off",
            "select 'a\\b' as x, count(*) from t",
            "",
        ),
        (
            "datestyle = \"German, DMY\"",
            "select date '2024-03-01'::text as d, count(*) from t",
            "",
        ),
        ("default_transaction_isolation = serializable", count, ""),
        ("enable_hashagg = off", count, ""),
        ("idle_in_transaction_session_timeout = 1", count, ""),
        ("app.tenant = 7", count, ""),
        (
            "app.tenant = 7",
            "select count(*) from t where id > current_setting('app.tenant', true)::int",
            "app.tenant",
        ),
        (
            "app.tenant = 7",
            "select current_setting('app.tenant', true) as x, id from t",
            "app.tenant",
        ),
        (
            "plpgsql.variable_conflict = use_column",
            count,
            "plpgsql.variable_conflict",
        ),
        ("work_mem = \"2MB\"", count, ""),
        (
            "work_mem = \"2MB\"",
            "select current_setting('work_mem') as x, id from t",
            "work_mem",
        ),
        (
            "work_mem = \"2MB\"",
            "select x, id from t, current_setting('work_mem') x",
            "work_mem",
        ),
        (
            "work_mem = \"2MB\"",
            "select current_setting('lock_timeout') as x, id from t",
            "",
        ),
        (
            "work_mem = \"2MB\"",
            "select current_setting('work' || '_mem') as x, id from t",
            "literal",
        ),
    ] {
        let setup = T.to_owned() + &one.replace("{setting}", setting);
        let Some(databases) = Databases::new(&setup, &[("t", "id")], &[]) else {
            return;
        };
        databases.check("postgres", &[(sql, refusal)]).await;
    }
    // What the topology sets is the same on all shards.
    let setup = T.to_owned() + &one.replace("{setting}", "default_text_search_config = german");
    let Some(mut databases) = Databases::new(&setup, &[("t", "id")], &[]) else {
        return;
    };
    databases.session = SessionSettings::default()
        .with_setting("default_text_search_config", "english")
        .with_setting("app.tenant", "7");
    let own = "select count(*) from t where id > current_setting('app.tenant')::int";
    databases.check("postgres", &[(text, ""), (own, "")]).await;
    // Options of a connection string are a setting of the shard.
    let mut topology = Topology::builder();
    for (number, url) in databases.shards.iter().enumerate() {
        let url = format!("{url}?options=-c%20app.size%3D{number}");
        topology = topology.with_shard(Shard::new(&format!("s{number}"), &url));
    }
    let topology = topology.with_session(databases.session.clone());
    let topology = topology.with_table("t", TableKind::sharded("id")).build();
    let sql = "select count(*) from t where id > current_setting('app.size')::int";
    let error = error_of(topology.unwrap(), sql).await;
    assert!(is_refusal(&error, "app.size"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_database_is_not_two_shards() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for url in &urls {
        support::execute(
            url,
            "create table t as select i as id from generate_series(1, 9) i",
        );
    }
    let topology = |urls: &[String]| {
        let mut builder = Topology::builder();
        for (number, url) in urls.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        builder
            .with_table("t", TableKind::sharded("id"))
            .build()
            .unwrap()
    };
    let twice = topology(&[urls[0].clone(), urls[1].clone(), urls[1].clone()]);
    let error = Cluster::new(twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "the shards s1 and s2 have the same URL");
    assert!(error.hint().is_some());

    // By another name of the host, or with another search path.
    let socket = support::server()
        .unwrap()
        .socket_url(urls[1].rsplit('/').next().unwrap());
    let path = format!("{}?options=-c%20search_path%3Dpg_catalog", urls[1]);
    for other in [socket, path] {
        let shards = [urls[0].clone(), urls[1].clone(), other];
        for sql in [
            "select count(*) from t",
            "select count(distinct id) from t",
            "select 1",
        ] {
            let error = error_of(topology(&shards), sql).await;
            let expected = "the shards s1 and s2 are one database";
            assert!(is_refusal(&error, expected), "{sql}: {error}");
        }
        // A fan-out says what it does: every shard's own rows.
        let cluster = Cluster::new(topology(&shards)).unwrap();
        let found = rows(&cluster, "select count(*) from public.t", false).await;
        assert_eq!(found.unwrap().len(), 3);
        cluster.close().await;
    }
}

/// A shard that has given its rows waits for the others in its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_waits_for_others_is_not_ended() {
    let sql = T.to_owned()
        + "create function slow(i int, body text) returns int language plpgsql immutable as $$
               begin if body = 'slow' then perform pg_sleep(0.2); end if; return i % 5; end $$;
           do $$ begin
               execute format('alter database %I set idle_in_transaction_session_timeout = 100', current_database());
               if current_setting('server_version_num')::int >= 170000 then
                   execute format('alter database %I set transaction_timeout = 500', current_database());
               end if;
           end $$;";
    let Some(databases) = Databases::new(&sql, &[("t", "id")], &[]) else {
        return;
    };
    support::execute(&databases.shards[1], "update t set body = 'slow'");
    let cluster = Cluster::new(databases.topology("postgres")).unwrap();
    for sql in [
        "select slow(id, body), count(*), avg(length(body)) from t group by 1 order by 1",
        "select id, slow(id, body), count(*) over () from t",
        "select id from t where slow(id, body) >= 0 order by id",
    ] {
        rows(&cluster, sql, true)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    cluster.close().await;
}

/// The counters of changes come a little later than the changes.
fn wait_for_counter(url: &str, table: &str, rows: usize) {
    let server = support::server().expect("a server");
    let database = url.rsplit('/').next().expect("a name");
    let sql = format!("select pg_stat_get_live_tuples('{table}'::regclass)");
    for _ in 0..200 {
        let found = server.query(database, &sql).expect("a counter");
        if found[0][0].as_deref() == Some(&*rows.to_string()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{table} of {database}: the counter does not come to {rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topology_that_cannot_be_is_refused() {
    let sql = "create table t (id int primary key, code text, at timestamptz);
        create table wide (id bigint);
        create table texts (id text);
        create table item (id int, t_id int not null references t);
        create table loose (id int, t_id int references t);
        create table big (id int);
        create table empty_item (t_id int not null references t);
        create table parted (id int, v int) partition by range (id);
        create table part partition of parted for values from (0) to (1000);
        insert into t select i, 'c' || i, now() from generate_series(1, 60) i;
        insert into item select i, i from generate_series(1, 60) i;
        insert into loose select i, null from generate_series(1, 60) i;
        insert into big select i from generate_series(1, 2000 + 3000 * {shard}) i;
        insert into parted select i, i from generate_series(1, 20) i;";
    let Some(urls) = support::shards(2) else {
        return;
    };
    for (number, url) in urls.iter().enumerate() {
        support::execute(url, &sql.replace("{shard}", &number.to_string()));
        wait_for_counter(url, "big", 2000 + 3000 * number);
        support::execute(url, "analyze");
    }
    let group = |key: &str| TableKind::Sharded {
        key: key.to_owned(),
        colocation: Some("g".to_owned()),
        shard_index: None,
    };
    let cases: Vec<(Vec<(&str, TableKind)>, &str, &str)> = vec![
        (
            vec![("t", TableKind::sharded("nope"))],
            "t",
            "sharded by nope, which is none of its columns",
        ),
        (vec![("t", TableKind::sharded("code"))], "t", ""),
        (vec![("t", group("id")), ("wide", group("id"))], "t", ""),
        (
            vec![("t", group("id")), ("texts", group("id"))],
            "t",
            "types integer and text",
        ),
        (
            vec![("t", group("id")), ("texts", group("id"))],
            "texts",
            "types text and integer",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("item", TableKind::Replicated),
            ],
            "item",
            "refers to one of public.t",
        ),
        (
            vec![
                ("t", TableKind::Replicated),
                ("item", TableKind::Replicated),
            ],
            "item",
            "",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("loose", TableKind::Replicated),
            ],
            "loose",
            "",
        ),
        (
            vec![
                ("t", TableKind::sharded("id")),
                ("empty_item", TableKind::Replicated),
            ],
            "empty_item",
            "",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::Replicated),
            ],
            "part",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::Replicated),
            ],
            "parted",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::sharded("v")),
            ],
            "parted",
            "partition",
        ),
        (
            vec![
                ("parted", TableKind::sharded("id")),
                ("part", TableKind::sharded("id")),
            ],
            "parted",
            "",
        ),
        (vec![("big", TableKind::sharded("id"))], "big", ""),
        (
            vec![("big", TableKind::Replicated)],
            "big",
            "about 2000 rows on s0; about 5000 rows on s1",
        ),
    ];
    let mut wrong = Vec::new();
    for (tables, table, refusal) in cases {
        let mut builder = Topology::builder();
        for (number, url) in urls.iter().enumerate() {
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        for (name, kind) in &tables {
            builder = builder.with_table(name, kind.clone());
        }
        let cluster = Cluster::new(builder.build().unwrap()).unwrap();
        let found = rows(&cluster, &format!("select count(*) from {table}"), true).await;
        let is_right = match &found {
            Ok(_) => refusal.is_empty(),
            Err(error) => !refusal.is_empty() && is_refusal(error, refusal),
        };
        if !is_right {
            wrong.push(format!("{tables:?}: {table}: {found:?}"));
        }
        cluster.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
