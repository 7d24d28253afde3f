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
use backend::settings::{self, Action, Invocation, Settings, is_reached_by_others};
use observability::Observability;
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code: the service failed.
const EXIT_FAILED: u8 = 1;

/// Exit code: invalid setting or argument.
const EXIT_SETTINGS: u8 = 2;

/// Room for connections to `ADMIN_LISTEN`.
const ADMIN_ROOM: Room = Room { connections: 24, reserve: 8 };

fn main() -> ExitCode {
    let settings = match Invocation::read() {
        Ok(Invocation::Serve(settings)) => *settings,
        Ok(Invocation::Other(action)) => return print(action),
        Err(error) => return fail(&error, EXIT_SETTINGS),
    };
    let tokens = match settings.options.access.tokens_file.as_deref().map(|path| (path, TokensFile::open(path))) {
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
    let store = Store::open(&settings.options.store.target, &settings.engine).await?;
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
    let server = &settings.options.server;
    let room = descriptors::room(limit, workers(&settings), server.connections);
    if room.connections < server.connections {
        tracing::warn!(
            connections = room.connections,
            ?limit,
            "the open file limit allows fewer connections than configured"
        );
    }
    let options = Options {
        workers: server.workers,
        stall_timeout: server.stall_timeout,
        shutdown_timeout: server.shutdown_timeout,
    };
    let (on_app, on_admin, of_admin) = (obs.clone(), obs.clone(), parts.clone());
    let (faults, has_metrics) = (server.faults, admin_listen.is_none());
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
    let listener = listen("LISTEN", server.listen)?;
    let address = listener.local_addr().unwrap_or(server.listen);
    let connections = Connections::new(room, server.request_timeout, limits.clone());
    let main = server::start(listener, connections, &options, new_app)?;
    let mut handles = vec![main.handle()];
    if let Some(address) = admin_listen {
        let listener = listen("ADMIN_LISTEN", address)?;
        let address = listener.local_addr().unwrap_or(address);
        // It has its own room, and its gauge is not exposed.
        let connections = Connections::new(ADMIN_ROOM, server.request_timeout, Limits::default());
        let admin = server::start(listener, connections, &Options { workers: Some(1), ..options }, new_admin)?;
        handles.push(admin.handle());
        actix_rt::spawn(admin);
        tracing::info!(%address, "serving metrics and health");
    }
    tracing::info!(%address, store = %settings.options.store.target, faults, connections = room.connections, "serving");
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
    let settings::Options { server, access, links, .. } = &settings.options;
    let (names, proxies) = (access.names(links.public_url.as_ref()), access.proxies());
    let metrics_token = settings.metrics_token.as_deref();
    let dead_letters = DeadLetters::under(links.shipper_state_dir.as_deref());
    let links = Links::new(links.public_url.clone(), links.kibana_url.clone(), links.grafana_url.clone());
    Parts {
        store,
        links: links.with_names(names.clone()),
        access: Access::new(Admission::new(names, proxies, metrics_token, limits.clone()), tokens),
        answers: Answers::new(limits.clone()),
        searches: Searches::new(limits.clone()),
        bounds: Bounds { body_timeout: server.request_timeout, limits: limits.clone() },
        tails: Tails::new(shutdown, limits.clone()),
        dead_letters,
        service_name: ServiceName(settings.observability.service.clone()),
    }
}

/// Number of worker threads.
fn workers(settings: &Settings) -> u64 {
    let cores = || std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    settings.options.server.workers.unwrap_or_else(cores) as u64
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

/// Writes completions or the man page to standard output. A closed pipe is not an error.
fn print(action: Action) -> ExitCode {
    let mut text = Vec::new();
    let written = match action {
        Action::Completions { shell } => {
            clap_complete::generate(shell, &mut settings::command(), "backend", &mut text);
            Ok(())
        }
        Action::Man => clap_mangen::Man::new(settings::command()).render(&mut text),
    };
    match written.and_then(|()| std::io::stdout().lock().write_all(&text)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error, EXIT_FAILED),
        _ => ExitCode::SUCCESS,
    }
}
