//! Which server runs which step.

use std::collections::BTreeSet;

use super::fault;
use crate::config::{Finish, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Place, Plan};

/// A server that takes part in a query. Sessions are taken in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Server {
    /// A shard, by index.
    Shard(usize),
    /// That of the topology's `[finish] url`.
    Finish,
}

/// The servers of each step.
#[derive(Debug)]
pub(super) struct Route {
    steps: Vec<Stop>,
}

#[derive(Debug, PartialEq, Eq)]
struct Stop {
    /// They run it.
    runs: Vec<Server>,
    /// They say which columns it has: the same, or one if none runs it.
    describes: Vec<Server>,
}

impl Route {
    /// Decides where each step runs. What any shard can do is done by one that is part of the query
    /// anyway: by `preferred`, whose turn it is, if that is one.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a step that finishes where the topology forbids that.
    pub(super) fn new(plan: &Plan, topology: &Topology, preferred: usize) -> Result<Self> {
        let shards = topology.shards().len();
        let involved: BTreeSet<usize> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.place {
                Place::Shards(shards) => Some(shards.iter().copied()),
                Place::AnyShard | Place::Finish => None,
            })
            .flatten()
            .collect();
        if involved.iter().any(|shard| *shard >= shards) {
            return Err(fault("the plan names a shard that does not exist"));
        }
        let any = match involved.len() {
            0 => preferred,
            _ if involved.contains(&preferred) => preferred,
            count => {
                let turn = involved.iter().nth(preferred % count);
                turn.copied().unwrap_or(preferred)
            }
        };
        let any = Server::Shard(any);
        let steps = plan
            .steps
            .iter()
            .map(|step| {
                let runs = match (&step.place, topology.finish()) {
                    (Place::Shards(shards), _) => {
                        shards.iter().copied().map(Server::Shard).collect()
                    }
                    (Place::AnyShard, _) | (Place::Finish, Finish::AnyShard) => vec![any],
                    (Place::Finish, Finish::Server(_)) => vec![Server::Finish],
                    (Place::Finish, Finish::Off) => {
                        return Err(Error::new(
                            ErrorKind::Unsupported,
                            "the query needs a server to finish it, and the topology has \
                             finish: mode = \"off\"",
                        )
                        .with_hint(
                            "set mode = \"on\" in [finish], or name a server there with url",
                        ));
                    }
                };
                let describes = match runs.is_empty() {
                    true => vec![any],
                    false => runs.clone(),
                };
                Ok(Stop { runs, describes })
            })
            .collect::<Result<_>>()?;
        Ok(Self { steps })
    }

    /// All servers that take part, in their order.
    pub(super) fn servers(&self) -> impl Iterator<Item = Server> + use<> {
        let servers: BTreeSet<_> = self
            .steps
            .iter()
            .flat_map(|stop| stop.describes.iter().copied())
            .collect();
        servers.into_iter()
    }

    /// Leaves out the servers that are missing.
    pub(super) fn go_without(&mut self, is_missing: impl Fn(Server) -> bool) {
        for stop in &mut self.steps {
            stop.runs.retain(|server| !is_missing(*server));
            stop.describes.retain(|server| !is_missing(*server));
        }
    }

    /// The server on which steps finish, if one does.
    pub(super) fn finish(&self, plan: &Plan) -> Option<Server> {
        let mut steps = plan.steps.iter().zip(&self.steps);
        let (_, stop) = steps.find(|(step, _)| step.place == Place::Finish)?;
        stop.runs.first().copied()
    }

    /// The servers that run a step.
    pub(super) fn runs(&self, step: usize) -> &[Server] {
        self.steps.get(step).map_or(&[], |stop| &stop.runs)
    }

    /// The servers that describe a step; one at least.
    pub(super) fn describes(&self, step: usize) -> &[Server] {
        self.steps.get(step).map_or(&[], |stop| &stop.describes)
    }

    /// Whether a step behind this one needs the server.
    pub(super) fn is_needed_after(&self, step: usize, server: Server) -> bool {
        self.steps
            .iter()
            .skip(step + 1)
            .any(|stop| stop.describes.contains(&server))
    }
}
