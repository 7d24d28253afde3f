//! The reference service, as a program: settings, build, run, a bounded end.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use backend::access::door::Door;
use backend::access::{self, Access, TokensFile};
use backend::app::{self, Parts};
use backend::dead_letters::DeadLetters;
use backend::limits::Limits;
use backend::links::{self, Links};
use backend::page::tail::Tails;
use backend::settings::{AccessSettings, Settings, VARIABLES};
use backend::{headers, stalled};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use observability::{Observability, ObservabilitySettings};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};

/// Something went wrong that is not the settings' fault.
const EXIT_FAILED: u8 = 1;

/// A setting or an argument can't be used.
const EXIT_SETTINGS: u8 = 2;

/// Finds the story of a request by its id: a log explorer over an embedded store or an engine. Everything is set by
/// environment variables.
#[derive(Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    let matches = Arguments::command().after_help(help_on_variables()).get_matches();
    if let Err(error) = Arguments::from_arg_matches(&matches) {
        error.exit();
    }
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(error) => return fail(&error, EXIT_SETTINGS),
    };
    let tokens = match settings.access.tokens_file.as_deref().map(|path| (path, TokensFile::open(path))) {
        Some((_, Ok(tokens))) => Some(tokens),
        Some((path, Err(error))) => return fail(&format!("TOKENS_FILE={}: {error}", path.display()), EXIT_SETTINGS),
        None => None,
    };
    match actix_rt::System::new().block_on(run(settings, tokens)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), EXIT_FAILED),
    }
}

async fn run(settings: Settings, tokens: Option<TokensFile>) -> anyhow::Result<()> {
    let listen = settings.listen;
    let obs = Observability::start(settings.observability.clone())?;
    let store = Store::open_reader(&settings.store, &settings.engine).await?;
    for (name, path, bits) in settings.exposed_secrets() {
        let mode = format!("{bits:04o}");
        tracing::warn!(name, path = %path.display(), mode, "file open to others: take their rights away with chmod");
    }
    if let Some(absence) = store.absence().await? {
        let (state, path) = (absence.kind.as_str(), absence.path.display());
        tracing::warn!(state, %path, reason = %absence.kind, "no store yet");
    }
    let (on_app, faults, stalled_after) = (obs.clone(), settings.faults, settings.stalled_client_timeout);
    let limits = Limits::register(&settings.observability.service, obs.registry())?;
    let AccessSettings { names, proxies, metrics_token, .. } = settings.access.clone();
    let to_lines = Links::new(settings.public.clone(), settings.kibana.clone(), settings.grafana.clone())
        .with_names(names.clone());
    let access = Access::new(Door::new(names, proxies, metrics_token.as_deref(), limits.clone()), tokens);
    if access.shows_metrics_to_everyone() && obs.admin_address().is_none() {
        tracing::warn!("/metrics names projects and needs no token: set METRICS_TOKEN or ADMIN_LISTEN");
    }
    // Streams that would never end by themselves.
    let (end_tails, ended) = tokio::sync::watch::channel(false);
    let tails = Tails::until(ended, limits);
    let dead_letters = DeadLetters::under(settings.shipper_state_dir.as_deref());
    let parts = Parts { store, access, tails, links: to_lines, dead_letters };
    let new_app = move || {
        App::new()
            .configure(on_app.metrics_route())
            .configure(app::routes(parts.clone(), faults))
            .wrap(from_fn(access::guard))
            .wrap(from_fn(headers::answer_head))
            .wrap(on_app.middleware().require_project_check())
            .wrap(from_fn(links::add))
            .wrap(from_fn(headers::add))
    };
    let mut server = HttpServer::new(new_app)
        .disable_signals()
        // Else a client that closes its connection is not noticed until its answer is due, and counts as answered.
        .h1_allow_half_closed(false)
        .on_connect(move |connection, _| stalled::give_up_after(stalled_after, connection))
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .bind(listen)
        .with_context(|| format!("can't listen on LISTEN={listen}"))?;
    if let Some(workers) = settings.workers {
        server = server.workers(workers);
    }
    let address = server.addrs().first().copied().unwrap_or(listen);
    let server = server.run();
    let handle = server.handle();
    tracing::info!(%address, store = %settings.store, faults, "serving");
    actix_rt::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        for graceful in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!(graceful, "stopping");
            end_tails.send_replace(true);
            // The first signal lets open requests end; the second does not wait for them.
            actix_rt::spawn(handle.stop(graceful));
        }
    });
    server.await.context("the server failed")?;
    tracing::info!("stopped");
    obs.flush(Duration::from_secs(2));
    Ok(())
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "backend: {error}");
    ExitCode::from(code)
}

fn help_on_variables() -> String {
    let mut help = "Environment variables:\n".to_owned();
    for variable in VARIABLES.iter().chain(ObservabilitySettings::VARIABLES) {
        help.push_str(&format!("  {:<28}{}\n", variable.name, variable.help));
    }
    help.push_str("\nExit codes: 0 ended by SIGINT or SIGTERM, 1 failed, 2 a setting or an argument can't be used");
    help
}
