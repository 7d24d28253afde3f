//! The log explorer as a program: read settings, build, run, shut down within a time limit.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use actix_web::App;
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use anyhow::Context as _;
use backend::access::admission::Admission;
use backend::access::{self, Access, TokensFile};
use backend::answers::{self, Answers};
use backend::app::{self, Parts};
use backend::dead_letters::DeadLetters;
use backend::headers;
use backend::limits::Limits;
use backend::links::{self, Links};
use backend::page;
use backend::page::tail::Tails;
use backend::projects::ServiceName;
use backend::searches::{self, Searches};
use backend::server::connections::{Connections, Room};
use backend::server::request::{self, Bounds};
use backend::server::{self, Options, descriptors};
use backend::settings::{AccessSettings, Settings, VARIABLES, is_reached_by_others};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use observability::{Observability, ObservabilitySettings};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code: the service failed.
const EXIT_FAILED: u8 = 1;

/// Exit code: invalid setting or argument.
const EXIT_SETTINGS: u8 = 2;

/// Room for connections to `ADMIN_LISTEN`.
const ADMIN_ROOM: Room = Room { connections: 24, reserve: 8 };

/// Log explorer over an embedded store or a search engine: finds all lines of a request by its ID. Configured by
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

async fn run(mut settings: Settings, tokens: Option<TokensFile>) -> anyhow::Result<()> {
    // The library's own server there has no health checks and no token.
    let admin_listen = settings.observability.admin_listen.take();
    let obs = Observability::start(settings.observability.clone())?;
    let limit = descriptors::raise_limit();
    let store = Store::open(&settings.store, &settings.engine).await?;
    warn_of_files(&settings, &store).await?;
    let limits = Limits::register(&settings.observability.service, obs.registry())?;
    // Live tails would not end on their own.
    let (end_tails, shutdown) = tokio::sync::watch::channel(false);
    let parts = parts(&settings, tokens, store, (&limits, shutdown));
    match admin_listen {
        _ if !parts.access.shows_metrics_to_everyone() => {}
        None => tracing::warn!("/metrics exposes project names without a token; set METRICS_TOKEN or ADMIN_LISTEN"),
        Some(address) if is_reached_by_others(&address) => {
            tracing::warn!(%address, "/metrics at ADMIN_LISTEN exposes project names without a token; set METRICS_TOKEN");
        }
        Some(_) => {}
    }
    let room = descriptors::room(limit, workers(&settings), settings.connections);
    if room.connections < settings.connections {
        tracing::warn!(
            connections = room.connections,
            ?limit,
            "the open file limit allows fewer connections than configured"
        );
    }
    let options = Options {
        workers: settings.workers,
        stall_timeout: settings.stalled_client_timeout,
        shutdown_timeout: settings.shutdown_timeout,
    };
    let (on_app, on_admin, of_admin) = (obs.clone(), obs.clone(), parts.clone());
    let (faults, has_metrics) = (settings.faults, admin_listen.is_none());
    let new_app = move || {
        let app = App::new().configure(|app| {
            if has_metrics {
                on_app.metrics_route()(app)
            }
        });
        let app = app.configure(app::routes(parts.clone(), faults));
        let app = app.wrap(from_fn(searches::bound)).wrap(from_fn(answers::hold));
        let app = app.wrap(from_fn(access::guard)).wrap(from_fn(request::bound)).wrap(from_fn(page::errors::render));
        let app = app.wrap(from_fn(headers::answer_head));
        let app = app.wrap(on_app.middleware().require_project_check()).wrap(from_fn(links::add));
        app.wrap(from_fn(headers::add)).wrap(from_fn(request::track))
    };
    let new_admin = move || {
        let app = App::new().configure(on_admin.metrics_route()).configure(app::admin_routes(of_admin.clone()));
        let app = app.wrap(from_fn(access::guard)).wrap(from_fn(request::bound)).wrap(from_fn(headers::answer_head));
        app.wrap(on_admin.middleware().require_project_check())
            .wrap(from_fn(headers::add))
            .wrap(from_fn(request::track))
    };
    let listener = listen("LISTEN", settings.listen)?;
    let address = listener.local_addr().unwrap_or(settings.listen);
    let connections = Connections::new(room, settings.request_timeout, limits.clone());
    let main = server::start(listener, connections, &options, new_app)?;
    let mut handles = vec![main.handle()];
    if let Some(address) = admin_listen {
        let listener = listen("ADMIN_LISTEN", address)?;
        let address = listener.local_addr().unwrap_or(address);
        // It has its own room, and its gauge is not exposed.
        let connections = Connections::new(ADMIN_ROOM, settings.request_timeout, Limits::default());
        let admin = server::start(listener, connections, &Options { workers: Some(1), ..options }, new_admin)?;
        handles.push(admin.handle());
        actix_rt::spawn(admin);
        tracing::info!(%address, "serving metrics and health");
    }
    tracing::info!(%address, store = %settings.store, faults, connections = room.connections, "serving");
    actix_rt::spawn(stop_by_signal(handles, end_tails));
    main.await.context("the server failed")?;
    tracing::info!("stopped");
    obs.flush(Duration::from_secs(2));
    Ok(())
}

/// Warns of secret files that others can read, and of a missing store.
async fn warn_of_files(settings: &Settings, store: &Store) -> anyhow::Result<()> {
    for (name, path, bits) in settings.exposed_secrets() {
        let mode = format!("{bits:04o}");
        tracing::warn!(name, path = %path.display(), mode, "secret file is accessible to other users; restrict it with chmod");
    }
    if let Some(missing) = store.missing().await? {
        let (state, path) = (missing.kind.as_str(), missing.path.display());
        tracing::warn!(state, %path, reason = %missing.kind, "no store yet");
    }
    Ok(())
}

/// The state that routes share.
fn parts(
    settings: &Settings,
    tokens: Option<TokensFile>,
    store: Store,
    (limits, shutdown): (&Limits, watch::Receiver<bool>),
) -> Parts {
    let AccessSettings { names, proxies, metrics_token, .. } = settings.access.clone();
    let links = Links::new(settings.public.clone(), settings.kibana.clone(), settings.grafana.clone());
    Parts {
        store,
        links: links.with_names(names.clone()),
        access: Access::new(Admission::new(names, proxies, metrics_token.as_deref(), limits.clone()), tokens),
        answers: Answers::new(limits.clone()),
        searches: Searches::new(limits.clone()),
        bounds: Bounds { body_timeout: settings.request_timeout, limits: limits.clone() },
        tails: Tails::new(shutdown, limits.clone()),
        dead_letters: DeadLetters::under(settings.shipper_state_dir.as_deref()),
        service_name: ServiceName(settings.observability.service.clone()),
    }
}

/// Number of worker threads.
fn workers(settings: &Settings) -> u64 {
    let cores = || std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    settings.workers.unwrap_or_else(cores) as u64
}

fn listen(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    server::listen(address).with_context(|| format!("can't listen on {name}={address}"))
}

/// Stops the servers at SIGINT or SIGTERM. The first signal lets open requests finish, the second does not wait for them.
async fn stop_by_signal(handles: Vec<ServerHandle>, end_tails: watch::Sender<bool>) {
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
        handles.iter().for_each(|handle| drop(actix_rt::spawn(handle.stop(graceful))));
    }
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // Without standard error, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "backend: {error}");
    ExitCode::from(code)
}

fn help_on_variables() -> String {
    let mut help = "Environment variables:\n".to_owned();
    for variable in VARIABLES.iter().chain(ObservabilitySettings::VARIABLES) {
        help.push_str(&format!("  {:<28}{}\n", variable.name, variable.help));
    }
    help.push_str("\nExit codes: 0 stopped by SIGINT or SIGTERM, 1 failed, 2 invalid setting or argument");
    help
}
