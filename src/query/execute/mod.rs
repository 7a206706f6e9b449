//! Running a plan: its steps, one after the other, in one session for each server.
//!
//! ```text
//! step 1: describe, run on its shards, merge --> relation m1 --.
//! step 2: describe, run on its shards, merge --> relation m2 --+--> SQL of later steps, or tables of
//! last:   describe, run, merge --> the answer, streamed            the session that runs them
//! ```
//! Each server that any step needs has one transaction, and with it one snapshot, for all of them.

mod joins;
mod ranges;
mod relations;
mod route;
mod start;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use arrow::datatypes::Schema;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use tokio::sync::oneshot;

pub(super) use self::ranges::ranged;
use self::route::{Route, Server};
pub(super) use self::start::{start, start_apart, start_behind};
use super::answer::{aggregated, fitted};
use super::deadline::Deadline;
use super::fence::Fence;
use super::finish::alike;
use super::planning::{Held, PlanOptions, Request, about_made_sql};
use super::settle;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::connect::{Permit, Pools, Session};
use crate::error::{Error, Phase, Result, SqlOrigin};
use crate::export::Part;
use crate::merge::{self, Comparison, Order, ReaggregateOptions, Rest};
use crate::plan::{self, Exactness, Merge, Place, Plan, Sql, Step};
use crate::progress::{Counters, ShardState, StepCounters};
use crate::relation::{Budget, Relation};
use crate::scan::{
    self, BatchOptions, Command, DEFAULT_RETRIES, Description, Prelude, Reading, Retry,
};
use crate::statement::{Ranged, Statement};
use crate::stream::QueryStream;
use crate::types::{Column, Unrepresentable};

/// Whether the rows of the last step's shards become one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    One,
    /// One for each shard, where each shard's rows are final and all of them are wanted.
    Apart,
}

/// Runs all steps but the last, and starts that one; its rows are the answer. The first step does not run
/// where its rows are `given`.
pub(super) async fn run(
    query: &Request,
    planning: PlanOptions,
    plan: &Plan,
    held: Held,
    deadline: &Deadline,
    streams: Streams,
    mut given: Option<QueryStream>,
) -> Result<Vec<Part>> {
    let Some((last, steps)) = plan.steps.split_last() else {
        return Err(fault("the plan has no step"));
    };
    let mut route = Route::new(plan, query.cluster.topology(), held.shard)?;
    if let Some(missing) = &query.options.missing {
        let pools = query.cluster.pools();
        let concerned = match &last.place {
            Place::Shards(shards) => shards.iter().map(|shard| &**pools.name(*shard)).collect(),
            Place::AnyShard | Place::Finish => Vec::new(),
        };
        missing.concern(&concerned)?;
        route.go_without(|server| match server {
            Server::Shard(shard) => missing.has(pools.name(shard)),
            Server::Finish => false,
        });
    }
    // A shard that is lost is lost as a whole, so one connection tells.
    let ranged = match query.options.readers.most {
        most if most > 1 && query.options.missing.is_none() => ranged(query, plan).await?,
        _ => Vec::new(),
    };
    let finish = held.finish.clone();
    let has_tables = (0..steps.len()).any(|step| plan.is_temporary(step));
    let tables = route.finish(plan).filter(|_| has_tables);
    let mut sites = open(query, &route, tables, held).await?;
    let fence = Fence::new(&query.options, query.cluster.topology())?;
    if let Some(fence) = &fence {
        behind(fence, query, tables, &mut sites).await?;
    }
    route.go_without(|server| !sites.contains_key(&server));
    let mut execution = Execution {
        query,
        ranged,
        finish,
        deadline,
        decimals: plan.decimals,
        sites,
        route,
        tables,
        relations: Vec::new(),
        // A snapshot of later would be behind the fence.
        retries: if fence.is_some() {
            0
        } else {
            query.options.retries.unwrap_or(DEFAULT_RETRIES)
        },
        steps: query.options.progress.begin_steps(plan.steps.len()),
        budget: Budget::of_text(planning.finish_rows, planning.text_bytes()),
        tables_budget: Budget::of_tables(planning.table_bytes()),
        groups: query.options.order.unwrap_or(match plan.exactness {
            Exactness::Exact => Order::FirstCome,
            // The same sums each time.
            Exactness::ExactUpToFloatOrder => Order::Shard,
        }),
    };
    for (index, step) in steps.iter().enumerate() {
        let counters = execution.counters(index);
        counters.begin();
        let relation = match plan.is_temporary(index) {
            true => Relation::Temporary(execution.table(index, step).await?),
            false => Relation::Text(execution.text(index, step, given.take()).await?),
        };
        counters.end();
        execution.relations.push(Some(relation));
        execution.release(plan, index).await;
    }
    let counters = execution.counters(steps.len());
    counters.begin();
    let mut parts = execution.answer(last, &plan.columns, streams).await?;
    if let [only] = parts.as_mut_slice() {
        let empty = QueryStream::new(only.rows.schema(), stream::empty());
        only.rows = counted(std::mem::replace(&mut only.rows, empty), counters);
    }
    Ok(parts)
}

/// The answer, counted as it is taken.
fn counted(mut rows: QueryStream, counters: Arc<StepCounters>) -> QueryStream {
    let schema = rows.schema();
    let batches = stream::poll_fn(move |context| {
        let next = rows.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => counters.add(batch.num_rows() as u64, 0),
            Poll::Ready(_) => counters.end(),
            Poll::Pending => {}
        }
        next
    });
    QueryStream::new(schema, batches)
}

/// A server that takes part, and its session while no step has it.
struct Site {
    name: String,
    session: Option<Session>,
    counters: Arc<Counters>,
    /// How the step that was described may run again.
    retry: Option<Retry>,
    /// What runs in the same message as its part of the next step.
    before: Vec<Prelude>,
    /// Rows of its snapshot were taken.
    is_used: bool,
}

impl Site {
    /// The session, which no step needs any more.
    fn take(&mut self) -> Option<Session> {
        let session = self.session.take()?;
        self.counters.set(ShardState::Done);
        Some(session)
    }
}

struct Execution<'a> {
    query: &'a Request,
    /// The shards and the server that finishes side by side.
    finish: Option<Arc<Catalog>>,
    /// Is told of a shard that fails, also while nobody looks at its rows.
    deadline: &'a Deadline,
    /// Whether a value that no decimal holds lets the query begin again without them.
    decimals: bool,
    route: Route,
    sites: BTreeMap<Server, Site>,
    /// The server whose session has temporary tables, if one has.
    tables: Option<Server>,
    /// What the steps before have given, as long as it is needed.
    relations: Vec<Option<Relation>>,
    budget: Budget,
    tables_budget: Budget,
    /// The order in which rows of shards are aggregated.
    groups: Order,
    /// What each step does, for whoever looks.
    steps: Vec<Arc<StepCounters>>,
    /// How often a shard's part of a step may run again.
    retries: u32,
    /// How each step is read in ranges, if it is.
    ranged: Vec<std::result::Result<Ranged, String>>,
}

/// The rows of each server of a step, with its name; and where each session comes back to.
type Scans = (Vec<(String, QueryStream)>, Returns);

/// Where sessions come back to, once their rows are complete.
type Returns = Vec<(Server, oneshot::Receiver<Session>)>;

/// What the servers of a step send.
struct Sent {
    /// The columns of its query, and behind them what is compared.
    columns: Vec<Column>,
    /// The COPY command that gives these.
    copy: Arc<str>,
    /// What stands before and behind the query in it.
    frame: (String, String),
    comparison: Option<Comparison>,
}

impl Execution<'_> {
    /// The counters of a step.
    fn counters(&self, step: usize) -> Arc<StepCounters> {
        self.steps.get(step).cloned().unwrap_or_default()
    }

    /// Starts the last step.
    async fn answer(
        mut self,
        step: &Step,
        columns: &[Column],
        streams: Streams,
    ) -> Result<Vec<Part>> {
        let index = self.relations.len();
        let user = self.query.options.types;
        if let Merge::Aggregate { .. } = step.merge {
            let reading = Reading::Aggregate(user);
            let (described, first) = self.describe(index, step, reading).await?;
            // A NULL in place of a value would be left out of a sum, and join another group.
            let unrepresentable = match user.unrepresentable {
                Unrepresentable::Null => Unrepresentable::Error,
                other => other,
            };
            let sent = self.sent(step, &first, described, &[])?;
            let servers = self.route.runs(index).to_vec();
            let options = self.query.options.batches(unrepresentable, servers.len());
            let scanned = self.scan(index, step, &servers, &sent, &options, false);
            let (shards, _) = scanned.await?;
            self.give_back_all().await;
            let rows = self.merge(step, shards, sent, Rest::Cancel).await?;
            return Ok(vec![Part::merged(aggregated(rows, columns)?)]);
        }
        let (described, first) = self.describe(index, step, Reading::Options(user)).await?;
        let visible = match step.merge {
            Merge::Ordered { visible, .. } => visible,
            _ => described.len(),
        };
        let fitted = fitted(columns, &described, visible)?;
        self.set_joins_along(index, &self.joins(step));
        let sent = self.sent(step, &first, fitted.columns, &fitted.casts)?;
        let servers = self.route.runs(index).to_vec();
        let options = self
            .query
            .options
            .batches(user.unrepresentable, servers.len());
        let scanned = self.scan(index, step, &servers, &sent, &options, false);
        let (shards, _) = scanned.await?;
        self.give_back_all().await;
        if streams == Streams::Apart
            && let Merge::Concatenate {
                skip: 0,
                fetch: None,
            } = step.merge
            && matches!(step.place, Place::Shards(_))
        {
            return self.apart(shards);
        }
        let rows = self.merge(step, shards, sent, Rest::Cancel).await?;
        Ok(vec![Part::merged(rows)])
    }

    /// Asks every server of the step for its columns, and compares; also the first one's own
    /// description. The rows of relations play no part in that, and are left out.
    async fn describe(
        &mut self,
        index: usize,
        step: &Step,
        reading: Reading,
    ) -> Result<(Vec<Column>, Description)> {
        let mut sql = String::new();
        self.write_query(step, false, &mut sql)?;
        // What the relations bring along has been named by nobody yet.
        if let (Place::Finish, Some(both)) = (&step.place, &self.finish) {
            plan::text_is_alike(&sql, both)?;
        }
        let statement = &Arc::new(Statement::parse(&sql)?);
        let pools = self.query.cluster.pools();
        let opening = &self.query.opening()?;
        let (tables, retries) = (self.tables, self.retries);
        let servers = self.route.describes(index);
        let origin = self.origin(step);
        let options = &self.query.options;
        let missing = options.missing.as_ref();
        let work = self
            .sites
            .iter_mut()
            .filter(|(server, _)| servers.contains(server))
            .map(|(server, site)| async move {
                // Another session would have neither its snapshot nor its tables, nor what is set for
                // joins with relations.
                let is_fresh = !site.is_used
                    && step.uses.is_empty()
                    && *server != Server::Finish
                    && tables != Some(*server);
                let most = if is_fresh { retries } else { 0 };
                let reading = (origin, reading);
                let counters = &site.counters;
                let mut retry = Retry::new((pools, opening), statement, reading, counters, most);
                let described = async {
                    let session = site.session.take();
                    let session = session.ok_or_else(|| fault("a step has no session"))?;
                    retry.describe(session).await
                };
                match described.await {
                    Ok((session, description)) => {
                        site.counters.set(ShardState::Ready);
                        site.session = Some(session);
                        site.retry = Some(retry);
                        Ok(Some((site.name.clone(), description)))
                    }
                    Err(error) => {
                        site.counters.set(ShardState::Failed);
                        let error = in_place(error, &step.place, origin);
                        options.go_without(error).map(|()| None)
                    }
                }
            });
        let named: Vec<_> = settle(work).await?.into_iter().flatten().collect();
        let lost = |server| {
            let site = self.sites.get(&server);
            site.is_some_and(|site| missing.is_some_and(|missing| missing.has(&site.name)))
        };
        self.route.go_without(lost);
        let columns = match &step.merge {
            Merge::Aggregate { columns, .. } => renamed(scan::agree(&named)?, columns)?,
            _ => scan::agree(&named)?,
        };
        match named.into_iter().next() {
            Some((_, first)) => Ok((columns, first)),
            None => Err(fault("a step has no server")),
        }
    }

    /// Whose SQL a step runs.
    fn origin(&self, step: &Step) -> SqlOrigin {
        let Sql { with, body, .. } = &step.sql;
        match with.is_empty() && step.uses.is_empty() && body == self.query.sql.trim() {
            true => SqlOrigin::User,
            false => SqlOrigin::Made,
        }
    }

    /// What the servers of a step have to send, whose query has these columns.
    fn sent(
        &self,
        step: &Step,
        description: &Description,
        mut columns: Vec<Column>,
        casts: &[Option<String>],
    ) -> Result<Sent> {
        let width = columns.len();
        let mut selected = scan::selections(&columns, casts);
        let mut comparison = None;
        if let Merge::Ordered { keys, .. } = &step.merge {
            let types = &description.raw_types;
            let compared = Comparison::try_new(types, &columns, keys, scan::reference)?;
            for (expression, column) in &compared.extra {
                selected.push(expression.clone());
                columns.push(column.clone());
            }
            comparison = Some(compared);
        }
        let frame = scan::copy_frame(width, &selected);
        let mut sql = frame.0.clone();
        self.write_query(step, true, &mut sql)?;
        sql.push_str(&frame.1);
        Ok(Sent {
            columns,
            copy: sql.into(),
            frame,
            comparison,
        })
    }

    /// The step's query with the relations that it uses in front of its own.
    fn write_query(&self, step: &Step, with_rows: bool, out: &mut String) -> Result<()> {
        let Sql {
            recursive,
            with,
            body,
        } = &step.sql;
        let mut separator = match recursive {
            true => "WITH RECURSIVE ",
            false => "WITH ",
        };
        for used in &step.uses {
            let relation = self.relations.get(*used).and_then(Option::as_ref);
            let relation = relation.ok_or_else(|| fault("a step uses rows that are not there"))?;
            out.push_str(separator);
            relation.write_sql(with_rows, out);
            separator = ",\n";
        }
        for expression in with {
            out.push_str(separator);
            out.push_str(expression);
            separator = ",\n";
        }
        if !(step.uses.is_empty() && with.is_empty()) {
            out.push('\n');
        }
        out.push_str(body);
        Ok(())
    }

    /// The rows of these servers of the step; no query of the user's runs before they are polled.
    async fn scan(
        &mut self,
        index: usize,
        step: &Step,
        servers: &[Server],
        sent: &Sent,
        options: &BatchOptions,
        needed_again: bool,
    ) -> Result<Scans> {
        let counters = self.counters(index);
        let origin = self.origin(step);
        let mut splits = self.split(index).await?;
        let mut shards = Vec::new();
        let mut returns = Vec::new();
        for server in servers {
            let site = self.sites.get_mut(server);
            let site = site.ok_or_else(|| fault("a step has no session"))?;
            site.is_used = true;
            let back = needed_again.then(|| {
                let (sender, receiver) = oneshot::channel();
                returns.push((*server, receiver));
                sender
            });
            let step_counters = counters.shard(&site.counters);
            if let Some(shared) = splits.remove(server) {
                let Some(Ok(ranged)) = self.ranged.get(index) else {
                    return Err(fault("a step is read in ranges without a text for them"));
                };
                let (before, after) = &sent.frame;
                let copy = |(from, to)| format!("{before}{}{after}", ranged.sql(from, to));
                let columns = &sent.columns;
                let rows = scan::range_rows(shared, copy, columns, options, &step_counters, back);
                let name = site.name.clone();
                shards.extend(rows.into_iter().map(|rows| {
                    let rows = self.told(rows, &step.place, origin);
                    (name.clone(), rows)
                }));
                continue;
            }
            let session = site.session.take();
            let session = session.ok_or_else(|| fault("a step has no session"))?;
            let rows = scan::rows(
                session,
                Command::behind(std::mem::take(&mut site.before), sent.copy.clone()),
                sent.columns.clone(),
                options,
                step_counters,
                back,
                site.retry.take(),
            );
            shards.push((site.name.clone(), self.told(rows, &step.place, origin)));
        }
        if shards.is_empty() {
            let schema = Arc::new(schema_of(&sent.columns));
            shards.push((String::new(), QueryStream::new(schema, stream::empty())));
        }
        Ok((shards, returns))
    }

    /// The rows of a server, with errors that say where they arose, and are told at once.
    fn told(&self, rows: QueryStream, place: &Place, origin: SqlOrigin) -> QueryStream {
        let (place, deadline) = (place.clone(), self.deadline.clone());
        let decimals = self.decimals;
        let schema = rows.schema();
        let rows = self.query.options.rows_of_shard(rows).map(move |batch| {
            batch
                .map_err(|error| in_place(error, &place, origin))
                .inspect_err(|error| {
                    if !(decimals && error.is_unrepresentable()) {
                        deadline.failed(error);
                    }
                })
        });
        QueryStream::new(schema, rows)
    }

    async fn merge(
        &self,
        step: &Step,
        shards: Vec<(String, QueryStream)>,
        sent: Sent,
        rest: Rest,
    ) -> Result<QueryStream> {
        let options = &self.query.options;
        match &step.merge {
            Merge::Concatenate { skip, fetch } => {
                let streams = shards.into_iter().map(|(_, rows)| rows).collect();
                // What other steps read is in the same order each time: sums of floating-point
                // numbers depend on it.
                let order = match rest {
                    Rest::Read => Order::Shard,
                    Rest::Cancel => options.order.unwrap_or_default(),
                };
                let rows = merge::union(streams, order, options.queue_bytes(order))?;
                Ok(merge::limit(rows, *skip, *fetch, rest))
            }
            Merge::Ordered {
                skip,
                fetch,
                visible,
                ..
            } => {
                let comparison = sent.comparison;
                let comparison = comparison.ok_or_else(|| fault("a merge has no keys"))?;
                // No more rows are merged than are wanted.
                let wanted = fetch
                    .and_then(|fetch| fetch.checked_add(*skip))
                    .and_then(|wanted| usize::try_from(wanted).ok())
                    .unwrap_or(usize::MAX);
                let batch_rows = options.batch_rows.min(wanted);
                let queue = options.queue_bytes(Order::FirstCome) / shards.len().max(1);
                let rows = merge::ordered(shards, comparison, *visible, queue, batch_rows)?;
                Ok(merge::limit(rows, *skip, *fetch, rest))
            }
            Merge::Aggregate { sql, .. } => {
                let streams = shards.into_iter().map(|(_, rows)| rows).collect();
                let merging = ReaggregateOptions {
                    order: self.groups,
                    batch_rows: options.batch_rows,
                    ..ReaggregateOptions::new(options.memory)
                };
                merge::reaggregate(streams, sql, merging).await
            }
        }
    }

    /// Gives back what no step behind this one needs: sessions, and relations.
    async fn release(&mut self, plan: &Plan, index: usize) {
        let later = plan.steps.get(index + 1..).unwrap_or_default();
        for (number, relation) in self.relations.iter_mut().enumerate() {
            if !later.iter().any(|step| step.uses.contains(&number)) {
                *relation = None;
            }
        }
        let route = &self.route;
        let done: Vec<_> = self
            .sites
            .iter_mut()
            .filter(|(server, _)| !route.is_needed_after(index, **server))
            .filter_map(|(_, site)| site.take())
            .collect();
        join_all(done.into_iter().map(Session::finish)).await;
    }

    /// Gives back the sessions that no stream has.
    async fn give_back_all(&mut self) {
        let sessions: Vec<_> = self.sites.values_mut().filter_map(Site::take).collect();
        join_all(sessions.into_iter().map(Session::finish)).await;
    }
}

/// A session of every server that takes part, all at the same time.
async fn open(
    query: &Request,
    route: &Route,
    tables: Option<Server>,
    held: Held,
) -> Result<BTreeMap<Server, Site>> {
    let cluster = &query.cluster;
    let opening = &query.opening()?;
    let writing = &opening.writing();
    let pools = cluster.pools();
    let names = route.servers().map(|server| match server {
        Server::Shard(shard) => pools.name(shard).to_string(),
        Server::Finish => finish_pool(cluster).map_or_else(|_| String::new(), |(_, name)| name),
    });
    let names: Vec<_> = names.collect();
    let counters = query
        .options
        .progress
        .begin(names.iter().map(String::as_str));
    let mut sites: BTreeMap<_, _> = route
        .servers()
        .zip(names)
        .zip(counters)
        .map(|((server, name), counters)| {
            let site = Site {
                name,
                session: None,
                counters,
                retry: None,
                before: Vec::new(),
                is_used: false,
            };
            (server, site)
        })
        .collect();

    let common = held.common.clone();
    let (held, permits) = permits(cluster, route, held).await?;
    if let Some(mut held) = held
        && let Some(site) = sites.get_mut(&Server::Shard(held.shard))
    {
        if tables == Some(Server::Shard(held.shard)) {
            let begun = held.session.begin_again(writing).await;
            begun.map_err(tables::without_transaction)?;
        }
        site.session = Some(held.session);
    }
    let mut permits: BTreeMap<_, _> = permits.into_iter().collect();
    let common = &common;
    let opened = sites
        .iter_mut()
        .filter_map(|(server, site)| Some((server, site, permits.remove(server)?)))
        .map(|(server, site, (pools, permit))| async move {
            site.counters.set(ShardState::Connecting);
            let has_tables = tables == Some(*server);
            let opening = if has_tables { writing } else { opening };
            let opened = match server {
                Server::Shard(_) => pools.session(permit, opening).await,
                Server::Finish => alike(&pools, permit, opening, common).await,
            };
            let opened = opened.map_err(|error| match has_tables {
                true => tables::without_transaction(error),
                false => error,
            });
            match opened {
                Ok(session) => {
                    site.session = Some(session);
                    Ok(())
                }
                Err(error) => {
                    site.counters.set(ShardState::Failed);
                    query.options.go_without(error)
                }
            }
        });
    settle(opened).await?;
    // Those that are missing.
    sites.retain(|_, site| site.session.is_some());
    Ok(sites)
}

/// Brings the shards behind the fence. The server that finishes elsewhere has no table to read.
async fn behind(
    fence: &Fence,
    query: &Request,
    tables: Option<Server>,
    sites: &mut BTreeMap<Server, Site>,
) -> Result<()> {
    let opening = query.opening()?;
    let writing = opening.writing();
    let sessions = sites.iter_mut().filter_map(|(server, site)| {
        let opening = if tables == Some(*server) {
            &writing
        } else {
            &opening
        };
        match server {
            Server::Shard(_) => Some((site.session.as_mut()?, opening)),
            Server::Finish => None,
        }
    });
    let fenced = fence.pass(sessions.collect()).await?;
    query.options.progress.set_fenced(fenced);
    Ok(())
}

type Permits = Vec<(Server, (Arc<Pools>, Permit))>;

/// The rights to the sessions that are missing, and the session that is there already if it is
/// needed.
///
/// Whoever holds a session may not wait for another: two queries that do would wait for each other.
/// So it is given back where the others are not to be had at once.
async fn permits(cluster: &Cluster, route: &Route, held: Held) -> Result<(Option<Held>, Permits)> {
    let pools = cluster.pools();
    let shards: Vec<_> = route
        .servers()
        .filter_map(|server| match server {
            Server::Shard(shard) => Some(shard),
            Server::Finish => None,
        })
        .collect();
    let held_shard = held.shard;
    let others = shards.iter().copied().filter(|shard| *shard != held_shard);
    let at_once = match shards.contains(&held.shard) {
        true => pools.try_permits(others.clone()),
        false => None,
    };
    let (held, taken): (_, Vec<_>) = match at_once {
        Some(permits) => (Some(held), others.zip(permits).collect()),
        None => {
            held.session.finish().await;
            let permits = pools.permits(shards.iter().copied()).await?;
            (None, shards.iter().copied().zip(permits).collect())
        }
    };
    let mut permits: Permits = taken
        .into_iter()
        .map(|(shard, permit)| (Server::Shard(shard), (pools.clone(), permit)))
        .collect();
    if route.servers().any(|server| server == Server::Finish) {
        // Behind all shards, by everybody.
        let (pool, _) = finish_pool(cluster)?;
        for permit in pool.permits([0]).await? {
            permits.push((Server::Finish, (pool.clone(), permit)));
        }
    }
    Ok((held, permits))
}

fn finish_pool(cluster: &Cluster) -> Result<(&Arc<Pools>, String)> {
    let pool = cluster.finish_pool();
    let pool = pool.ok_or_else(|| fault("there is no server that finishes"))?;
    Ok((pool, pool.name(0).to_string()))
}

pub(super) fn schema_of(columns: &[Column]) -> Schema {
    Schema::new(columns.iter().map(Column::to_field).collect::<Vec<_>>())
}

/// The columns as the merge's SQL calls them.
pub(super) fn renamed(columns: Vec<Column>, names: &[String]) -> Result<Vec<Column>> {
    if columns.len() != names.len() {
        return Err(fault("a merge is planned for another number of columns"));
    }
    let columns = columns.into_iter().zip(names);
    Ok(columns
        .map(|(column, name)| Column::new(name.as_str(), column.pg_type))
        .collect())
}

/// An error of a step says whose SQL it is about, and that of the step that finishes so.
fn in_place(error: Error, place: &Place, origin: SqlOrigin) -> Error {
    let error = match origin {
        SqlOrigin::User => error.with_sql_origin(origin),
        SqlOrigin::Made => about_made_sql(error),
    };
    match place {
        Place::Finish => error.replace_phase(Phase::Finish),
        Place::Shards(_) | Place::AnyShard => error,
    }
}

/// The plan does not fit what is there: a fault of planning.
pub(super) fn fault(message: &str) -> Error {
    Error::fault(message)
}

#[cfg(test)]
mod tests;
