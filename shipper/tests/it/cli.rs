//! What the command line says of itself.

use std::process::Output;

use crate::program::Place;

fn said(arguments: &[&str]) -> Output {
    let place = Place::new();
    let mut command = place.shipper(arguments);
    command.output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = said(arguments);
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
fn help_needs_no_sound_environment() {
    let place = Place::new();
    let mut command = place.shipper(&["run", "--help"]);
    assert!(command.env("SHIPPER_NONE_SUCH", "x").output().unwrap().status.success());
}

#[test]
fn version() {
    assert_eq!(printed(&["--version"]), concat!("shipper ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_manual_is_a_page_with_all_there_is() {
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
fn usage_is_code_2() {
    for arguments in [&["exec"][..], &["run", "--no-such-option"], &["no-such-subcommand"], &["run", "--on-full=maybe"]]
    {
        assert_eq!(said(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
