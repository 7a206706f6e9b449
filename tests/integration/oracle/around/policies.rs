//! Row-security policies: what shards hold back is what one database would, or the query is refused.

use merganser::Topology;
use merganser::config::{SessionSettings, Shard, TableKind};

use super::super::compare::is_refusal;
use super::{Databases, as_role, error_of, roles};

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
        "number of an object",
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_applied_as_by_one_database_or_refused() {
    let others = [("nobody", ""), ("owned", "members"), ("forced", "members")];
    let named = POLICIES.iter().map(|(name, _, refusal)| (*name, *refusal));
    let all: Vec<(&str, &str)> = named.chain(others).collect();
    let tables: Vec<String> = all.iter().map(|(name, _)| format!("p_{name}")).collect();
    let mut sharded = vec![("members", "user_name")];
    sharded.extend(tables.iter().map(|table| (table.as_str(), "id")));
    let replicated = &["teams", "guarded", "plain", "r_own", "r_members"];
    let Some(mut databases) = Databases::new(&policies_sql(), &sharded, replicated) else {
        return;
    };
    databases.session = SessionSettings::default().with_setting("app.team", "2");
    let mut statements = Vec::new();
    for (name, refusal) in all {
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
