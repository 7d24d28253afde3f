//! `shipper man`: the man page, generated from the command line definition.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, line_break, roman};

use crate::cli;
use crate::exit::Exit;

/// The files described in the man page.
const FILES: [(&str, &str); 5] = [
    ("STATE_DIR/spool/", "input not yet stored, as received"),
    ("STATE_DIR/dead-letters/", "lines rejected by the store, with the reasons, one JSON object per line"),
    ("STATE_DIR/past/", "offsets of completed sources, for verify"),
    ("STATE_DIR/quarantine/", "damaged parts moved there by spool repair"),
    ("shipper.toml", "configuration file given with --config; every key is an option of the same name"),
];

/// Writes the page.
pub(crate) fn write(output: &mut dyn Write) -> io::Result<()> {
    let command = cli::command();
    let page = Man::new(command.clone());
    page.render_title(output)?;
    page.render_name_section(output)?;
    synopsis(&command).to_writer(output)?;
    page.render_description_section(output)?;
    subcommands(&command).to_writer(output)?;
    let options = cli::CommonArgs::augment_args(Command::new("shipper").disable_help_flag(true));
    Man::new(cli::with_defaults(options)).render_options_section(output)?;
    lists().to_writer(output)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

fn synopsis(command: &Command) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    for subcommand in visible(command) {
        let arguments = match subcommand.get_name() {
            "exec" => " [OPTIONS] -- COMMAND…",
            "completions" => " SHELL",
            "dead-letters" => " list|show|replay|discard [OPTIONS] [ID…]",
            "spool" => " check|repair [OPTIONS]",
            "man" => "",
            _ => " [OPTIONS]",
        };
        page.text([bold(format!("shipper {}", subcommand.get_name())), roman(arguments), line_break()]);
    }
    page
}

fn subcommands(command: &Command) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["SUBCOMMANDS"]);
    for subcommand in visible(command) {
        page.control("TP", []).text([bold(subcommand.get_name())]);
        let about = subcommand.get_long_about().or(subcommand.get_about()).map(ToString::to_string);
        let about = about.unwrap_or_default();
        for (index, paragraph) in about.split("\n\n").enumerate() {
            if index > 0 {
                page.control("IP", []);
            }
            page.text([roman(paragraph.replace('\n', " "))]);
        }
    }
    page
}

fn lists() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        page.control("TP", []).text([bold(exit.code().to_string())]).text([roman(exit.meaning())]);
    }
    page.control("PP", []).text([roman("Once the command runs, exec returns the command's own exit code.")]);
    page.control("SH", ["FILES"]);
    for (name, meaning) in FILES {
        page.control("TP", []).text([italic(name)]).text([roman(meaning)]);
    }
    page.control("SH", ["EXAMPLES"]);
    for example in cli::examples_text().split("\n\n") {
        let (meaning, commands) = example.split_once('\n').unwrap_or((example, ""));
        page.control("PP", []).text([roman(meaning)]).control("RS", []).control("nf", []);
        for line in commands.lines() {
            page.text([roman(line.trim())]);
        }
        page.control("fi", []).control("RE", []);
    }
    page
}
