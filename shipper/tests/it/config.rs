//! The configuration: every key as option, variable and in the file, their precedence, and invalid values.

use std::path::Path;

use clap::{Args as _, Command};
use shipper::config::{Options, Settings};
use toml::{Table, Value};

use crate::program::{Place, finish};

/// A value for each key that is not its default, as TOML.
const VALUES: &[(&str, &str)] = &[
    ("to", "'sqlite:other.db'"),
    ("state_dir", "'other-state'"),
    ("service", "'billing'"),
    ("files", "['a/*.log', 'b.log']"),
    ("exclude", "['*.gz', 'a/b.log']"),
    ("format", "'docker'"),
    ("docker_labels", "['a=b', 'c=d']"),
    ("file_mode", "'0640'"),
    ("until_idle", "true"),
    ("allow_empty", "true"),
    ("read_from", "'end'"),
    ("ignore_older", "'24h'"),
    ("read_compressed", "true"),
    ("max_open_files", "1012"),
    ("wait_for_eof", "true"),
    ("scan_interval_ms", "1001"),
    ("bootstrap", "'check'"),
    ("pipeline", "'none'"),
    ("index_prefix", "'other-logs'"),
    ("keep", "'7d'"),
    ("keep_size", "'5GiB'"),
    ("request_timeout_ms", "1002"),
    ("user", "'who'"),
    ("password_file", "'password'"),
    ("api_key_file", "'key'"),
    ("ca_certificate", "'ca.pem'"),
    ("client_certificate", "'client.pem'"),
    ("client_key", "'client.key'"),
    ("proxy", "'http://proxy:3128'"),
    ("proxy_user", "'who'"),
    ("proxy_password_file", "'password'"),
    ("compression", "'gzip'"),
    ("line_max_bytes", "1030"),
    ("batch_max_lines", "1004"),
    ("batch_max_bytes", "1050"),
    ("batch_max_age_ms", "1006"),
    ("requests_in_flight", "3"),
    ("in_flight_max_bytes", "9388608"),
    ("retry_min_ms", "107"),
    ("retry_max_ms", "30008"),
    ("spool_max_bytes", "1073741825"),
    ("spool_segment_bytes", "67108865"),
    ("spool_sync_interval_ms", "1009"),
    ("on_full", "'wait'"),
    ("dead_letters_max_bytes", "1073741825"),
    ("checkpoint_interval_ms", "1010"),
    ("shutdown_timeout_ms", "1011"),
    ("encoding", "'windows-1252'"),
    ("admin_listen", "'127.0.0.1:9601'"),
    ("name", "'edge'"),
    ("host", "'web-1'"),
    ("log_filter", "'warn'"),
    ("fields", "{ 'order.id' = 'long', tenant = 'keyword' }"),
];

fn values() -> Table {
    let value = |text: &str| text.parse::<Value>().unwrap();
    VALUES.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect()
}

/// The keys of the command line.
fn keys() -> Vec<(String, String, String)> {
    let command = Options::augment_args(Command::new("options"));
    let arguments = command.get_arguments();
    arguments
        .map(|arg| {
            let (flag, variable) = (arg.get_long().unwrap(), arg.get_env().unwrap().to_str().unwrap());
            (arg.get_id().to_string(), format!("--{flag}"), variable.to_owned())
        })
        .collect()
}

/// A value as an option or a variable: strings without quotes, a list as several values.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Table(fields) => {
            fields.iter().map(|(name, kind)| format!("{name}={}", kind.as_str().unwrap())).collect()
        }
        other => vec![other.to_string()],
    }
}

/// Options required by a key.
fn with(key: &str) -> Vec<&'static str> {
    match key {
        "user" => vec!["--password-file=password"],
        "password_file" => vec!["--user=who"],
        "docker_labels" => vec!["--format=docker"],
        "client_certificate" => vec!["--client-key=key"],
        "client_key" => vec!["--client-certificate=ca.pem"],
        "proxy_user" => vec!["--proxy=http://proxy:3128", "--proxy-password-file=password"],
        "proxy_password_file" => vec!["--proxy=http://proxy:3128", "--proxy-user=who"],
        _ => Vec::new(),
    }
}

fn place() -> Place {
    let place = Place::new();
    for name in ["password", "key", "ca.pem", "client.pem", "client.key"] {
        std::fs::write(place.path(name), "secret-of-mine\n").unwrap();
    }
    place
}

/// The output of `check-config`.
#[track_caller]
fn effective(mut command: std::process::Command) -> Table {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains("secret-of-mine"), "{stdout}");
    stdout.parse().unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[test]
fn flag_and_variable_follow_from_the_key() {
    let mut listed: Vec<_> = VALUES.iter().map(|(key, _)| (*key).to_owned()).collect();
    let mut found: Vec<_> = keys().into_iter().map(|(key, ..)| key).collect();
    listed.sort();
    found.sort();
    assert_eq!(listed, found);
    for (key, flag, variable) in keys() {
        assert_eq!(variable, format!("SHIPPER_{}", key.to_uppercase()));
        let flag = if ["files", "docker_labels", "fields"].contains(&&*key) { flag + "s" } else { flag };
        assert_eq!(flag, format!("--{}", key.replace('_', "-")));
    }
}

#[test]
fn every_key_can_be_set_by_option_variable_and_file() {
    let place = place();
    let (values, to) = (values(), "SHIPPER_TO");
    for (key, flag, variable) in keys() {
        let value = &values[&key];
        let mut by_option = place.shipper(&["check-config"]);
        by_option.env(to, "sqlite:logs.db").args(with(&key));
        by_option.args(texts(value).iter().map(|text| format!("{flag}={text}")));
        assert_eq!(effective(by_option)[&key], *value, "{flag}");

        let mut by_variable = place.shipper(&["check-config"]);
        by_variable.env(to, "sqlite:logs.db").args(with(&key)).env(&variable, texts(value).join(","));
        assert_eq!(effective(by_variable)[&key], *value, "{variable}");

        let file = Table::from_iter([("to".to_owned(), "sqlite:logs.db".into()), (key.clone(), value.clone())]);
        std::fs::write(place.path("shipper.toml"), file.to_string()).unwrap();
        let mut by_file = place.shipper(&["check-config", "--config", "shipper.toml"]);
        by_file.args(with(&key));
        assert_eq!(effective(by_file)[&key], *value, "{key}");
    }
}

#[test]
fn options_take_precedence_over_variables_and_variables_over_the_file() {
    let place = place();
    std::fs::write(place.path("shipper.toml"), "to = 'sqlite:file'\nname = 'file'\nhost = 'file'\n").unwrap();
    let mut command = place.shipper(&["check-config", "--config", "shipper.toml", "--to", "sqlite:option"]);
    command.env("SHIPPER_TO", "sqlite:variable").env("SHIPPER_NAME", "variable");
    let effective = effective(command);
    let text = |key: &str| effective[key].as_str().unwrap().to_owned();
    assert_eq!((text("to"), text("name"), text("host")), ("sqlite:option".into(), "variable".into(), "file".into()));
    assert_eq!(text("state_dir"), "shipper-state");
}

#[test]
fn the_effective_configuration_is_a_configuration_file() {
    let place = place();
    let first = effective(place.ship(&["check-config", "--user=who", "--password-file=password", "--file=*.log"]));
    std::fs::write(place.path("shipper.toml"), first.to_string()).unwrap();
    assert_eq!(effective(place.shipper(&["check-config", "--config", "shipper.toml"])), first);
}

#[test]
fn invalid_values_are_rejected_in_one_line() {
    let place = place();
    std::fs::write(place.path("misspelt.toml"), "to = 'sqlite:x'\n\nstatedir = 'x'\n").unwrap();
    std::fs::write(place.path("mistyped.toml"), "to = 'sqlite:x'\nbatch_max_lines = 'many'\n").unwrap();
    std::fs::write(place.path("torn.toml"), "to = 'sqlite:x").unwrap();
    std::fs::write(place.path("empty"), "\n").unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--config", "misspelt.toml"], "misspelt.toml:3: unknown field `statedir`"),
        (&["--config", "mistyped.toml"], "mistyped.toml:2: invalid type: string \"many\""),
        (&["--config", "torn.toml"], "torn.toml:1: "),
        (&["--config", "missing.toml"], "can't read the configuration file missing.toml"),
        (&[], "to: not set: use --to, SHIPPER_TO or the configuration file"),
        (&["--to", "http://me:hunter2@h:9200"], "it contains credentials, which must be set in a file"),
        (&["--to=sqlite:x", "--batch-max-lines=0"], "batch_max_lines: 0 is not between 1 and 100000"),
        (&["--to=sqlite:x", "--batch-max-bytes=9000000"], "9000000 exceeds in_flight_max_bytes, 8388608"),
        (&["--to=sqlite:x", "--retry-min-ms=31000"], "31000 exceeds retry_max_ms, 30000"),
        (&["--to=sqlite:x", "--spool-segment-bytes=400000000"], "exceeds a quarter of spool_max_bytes"),
        (&["--to=sqlite:x", "--spool-max-bytes=1000000"], "line_max_bytes: 1048576 exceeds spool_segment_bytes"),
        (&["--to=sqlite:x", "--file=[a"], "files: invalid pattern \"[a\""),
        (&["--to=sqlite:x", "--exclude=[a"], "exclude: invalid pattern \"[a\""),
        (&["--to=sqlite:x", "--exclude="], "exclude: a pattern is empty"),
        (&["--to=sqlite:x", "--max-open-files=0"], "max_open_files: 0 is not between 1 and 1000000"),
        (&["--to=sqlite:x", "--max-open-files=1000001"], "max_open_files: 1000001 is not between 1 and 1000000"),
        (
            &["--to=sqlite:x", "--ignore-older=24"],
            "ignore_older: \"24\" is not a positive whole number followed by s, m",
        ),
        (&["--to=sqlite:x", "--docker-label=a=b"], "docker_labels: labels require format docker"),
        (&["--to=sqlite:x", "--format=docker", "--docker-label=a"], "docker_labels: \"a\" is not KEY=VALUE"),
        (
            &["--to=sqlite:x", "--encoding=latin-7"],
            "encoding: unknown encoding \"latin-7\": give a label of the WHATWG",
        ),
        (&["--to=sqlite:x", "--encoding="], "encoding: unknown encoding \"\""),
        (
            &["--to=sqlite:x", "--encoding=iso-2022-jp"],
            "encoding: unsupported encoding iso-2022-jp: convert the lines to UTF-8",
        ),
        (
            &["--to=sqlite:x", "--encoding=iso-2022-kr"],
            "encoding: unsupported encoding iso-2022-kr: convert the lines to UTF-8",
        ),
        (&["--to=sqlite:x", "--encoding=replacement"], "encoding: unsupported encoding replacement"),
        (&["--to=sqlite:x", "--encoding=gbk", "--format=docker"], "encoding: Docker log files are always UTF-8"),
        (&["--to=sqlite:x", "--index-prefix=App"], "no capital letters"),
        (&["--to=sqlite:x", "--pipeline=a/b"], "pipeline: \"a/b\" must be"),
        (&["--to=sqlite:x", "--service=a\tb"], "service: it must have 1 to 256 characters"),
        (&["--to=sqlite:x", "--field=order.id"], "fields: \"order.id\" is not NAME=TYPE"),
        (&["--to=sqlite:x", "--field=a=int"], "fields: \"int\" of \"a\": unknown type: expected keyword"),
        (&["--to=sqlite:x", "--field=origin.x=text"], "\"origin\" is a field of every line"),
        (&["--to=sqlite:x", "--field=a=text", "--field=a.b=text"], "\"a.b\" is below \"a\""),
        (&["--to=sqlite:x", "--user=who"], "user: it requires password_file"),
        (&["--to=sqlite:x", "--password-file=password"], "password_file: it requires user"),
        (&["--to=sqlite:x", "--user=w", "--password-file=password", "--api-key-file=key"], "not both"),
        (&["--to=sqlite:x", "--api-key-file=empty"], "api_key_file: can't use empty"),
        (&["--to=sqlite:x", "--api-key-file=missing"], "api_key_file: can't use missing"),
        (&["--to=sqlite:x", "--ca-certificate=missing"], "ca_certificate: can't read missing"),
        (&["--to=sqlite:x", "--client-certificate=key"], "client_certificate: it requires client_key"),
        (&["--to=sqlite:x", "--client-key=key"], "client_key: it requires client_certificate"),
        (&["--to=sqlite:x", "--proxy=socks5://p:1"], "expected http://HOST:PORT"),
        (
            &["--to=sqlite:x", "--proxy=http://u:secret@p:1"],
            "proxy: \"p:1\" contains credentials: set proxy_user and proxy_password_file instead",
        ),
        (&["--to=sqlite:x", "--proxy-user=u"], "proxy_user: it requires proxy_password_file"),
        (&["--to=sqlite:x", "--proxy-password-file=password"], "proxy_password_file: it requires proxy_user"),
        (
            &["--to=sqlite:x", "--proxy-user=u", "--proxy-password-file=password"],
            "it requires proxy, the address of the proxy",
        ),
    ];
    for (arguments, says) in cases {
        let mut command = place.shipper(&["check-config"]);
        command.args(*arguments);
        let (code, stderr) = finish(&place, command);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("shipper: ") && stderr.contains(says), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn an_unknown_variable_is_rejected() {
    let place = place();
    let mut command = place.ship(&["check-config"]);
    command.env("SHIPPER_STATEDIR", "x");
    let (code, stderr) = finish(&place, command);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("unknown variable SHIPPER_STATEDIR: did you mean SHIPPER_STATE_DIR?"), "{stderr}");
    // Kubernetes sets these if a service is named shipper.
    let mut command = place.ship(&["check-config"]);
    command.env("SHIPPER_SERVICE_HOST", "10.0.0.1").env("SHIPPER_PORT_9600_TCP_PROTO", "tcp");
    assert_eq!(finish(&place, command).0, 0);
}

#[test]
fn exec_rejects_files() {
    let place = place();
    let (code, stderr) = finish(&place, place.ship(&["exec", "--file", "*.log", "--", "true"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("use shipper run for files"), "{stderr}");
}

#[test]
fn the_sample_has_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/shipper/shipper.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let sample = Options::from_file(&path).unwrap();
    Settings::new(sample.clone(), None).unwrap();
    let sample = Table::try_from(sample).unwrap();
    for (key, default) in Table::try_from(Options::defaults()).unwrap() {
        assert_eq!(sample.get(&key), Some(&default), "{key}");
    }

    // Commented keys are valid too, and no key is missing.
    let uncommented = text.lines().map(|line| {
        let Some(bare) = line.strip_prefix("# ") else { return line };
        let is_key = bare.split_once(" = ").is_some_and(|(key, _)| VALUES.iter().any(|(known, _)| *known == key));
        // Names in the table of fields are arbitrary.
        let in_table = bare == "[fields]" || (bare.starts_with('"') && bare.contains("\" = \""));
        if is_key || in_table { bare } else { line }
    });
    let whole = uncommented.collect::<Vec<_>>().join("\n");
    let whole = Table::try_from(Options::from_toml(&whole, &path).unwrap()).unwrap();
    for (key, _) in VALUES {
        assert!(whole.contains_key(*key), "{key} is not in the sample");
    }
    // Each key, or group of keys, has a comment.
    let bare = text.lines().zip(text.lines().skip(1)).find(|(line, next)| line.is_empty() && next.contains(" = "));
    assert_eq!(bare, None);
}
