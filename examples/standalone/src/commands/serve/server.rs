//! `serve`, from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result, Supervisor};
use feedkit_server::gateway::{Algorithm, LocalLimits};
use feedkit_server::settings::Secret;
use feedkit_server::{Signals, bind};
use feedkit_store::sqlite::USER_ACTIONS;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::check::check;
use super::demo::{self, Demo};
use super::{gateway, secret, welcome};
use crate::assembly::{Assembly, PUBLISH_DEADLINE};
use crate::cli;
use crate::config::Config;

/// How often the rate limiters forget users who have not come for long.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How long all parts may take to stop beyond the gateway's own deadline.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until a signal comes, or a part fails.
pub async fn serve(args: &cli::Serve, mut config: Config) -> Result<ExitCode> {
    if args.demo && config.data_is_default {
        config.data = demo::DIRECTORY.into();
    }
    if args.check {
        return check(&config).await;
    }
    let signals = Signals::listen()?;
    if args.demo {
        demo::check_directory(&config.data).await?;
    }
    // Before anything is written: a port in use must not leave a directory behind.
    let listener = bind(config.front.listen).await?;
    let assembly = Assembly::open(&config).await?;
    let store = assembly.store.clone();
    let outcome = run(args, &config, assembly, listener, signals.stop()).await;
    store.close().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Runs the gateway and the pipeline until `stop`. What brings events in is stopped first.
async fn run(
    args: &cli::Serve,
    config: &Config,
    assembly: Assembly,
    listener: TcpListener,
    stop: &CancellationToken,
) -> Result<()> {
    let address = listener.local_addr().map_err(|e| Error::fatal(format!("no address: {e}")))?;
    let secret = signing_secret(config)?;
    let tokens = Arc::new(gateway::verifier(&config.jwt, secret.as_ref())?);
    let limits = LocalLimits::new(config.front.rate_limit)?;
    let deadline = config.gateway.shutdown_deadline;

    let mut parts = Supervisor::builder().drain(deadline + DRAIN);
    let gateway = gateway::assemble(&assembly, parts.handle(), config, tokens, &limits)?;
    if args.demo {
        let demo = Demo::new(&config.data, assembly.store.log().sink(USER_ACTIONS)?)?;
        parts = parts.part("demo", |stop| async move { demo.play(&stop).await });
    }
    let supervisor = parts
        .part("gateway", |stop| gateway.run(listener, stop))
        .part("rate limits", |stop| forget_idle(limits, stop))
        .with_parts(assembly.parts(PUBLISH_DEADLINE.min(deadline), CancellationToken::new()))
        .build();
    let until_stopped = async {
        welcome::welcome(config, &config.data, address, secret.as_ref())?;
        stop.cancelled().await;
        Ok(())
    };
    supervisor.run_until(until_stopped).await?
}

/// The secret that signs tokens; `None` when somebody else signs them.
fn signing_secret(config: &Config) -> Result<Option<Secret>> {
    match (config.jwt.algorithm, &config.jwt.secret) {
        (Algorithm::Hs256, None) => secret::read_or_make(&config.data).map(Some),
        (_, configured) => Ok(configured.clone()),
    }
}

/// Drops the keys that have all their allowance back: they only take memory.
async fn forget_idle(limits: LocalLimits, stop: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FORGET_EVERY) => limits.forget_idle(),
            () = stop.cancelled() => return Ok(()),
        }
    }
}
