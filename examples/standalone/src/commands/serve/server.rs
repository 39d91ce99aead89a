//! Runs a server from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::{Error, Result};
use feedkit_server::gateway::{Algorithm, LocalLimits};
use feedkit_server::settings::Secret;
use feedkit_server::{Signals, bind};
use feedkit_store::sqlite::USER_ACTIONS;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::check::check;
use super::demo::{self, Demo};
use super::{gateway, secret, welcome};
use crate::cli;
use crate::config::Config;
use crate::engine::{Engine, PUBLISH_DEADLINE};

/// How often limiters forget keys that have not been used for long.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Serves until a signal arrives or the engine fails.
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
    let mut engine = Engine::start(&config).await?;
    let served = run(args, &config, &mut engine, listener, signals.stop()).await;
    let patience = match &served {
        Ok(until) => until.saturating_duration_since(Instant::now()).min(PUBLISH_DEADLINE),
        Err(_) => Duration::ZERO,
    };
    let stopped = engine.stop(patience).await;
    served?;
    stopped?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the gateway and its background tasks until they must end. Returns when all of them have ended, with the time by
/// which the engine must have ended too.
async fn run(
    args: &cli::Serve,
    config: &Config,
    engine: &mut Engine,
    listener: TcpListener,
    stop: &CancellationToken,
) -> Result<Instant> {
    let address = listener.local_addr().map_err(|e| Error::fatal(format!("no address: {e}")))?;
    let secret = signing_secret(config)?;
    let tokens = Arc::new(gateway::verifier(&config.jwt, secret.as_ref())?);
    let limits = LocalLimits::new(config.front.rate_limit)?;
    let routes = gateway::assemble(engine, config, tokens, &limits)?;
    let demo = match args.demo {
        true => Some(Demo::new(&config.data, engine.store.log().sink(USER_ACTIONS)?)?),
        false => None,
    };

    let ending = CancellationToken::new();
    let mut gateway = tokio::spawn(routes.run(listener, ending.clone()));
    let forgetting = tokio::spawn(forget_idle(limits, ending.clone()));
    let mut playing = tokio::spawn(play(demo, ending.clone()));
    let (mut served, mut played) = (None, None);
    let outcome = match welcome::welcome(config, &config.data, address, secret.as_ref()) {
        Err(error) => Err(error),
        Ok(()) => tokio::select! {
            () = stop.cancelled() => Ok(()),
            error = engine.fails() => Err(error),
            ended = &mut gateway => {
                served = Some(ended);
                Err(Error::fatal("the gateway has ended"))
            }
            ended = &mut playing => {
                played = Some(ended);
                Err(Error::fatal("the demo has ended"))
            }
        },
    };
    let until = Instant::now() + config.gateway.shutdown_deadline;
    ending.cancel();
    let served = ended("the gateway", gateway, served).await;
    let played = ended("the demo", playing, played).await;
    let forgotten = ended("the limiters' housekeeping", forgetting, None).await;
    // The part that failed says why; the others only say that they have ended.
    let outcome = match (outcome, &served, &played) {
        (Err(_), Err(_), _) | (Err(_), _, Err(_)) => Ok(()),
        (outcome, ..) => outcome,
    };
    served.and(played).and(forgotten).and(outcome).map(|()| until)
}

/// The key that signs tokens, or `None` if another program signs them.
fn signing_secret(config: &Config) -> Result<Option<Secret>> {
    match (config.jwt.algorithm, &config.jwt.secret) {
        (Algorithm::Hs256, None) => secret::read_or_make(&config.data).map(Some),
        (_, configured) => Ok(configured.clone()),
    }
}

/// Forgets the keys that have their full allowance again.
async fn forget_idle(limits: LocalLimits, stop: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FORGET_EVERY) => limits.forget_idle(),
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn play(demo: Option<Demo>, stop: CancellationToken) -> Result<()> {
    match demo {
        Some(demo) => demo.play(&stop).await,
        None => {
            stop.cancelled().await;
            Ok(())
        }
    }
}

/// The outcome of a task: known already, or awaited here.
async fn ended(
    what: &str,
    task: JoinHandle<Result<()>>,
    told: Option<Result<Result<()>, tokio::task::JoinError>>,
) -> Result<()> {
    let ended = match told {
        Some(ended) => ended,
        None => task.await,
    };
    ended.unwrap_or_else(|e| Err(Error::fatal(format!("failed: {e}")))).map_err(|e| e.context(what))
}
