//! Tests of what a reader may see, and until when, by token and by session, and of what the guard leaves for handlers.

use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HOST};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use observability::ProjectClaim;

use super::*;

const ONE: &str = "a-token-of-two-projects";
const OTHER: &str = "a-token-of-everything";
const ALERT: &str = "a-token-that-alerts-have";

struct Place {
    folder: tempfile::TempDir,
    access: Access,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        write(&path, &[(ONE, &["a", "b"]), (OTHER, &["*"])]);
        let access = Access::new(Admission::default(), Some(TokensFile::open(&path).unwrap()));
        Self { folder, access }
    }

    /// Replaces the tokens, and reloads the file.
    fn rewrite(&self, tokens: &[(&str, &[&str])]) {
        write(&self.folder.path().join("tokens.toml"), tokens);
        self.state().file.look_next_time();
    }

    fn state(&self) -> &State {
        let Kind::Tokens(state) = &self.access.0.kind else { panic!("tokens are configured") };
        state
    }

    fn by_token(&self, token: &str) -> Option<Reader> {
        self.access.reader(&TokenHash::new(token.as_bytes()))
    }

    /// The number of a new session, and its reader.
    fn by_session(&self, token: &str) -> (String, Reader) {
        let opened = self.state().sessions.lock().open(TokenHash::new(token.as_bytes()), Instant::now()).unwrap();
        let reader = self.access.session_reader(&TokenHash::new(opened.number.as_bytes())).unwrap();
        (opened.number, reader)
    }
}

fn write(path: &std::path::Path, tokens: &[(&str, &[&str])]) {
    let mut text = format!("[alerts]\ntoken = \"{ALERT}\"\n");
    for (token, projects) in tokens {
        text.push_str(&format!("[[token]]\nname = \"{token}\"\ntoken = \"{token}\"\nprojects = {projects:?}\n"));
    }
    // Creates a new file each time, so that its inode changes.
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// The projects that a reader sees; none if it sees all lines, including those without a project.
fn seen(reader: &Reader) -> Option<Vec<&'static str>> {
    let of_projects = ["a", "b", "c"].into_iter().filter(|project| reader.sees(Some(project))).collect();
    if reader.sees(None) { None } else { Some(of_projects) }
}

#[test]
fn a_reader_ends_when_the_scope_of_its_token_changes() {
    let place = Place::new();
    let readers = || [place.by_token(ONE).unwrap(), place.by_session(ONE).1];
    let check = |readers: &[Reader; 2]| readers.each_ref().map(Reader::check);
    let first = readers();
    for reader in &first {
        assert_eq!((seen(reader), reader.name(), reader.sees_all()), (Some(vec!["a", "b"]), Some(ONE), false));
    }
    // A new file with the same content changes nothing.
    place.rewrite(&[(OTHER, &["*"]), (ONE, &["b", "a"])]);
    assert_eq!(check(&first), [Ok(()); 2]);
    place.rewrite(&[(ONE, &["a"]), (OTHER, &["*"])]);
    assert_eq!(check(&first), [Err(Ended::Changed), Err(Ended::Revoked)], "narrowed: its session has ended too");
    assert!(first.iter().all(|reader| seen(reader) == Some(vec![])), "it sees nothing");
    let narrowed = readers();
    assert!(narrowed.iter().all(|reader| seen(reader) == Some(vec!["a"])));
    place.rewrite(&[(ONE, &["*"]), (OTHER, &["*"])]);
    assert_eq!(check(&narrowed), [Err(Ended::Changed), Err(Ended::Revoked)]);
    let widened = readers();
    assert!(widened.iter().all(|reader| seen(reader).is_none() && reader.sees_all()));
    place.rewrite(&[(OTHER, &["a"])]);
    [&first, &narrowed, &widened].iter().for_each(|readers| assert_eq!(check(readers), [Err(Ended::Revoked); 2]));
    assert!(place.by_token(ONE).is_none() && seen(&widened[0]) == Some(vec![]));
    // The token is valid again; the session ended for good.
    place.rewrite(&[(ONE, &["*"]), (OTHER, &["a"])]);
    assert_eq!(check(&widened), [Ok(()), Err(Ended::Revoked)]);
}

#[test]
fn a_session_that_ends_ends_its_reader_and_no_other() {
    let place = Place::new();
    let (by_token, (number, ended), (_, goes_on)) =
        (place.by_token(ONE).unwrap(), place.by_session(ONE), place.by_session(ONE));
    place.state().sessions.lock().close(&number);
    assert_eq!(ended.check(), Err(Ended::Revoked), "its token is still valid");
    assert_eq!((goes_on.check(), by_token.check()), (Ok(()), Ok(())));
}

#[test]
fn sessions_per_token_end_the_reader_of_the_oldest() {
    let place = Place::new();
    let (_, oldest) = place.by_session(ONE);
    let (_, of_other) = place.by_session(OTHER);
    (0..sessions::SESSIONS_PER_TOKEN).for_each(|_| drop(place.by_session(ONE)));
    assert_eq!((oldest.check(), of_other.check()), (Err(Ended::Revoked), Ok(())));
}

#[test]
fn a_broken_file_changes_nothing() {
    let place = Place::new();
    let reader = place.by_token(ONE).unwrap();
    std::fs::write(place.folder.path().join("tokens.toml"), "[[token]]\nname = 3\n").unwrap();
    place.state().file.look_next_time();
    assert_eq!((reader.check(), seen(&reader)), (Ok(()), Some(vec!["a", "b"])));
}

#[test]
fn sessions_of_a_removed_or_changed_token_end_for_good() {
    let place = Place::new();
    for between in [&[(OTHER, &["*"][..])][..], &[(OTHER, &["*"]), (ONE, &["a"])]] {
        let (revoked, goes_on) = (place.by_session(ONE).1, place.by_session(OTHER).1);
        place.rewrite(between);
        place.rewrite(&[(ONE, &["a", "b"]), (OTHER, &["*"])]);
        assert!(place.by_token(ONE).is_some() && goes_on.check().is_ok());
        assert_eq!(revoked.check(), Err(Ended::Revoked), "{between:?}");
    }
}

#[test]
fn a_login_with_a_token_that_is_removed_during_it_opens_no_session() {
    let place = Place::new();
    let (removed, changed, valid) =
        (place.by_token(ONE).unwrap(), place.by_token(OTHER).unwrap(), place.by_session(OTHER).1);
    place.rewrite(&[(OTHER, &["a"])]);
    for reader in [&removed, &changed] {
        assert!(place.state().open(reader, reader.token().unwrap()).unwrap().is_none());
    }
    place.rewrite(&[(ONE, &["a", "b"]), (OTHER, &["*"])]);
    assert_eq!(valid.check(), Err(Ended::Revoked));
    assert_eq!(place.state().sessions.lock().count(), 0);
    assert!(place.state().open(&removed, removed.token().unwrap()).unwrap().is_some(), "it is valid again");
}

#[test]
fn alerts_need_a_token_that_is_valid_after_their_body_arrived() {
    let place = Place::new();
    let sender = AlertSender { access: place.access.clone(), token: Some(TokenHash::new(ALERT.as_bytes())) };
    assert_eq!(sender.check(), Ok(()));
    std::fs::write(place.folder.path().join("tokens.toml"), "[alerts]\ntoken = \"another-token-of-alerts\"\n").unwrap();
    place.state().file.look_next_time();
    assert_eq!(sender.check(), Err(Ended::Revoked));
    let of_everyone = AlertSender { access: place.access.clone(), token: None };
    assert_eq!(
        of_everyone.check(),
        Err(Ended::Revoked),
        "a sender without a token is invalid if tokens are configured"
    );
}

#[test]
fn an_empty_or_special_file_changes_nothing() {
    let place = Place::new();
    let path = place.folder.path().join("tokens.toml");
    let (_, reader) = place.by_session(ONE);
    let steps: [&dyn Fn(); 4] = [
        &|| std::fs::write(&path, "").unwrap(),
        &|| std::fs::write(&path, "# no token\n").unwrap(),
        &|| std::fs::create_dir(&path).unwrap(),
        &|| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        },
    ];
    for (number, step) in steps.iter().enumerate() {
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        step();
        // In a thread of its own, since opening a FIFO may block.
        let (looked, has_looked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                place.state().file.look_next_time();
                looked.send(()).unwrap();
            });
            let in_time = has_looked.recv_timeout(std::time::Duration::from_secs(20));
            if in_time.is_err() {
                // Unblocks it, so that the test ends.
                let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
                drop(rustix::fs::open(&path, flags, rustix::fs::Mode::empty()));
            }
            assert!(in_time.is_ok(), "{number}");
        });
        assert_eq!((reader.check(), seen(&reader)), (Ok(()), Some(vec!["a", "b"])), "{number}");
    }
    let _ = std::fs::remove_file(&path);
    place.rewrite(&[(OTHER, &["*"])]);
    assert_eq!(reader.check(), Err(Ended::Revoked), "a valid file takes effect again");
}

#[test]
fn without_tokens_everyone_sees_everything() {
    let reader = Reader::of_everyone();
    assert_eq!((reader.check(), seen(&reader), reader.sees_all()), (Ok(()), None, true));
    // A reader without a token is invalid if tokens are configured.
    let place = Place::new();
    let reader = Reader::everyone(&place.access);
    assert_eq!((reader.check(), seen(&reader)), (Err(Ended::Revoked), Some(vec![])));
}

#[test]
fn a_reader_may_claim_the_projects_of_its_token_while_it_is_valid() {
    let place = Place::new();
    let (one, of_all) = (place.by_token(ONE).unwrap(), place.by_token(OTHER).unwrap());
    let claims = |reader: &Reader| [reader.claim("a"), reader.claim("c")];
    assert_eq!(claims(&one), [ProjectClaim::Verified, ProjectClaim::Refused]);
    assert_eq!(claims(&of_all), [ProjectClaim::Unverified; 2]);
    place.rewrite(&[(ONE, &["a"])]);
    assert_eq!([claims(&one), claims(&of_all)], [[ProjectClaim::Refused; 2]; 2]);
}

#[actix_rt::test]
async fn the_result_of_a_read_is_discarded_if_rights_end_during_it() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let target = store::Target::Sqlite(folder.path().join("logs.db"));
    let store = store::StoreWriter::open(&target, &store::EngineSettings::default()).await.unwrap();
    let (number, reader) = place.by_session(ONE);
    let store = store.reader();
    let view = reader.view(&store);
    assert!(view.search(&store::Search::default()).await.is_ok());
    let read = view.read(async |scope| {
        assert!(scope.sees(Some("a")));
        place.state().sessions.lock().close(&number);
        Ok(())
    });
    assert!(matches!(read.await, Err(ReadError::Ended(Ended::Revoked))));
    let again = view.read(async |_| -> Result<(), store::SearchError> { panic!("the store is not read") });
    assert!(matches!(again.await, Err(ReadError::Ended(Ended::Revoked))));
}

/// What the guard left for a handler: what its reader sees, and whether it may send alerts.
async fn left(request: HttpRequest) -> HttpResponse {
    let extensions = request.extensions();
    let seen = extensions.get::<Reader>().map(seen);
    HttpResponse::Ok().body(format!("{seen:?} {}", extensions.get::<AlertSender>().is_some()))
}

async fn answer(
    access: &Access,
    path: &str,
    headers: &[(actix_web::http::header::HeaderName, String)],
) -> (u16, String) {
    let app = App::new().app_data(web::Data::new(access.clone())).default_service(web::to(left)).wrap(from_fn(guard));
    let app = init_service(app).await;
    let mut request = TestRequest::with_uri(path).method(Method::GET).peer_addr(([127, 0, 0, 1], 1).into());
    for (name, value) in headers {
        request = request.insert_header((name.clone(), value.clone()));
    }
    let response = call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let body = actix_web::test::read_body(response).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[actix_rt::test]
async fn the_guard_leaves_what_the_token_or_session_permits() {
    let place = Place::new();
    let (number, _) = place.by_session(ONE);
    let bearer = |token: &str| (AUTHORIZATION, format!("Bearer {token}"));
    let cookie = |number: &str| (COOKIE, format!("{}={number}", SESSION_COOKIE));
    let of_one = format!("{:?} false", Some(Some(["a", "b"])));
    let of_all = "Some(None) false".to_owned();
    let none = "None true".to_owned();
    for (path, headers, expected) in [
        ("/api/logs", vec![bearer(ONE)], (200, Some(&of_one))),
        ("/api/logs", vec![cookie(&number)], (200, Some(&of_one))),
        ("/api/logs", vec![bearer(OTHER)], (200, Some(&of_all))),
        // The header takes precedence over the cookie, even if it is wrong.
        ("/api/logs", vec![bearer(OTHER), cookie(&number)], (200, Some(&of_all))),
        ("/api/logs", vec![bearer("another"), cookie(&number)], (401, None)),
        ("/api/logs", vec![cookie("another")], (401, None)),
        ("/api/logs", vec![bearer(ALERT)], (401, None)),
        ("/api/logs", vec![], (401, None)),
        ("/search", vec![], (401, None)),
        (ALERTS_PATH, vec![bearer(ALERT)], (200, Some(&none))),
        (ALERTS_PATH, vec![bearer(ONE)], (401, None)),
        (ALERTS_PATH, vec![cookie(&number)], (401, None)),
        ("/healthz", vec![], (200, Some(&"None false".to_owned()))),
    ] {
        let (status, body) = answer(&place.access, path, &headers).await;
        assert_eq!((status, Some(&body).filter(|_| status == 200)), expected, "{path} {headers:?}");
    }
}

#[actix_rt::test]
async fn without_tokens_only_known_hosts_are_answered_metrics_too() {
    let access = Access::new(Admission::default(), None);
    for (path, host, status) in [
        ("/api/logs", "127.0.0.1:8000", 200),
        ("/api/logs", "localhost", 200),
        ("/api/logs", "evil.example", 403),
        ("/api/logs", "ai", 403),
        ("/metrics", "[::1]:8000", 200),
        ("/metrics", "evil.example", 403),
        ("/%6Detrics", "evil.example", 403),
        ("/healthz", "evil.example", 200),
    ] {
        assert_eq!(answer(&access, path, &[(HOST, host.to_owned())]).await.0, status, "{path} {host}");
    }
}

/// All source files of a directory, without their tests.
fn sources(folder: &std::path::Path, found: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            found.push((path, code));
        }
    }
}

#[test]
fn only_access_makes_and_keeps_a_scope() {
    let (root, mut files) = (std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
    sources(&root, &mut files);
    let own = root.join("access");
    let named: Vec<_> = files.iter().filter(|(_, code)| code.contains("Scope")).map(|(path, _)| path).collect();
    assert!(named.iter().any(|path| path.starts_with(&own)), "the search works");
    let elsewhere: Vec<_> = named.into_iter().filter(|path| !path.starts_with(&own)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
