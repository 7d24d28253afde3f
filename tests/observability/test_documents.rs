//! README and quickstart are true: their commands are run in order in a fresh copy of the repository. The tables of settings
//! and exit codes are compared with the programs' help.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use observability::ObservabilitySettings;
use observability_tests::documents::{Document, Mark, Step, with_table};
use observability_tests::program::executable;
use observability_tests::schema::repository;
use observability_tests::{lines, wait};
use serde_json::Value;

use crate::terminal::{Outcome, Terminal};

const README: &str = "README.md";
const QUICKSTART: &str = "docs/quickstart.md";
const CONFIGURATION: &str = "docs/configuration.md";
const OPERATIONS: &str = "docs/operations.md";
pub(crate) const DELIVERY: &str = "docs/delivery.md";
pub(crate) const EMBEDDED: &str = "docs/embedded-store.md";

/// Programs that a block may need and that may be missing.
const NEEDS: [&str; 2] = ["docker", "sqlite3"];

#[track_caller]
pub(crate) fn read(path: &str) -> Document {
    let text = std::fs::read_to_string(repository().join(path)).unwrap();
    Document::parse(&text).unwrap_or_else(|message| panic!("{path}, {message}"))
}

/// What a block has to bring about: a word of its commands by which it is known, and what is wrong with what they did.
/// Blocks whose effect takes its time, such as a line that is to be found, are run until nothing is wrong.
pub(crate) type Expected = (&'static str, fn(&Outcome) -> Result<(), String>);

pub(crate) fn holds(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

pub(crate) fn has(outcome: &Outcome, what: &str) -> Result<(), String> {
    holds(outcome.stdout.contains(what), &format!("there is no {what:?}"))
}

/// The last answer in what was printed, as JSON. Answers end without a newline, so several may be on the last line.
fn answer(outcome: &Outcome) -> Result<Value, String> {
    let line = outcome.stdout.lines().last().unwrap_or_default();
    let answers: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(line).into_iter().collect();
    answers.map_err(|error| error.to_string())?.pop().ok_or_else(|| "there is no answer".to_owned())
}

fn lines_of(answer: &Value) -> Result<&[Value], String> {
    answer["lines"].as_array().map(Vec::as_slice).ok_or_else(|| "not an answer with lines".to_owned())
}

/// Whether the last answer is the story of a request, with this many lines, including its access line if there is one.
fn tells(outcome: &Outcome, request_id: &str, count: usize, access: bool) -> Result<(), String> {
    let story = answer(outcome)?;
    let found = lines_of(&story)?;
    let all_are_its = found.iter().all(|line| line["request_id"] == request_id);
    holds(found.len() >= count && all_are_its, &format!("not {count} lines of {request_id}"))?;
    holds(found.iter().any(lines::is_access_line) == access, "the access line")
}

/// The answer of Prometheus to a query that finds something.
fn is_counted(outcome: &Outcome) -> Result<(), String> {
    let answer = answer(outcome)?;
    let rows = answer["data"]["result"].as_array().ok_or("no result")?;
    let of_logs = rows.iter().find(|row| row["metric"]["endpoint"] == "/api/projects/{project_id}/logs");
    holds(of_logs.is_some_and(|row| row["value"][1] != "0"), "not counted")
}

/// Does what a reader of the document does; each block has to meet what is expected of it. Returns how many blocks were
/// run, and how many were not because they are marked.
fn follow(path: &str, expected: &[Expected]) -> (usize, usize) {
    let mut terminal = Terminal::open();
    let counts = follow_in(&mut terminal, path, &[], expected);
    assert_builds_what_there_is(&terminal.cargo_commands());
    counts
}

/// The same in a terminal where something was done before, with something given for words that stand for something.
pub(crate) fn follow_in(
    terminal: &mut Terminal,
    path: &str,
    given: &[(&str, &str)],
    expected: &[Expected],
) -> (usize, usize) {
    let (mut run, mut marked, mut met) = (0, 0, BTreeSet::new());
    for step in read(path).steps {
        let block = match step {
            Step::Block(mut block) => {
                given.iter().for_each(|(word, text)| block.text = block.text.replace(word, text));
                block
            }
            Step::CtrlC => {
                terminal.ctrl_c();
                continue;
            }
        };
        let place = format!("{path}, line {}", block.line);
        match block.mark {
            Mark::Run => {
                let mut of_block = expected.iter().enumerate().filter(|(_, (word, _))| block.text.contains(word));
                let (Some((number, (_, check))), None) = (of_block.next(), of_block.next()) else {
                    panic!("{place}: not exactly one expectation: {}", block.text);
                };
                assert!(met.insert(number), "{place}: the expectation is another block's too");
                wait::until_ok(&place, || {
                    let outcome = terminal.run(&block.text);
                    let checked = if outcome.status.success() { check(&outcome) } else { Err("it failed".to_owned()) };
                    checked.map_err(|wrong| format!("{wrong}: {}\n{outcome:#?}", block.text))
                });
                run += 1;
            }
            Mark::Stays(url) => {
                terminal.start(&block.text, &url);
                run += 1;
            }
            Mark::From(file) => {
                let source = std::fs::read_to_string(repository().join(&file)).unwrap();
                let missing = block.text.lines().find(|line| !source.contains(line.trim()));
                assert_eq!(missing, None, "{place}: not a line of {file}");
            }
            Mark::Needs(what) => {
                assert!(NEEDS.contains(&what.as_str()), "{place}: needs {what}");
                marked += 1;
            }
            Mark::Illustration => marked += 1,
        }
    }
    terminal.ctrl_c();
    let unmet: Vec<_> = expected.iter().enumerate().filter(|(number, _)| !met.contains(number)).collect();
    assert!(
        unmet.is_empty(),
        "{path} has no block of {:?}",
        unmet.iter().map(|(_, (word, _))| word).collect::<Vec<_>>()
    );
    (run, marked)
}

/// Each package, program and example that the documents build is one that there is.
fn assert_builds_what_there_is(commands: &[String]) {
    assert!(!commands.is_empty(), "nothing was built");
    for command in commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let is_profile =
            words.starts_with(&["build", "--release"]) || words.starts_with(&["build", "--profile", "try"]);
        assert!(is_profile, "cargo {command}");
        for pair in words.windows(2) {
            match pair[0] {
                "-p" => assert!(["backend", "shipper", "observability"].contains(&pair[1]), "cargo {command}"),
                "--bin" => drop(executable(pair[1])),
                "--example" => drop(executable(&format!("examples/{}", pair[1]))),
                _ => {}
            }
        }
    }
}

#[test]
fn documents_readme_does_what_it_says() {
    let (run, marked) = follow(
        README,
        &[
            ("-H 'X-Request-Id: demo-1'", |outcome| {
                has(outcome, "HTTP/1.1 200 OK\r\n")?;
                holds(outcome.stdout.to_lowercase().contains("\r\nx-request-id: demo-1\r\n"), "not the request id")?;
                tells(outcome, "demo-1", 2, true)
            }),
            ("make test", |outcome| has(outcome, "-- cargo test ")),
        ],
    );
    assert_eq!((run, marked), (4, 0));
}

#[test]
fn documents_quickstart_does_what_it_says() {
    let (run, marked) = follow(
        QUICKSTART,
        &[
            ("-i -H 'X-Request-Id: demo-1'", |outcome| {
                has(outcome, "HTTP/1.1 200 OK\r\n")?;
                holds(outcome.stdout.to_lowercase().contains("\r\nx-request-id: demo-1\r\n"), "not the request id")
            }),
            ("/api/requests/demo-1", |outcome| tells(outcome, "demo-1", 2, true)),
            ("^request_count.*/logs", |outcome| has(outcome, "project_id=\"p-1\"")),
            ("level=info&limit=5", |outcome| {
                let answer = answer(outcome)?;
                let found = lines_of(&answer)?;
                let are_its = found.iter().all(|line| line["project_id"] == "p-1" && line["level"] == "info");
                holds(!found.is_empty() && are_its, "not the project's lines")
            }),
            ("/api/requests/hello-1", |outcome| {
                has(outcome, "hello, world\n")?;
                tells(outcome, "hello-1", 2, true)
            }),
            ("--until-idle", |outcome| {
                let story = answer(outcome)?;
                let found = lines_of(&story)?;
                let of_stream = |name: &str| found.iter().any(|line| line["origin"]["stream"] == name);
                let of_file = found.iter().any(|line| line["origin"]["file"] == "data/in/nightly.log");
                let all_three = of_file && of_stream("stdin") && of_stream("stdout");
                holds(all_three, "not from a command, standard input and a file")?;
                tells(outcome, "job-1", 3, false)
            }),
            ("make up-local", |outcome| {
                // This message goes to standard error, without the addresses.
                holds(outcome.stderr.contains("all is ready"), "not ready")
            }),
            ("/api/requests/demo-2", |outcome| tells(outcome, "demo-2", 2, true)),
            ("_search?q=request_id:demo-2", |outcome| {
                let hits = answer(outcome)?;
                holds(hits["hits"]["hits"][0]["_source"]["request_id"] == "demo-2", "not found by the engine")
            }),
            ("/api/v1/query", is_counted),
            ("make e2e", |outcome| has(outcome, "infra/test-stack.sh")),
            ("^shipper_lines_", |outcome| {
                let stored = outcome.stdout.lines().find(|line| line.starts_with("shipper_lines_stored_total"));
                let count: Option<f64> = stored.and_then(|line| line.rsplit(' ').next()?.parse().ok());
                holds(count.is_some_and(|count| count > 0.0), "nothing was stored")?;
                holds(answer(outcome)?.is_array(), "Alertmanager")
            }),
            ("make down-local", |outcome| {
                has(outcome, "ready")?;
                holds(outcome.stderr.contains("all is stopped"), "not stopped")
            }),
        ],
    );
    assert_eq!((run, marked), (15, 3));
}

#[test]
fn documents_name_only_targets_of_make_that_there_are() {
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let mut seen = 0;
    for path in [README, QUICKSTART, OPERATIONS, "CONTRIBUTING.md"] {
        let document = read(path);
        let in_blocks = document.blocks().flat_map(|block| block.text.lines().map(str::to_owned));
        let commands = in_blocks.chain(document.code().into_iter().map(|(_, code)| code));
        for command in commands {
            let words: Vec<_> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
            let ["make", target, ..] = words[..] else { continue };
            assert!(makefile.contains(&format!("\n{target}: ")), "{path}: {command}");
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} commands of make");
}

/// What a program prints.
#[track_caller]
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(executable(program)).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The entries of a help text: each begins where `begins` says so and goes on over the lines that are indented further.
fn entries(help: &str, begins: impl Fn(&str) -> bool) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut within = false;
    for line in help.lines() {
        if begins(line) {
            entries.push(line.trim().to_owned());
            within = true;
        } else if within && line.starts_with("  ") && !line.trim().is_empty() {
            let entry = entries.last_mut().unwrap();
            // The text of a long option begins on the next line.
            entry.push_str(if entry.contains("  ") { " " } else { "  " });
            entry.push_str(line.trim());
        } else {
            within = false;
        }
    }
    entries
}

/// Cuts `[NAME: value]` out of an entry and returns the value.
fn cut(entry: &mut String, name: &str) -> Option<String> {
    let start = entry.find(&format!(" [{name}: "))?;
    let end = start + entry[start..].find(']')?;
    let value = entry[start + name.len() + 4..end].to_owned();
    entry.replace_range(start..=end, "");
    Some(value)
}

/// Compares the table below a heading with what the programs say. `UPDATE_DOCUMENTS=1` writes it instead.
#[track_caller]
fn assert_table(path: &str, heading: &str, rows: &[Vec<String>]) {
    assert!(!rows.is_empty(), "{heading}: the programs say nothing");
    // Tests run side by side, and several tables share a file.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock();
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let file = repository().join(path);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, with_table(&text, heading, rows).expect(heading)).unwrap();
    }
    assert_eq!(read(path).table(heading), rows, "{path}, {heading}: update it with UPDATE_DOCUMENTS=1");
}

/// The options of a help text that are variables, too: variable, option, meaning and default.
fn options(help: &str) -> Vec<Vec<String>> {
    // A help text that is wrapped before the name of an option begins no entry.
    let begins = |line: &str| line.trim_start().starts_with('-') && line.len() - line.trim_start().len() < 10;
    let row = |mut entry: String| {
        let variable = cut(&mut entry, "env")?;
        let default = cut(&mut entry, "default").unwrap_or_default();
        let values = cut(&mut entry, "possible values");
        let (option, what) = entry.split_once("  ")?;
        let option = option.split([' ', '[', '=']).next()?;
        let what = match values {
            Some(values) => format!("{} ({values})", what.trim()),
            None => what.trim().to_owned(),
        };
        Some(vec![format!("`{variable}`"), format!("`{option}`"), what, default])
    };
    entries(help, begins).into_iter().filter_map(row).collect()
}

#[test]
fn documents_table_of_variables_is_the_programs() {
    let of_library: Vec<_> = ObservabilitySettings::VARIABLES
        .iter()
        .map(|variable| vec![format!("`{}`", variable.name), variable.help.to_owned()])
        .collect();
    let help = printed("backend", &["-h"]);
    for variable in ObservabilitySettings::VARIABLES {
        assert!(help.contains(variable.name), "the help names {}", variable.name);
    }
    let of_service = options(&help);
    assert!(of_service.len() > 20, "{of_service:?}");
    assert_table(CONFIGURATION, "The library, in any service", &of_library);
    assert_table(CONFIGURATION, "The service", &of_service);
}

#[test]
fn documents_table_of_the_shippers_variables_is_its_help() {
    let rows = options(&printed("shipper", &["run", "-h"]));
    assert!(rows.len() > 30, "{rows:?}");
    assert_table(CONFIGURATION, "The shipper", &rows);
    let sample = std::fs::read_to_string(repository().join("infra/shipper/shipper.toml")).unwrap();
    for row in &rows[1..] {
        let key = row[0].trim_matches('`').trim_start_matches("SHIPPER_").to_lowercase();
        let has_key = sample.contains(&format!("{key} = ")) || sample.contains(&format!("[{key}]\n"));
        assert!(has_key, "{key} is no key of the sample configuration");
    }
}

#[test]
fn documents_table_of_exit_codes_is_the_shippers() {
    let help = printed("shipper", &["run", "-h"]);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let rows: Vec<_> = codes
        .lines()
        .take_while(|line| line.starts_with(' '))
        .map(|line| line.trim().split_once("  ").unwrap())
        .map(|(code, meaning)| vec![code.to_owned(), meaning.to_owned()])
        .collect();
    assert_table(OPERATIONS, "Exit codes", &rows);
}
