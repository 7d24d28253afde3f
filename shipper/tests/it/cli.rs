//! Tests the help and other output of the command line.

use std::process::Output;

use crate::program::Place;

fn run_shipper(arguments: &[&str]) -> Output {
    let place = Place::new();
    let mut command = place.shipper(arguments);
    command.output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = run_shipper(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help() {
    insta::assert_snapshot!("help", printed(&["--help"]));
}

#[test]
fn help_of_exec() {
    insta::assert_snapshot!("help_exec", printed(&["exec", "-h"]));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!("help_run", printed(&["run", "-h"]));
}

#[test]
fn help_works_with_invalid_variables() {
    let place = Place::new();
    let mut command = place.shipper(&["run", "--help"]);
    assert!(command.env("SHIPPER_NONE_SUCH", "x").output().unwrap().status.success());
}

#[test]
fn version() {
    assert_eq!(printed(&["--version"]), concat!("shipper ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_man_page_is_complete() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH shipper 1"), "{page}");
    for section in ["SYNOPSIS", "SUBCOMMANDS", "STORE", "SPOOL", "EXIT STATUS", "FILES", "EXAMPLES"] {
        assert!(page.lines().any(|line| line.starts_with(".SH") && line.contains(section)), "{section} is missing");
    }
    for word in ["\\-\\-state\\-dir", "SHIPPER_STATE_DIR", "\\fB127\\fR", "check\\-config"] {
        assert!(page.contains(word), "{word} is missing");
    }
    assert!(!page.contains("guard"), "{page}");
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = printed(&["completions", shell]);
        assert!(completions.contains("state-dir"), "{shell}: {completions}");
        assert!(!completions.contains("__guard"), "{shell}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [&["exec"][..], &["run", "--no-such-option"], &["no-such-subcommand"], &["run", "--on-full=maybe"]]
    {
        assert_eq!(run_shipper(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
