//! `merganser explain`.

use std::process::ExitCode;

use merganser::{Cluster, Error, ErrorKind};

use crate::args::{self, PlanFormat};
use crate::cache::keep_catalogs;
use crate::failure::{Outcome, exit_code, printable};
use crate::interrupt::{Signals, clean_up};
use crate::stdout;
use crate::{statement, topology};

pub(crate) async fn run(args: args::Explain, signals: Signals) -> Outcome<ExitCode> {
    let topology = topology::load(&args.shards)?;
    statement::check_tables(&topology)?;
    let builder = keep_catalogs(Cluster::builder(topology), &args.cache);
    let cluster = match args.connections_per_shard {
        Some(connections) => builder.with_connections_per_shard(connections),
        None => builder,
    }
    .build()?;
    let outcome = signals
        .guard(async { Ok(explain(&args, &cluster).await) })
        .await;
    clean_up(cluster.close()).await;
    match outcome? {
        Ok(text) => {
            stdout::write(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        // That is an answer too, and so it goes where answers go.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            stdout::write(refusal(&error, args.format).as_bytes())?;
            Ok(exit_code(&error).into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(feature = "datafusion")]
async fn explain(args: &args::Explain, cluster: &Cluster) -> Result<String, Error> {
    let sql = statement::read(&args.statement).await?;
    let mut query = statement::planned(cluster, sql, &args.planning)
        .with_params(args.statement.params.0.iter().cloned());
    if let Some(timeout) = args.timeout {
        query = query.with_timeout(timeout);
    }
    if let Some(readers) = args.connections_per_shard {
        query = query.with_readers_per_shard(readers);
    }
    if args.analyze {
        // The rows are dropped: that one of them has no place in Arrow is of no interest.
        let types = merganser::types::TypeOptions::LOSSLESS;
        let analysis = query.with_types(types).analyze().await?;
        return Ok(match args.format {
            PlanFormat::Text if args.verbose => analysis.verbose(),
            PlanFormat::Text => analysis.to_string(),
            PlanFormat::Json => analysis.to_json() + "\n",
        });
    }
    let plan = query.explain().await?;
    Ok(match args.format {
        PlanFormat::Text if args.verbose => plan.verbose(),
        PlanFormat::Text => plan.to_string(),
        PlanFormat::Json => plan.to_json() + "\n",
    })
}

#[cfg(not(feature = "datafusion"))]
async fn explain(_: &args::Explain, _: &Cluster) -> Result<String, Error> {
    Err(statement::without_datafusion("it has no plans"))
}

/// Why there is no plan.
fn refusal(error: &Error, format: PlanFormat) -> String {
    let reason = error.message();
    let reason = reason.strip_prefix("refused: ").unwrap_or(reason);
    match format {
        PlanFormat::Json => {
            let object = serde_json::json!({ "refused": reason, "hint": error.hint() });
            format!("{object:#}\n")
        }
        PlanFormat::Text => {
            let mut text = format!("REFUSED: {}\n", printable(reason));
            if let Some(hint) = error.hint() {
                text.push_str(&format!("  hint: {}\n", printable(hint)));
            }
            text
        }
    }
}
