//! Command-line options that are also environment variables: what clap's `env` leaves open, alike in all programs.
//!
//! - An empty variable counts as unset, so that Compose files can pass on variables that may not be set.
//! - An error in a value from a variable names the variable, not the option.
//! - A misspelt variable is an error, if it starts with a prefix of the program.
//! - A value that may contain a password is not shown in an error.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, Error};

/// Parses a command line and the variables of its options.
///
/// # Errors
/// As clap's, also for `--help` and `--version`.
pub fn parse(command: &Command, arguments: Vec<OsString>) -> Result<ArgMatches, Error> {
    // Keeps the environment variables in the help.
    let full = || command.clone().try_get_matches_from(&arguments);
    match without_empty(command.clone()).try_get_matches_from(&arguments) {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => full(),
        Err(error) => Err(explain(error, command, &arguments)),
        Ok(matches) => Ok(matches),
    }
}

/// Removes the variables that are empty.
fn without_empty(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty)
}

/// Names the variable that has an invalid value, and hides the value if it may contain a password.
fn explain(mut error: Error, command: &Command, arguments: &[OsString]) -> Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && (value.contains("://") || value.contains('@'))
    {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    // Arguments can be printed once the command is built.
    let mut command = command.clone();
    command.build();
    if let Some(ContextValue::String(invalid)) = error.get(ContextKind::InvalidArg)
        && let Some(arg) = find(&command, invalid)
        && !is_given(arg, arguments)
        && let Some(variable) = arg.get_env().filter(|name| std::env::var_os(name).is_some())
    {
        let variable = variable.to_string_lossy().into_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The argument that an error names.
fn find<'c>(command: &'c Command, invalid: &str) -> Option<&'c Arg> {
    let mut own = command.get_arguments();
    own.find(|arg| arg.to_string() == invalid)
        .or_else(|| command.get_subcommands().find_map(|subcommand| find(subcommand, invalid)))
}

/// Whether an option is given on the command line.
fn is_given(arg: &Arg, arguments: &[OsString]) -> bool {
    let Some(long) = arg.get_long() else { return false };
    arguments
        .iter()
        .filter_map(|argument| argument.to_str()?.strip_prefix("--")?.strip_prefix(long))
        .any(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The variables of a command and its subcommands.
#[must_use]
pub fn names(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()));
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

/// A misspelt variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable {name}: {}", advice(.likely.as_deref(), .help))]
pub struct UnknownVariable {
    name: String,
    likely: Option<String>,
    help: &'static str,
}

fn advice(likely: Option<&str>, help: &str) -> String {
    match likely {
        Some(likely) => format!("did you mean {likely}? Rename or unset it"),
        None => format!("unset it; `{help}` lists all variables"),
    }
}

/// Rejects variables of this process that start with one of `prefixes` and are not in `known`, so that misspelt settings
/// are not ignored. Variables that Kubernetes sets for a service named like a prefix are accepted. `help` is the command
/// that lists all variables.
///
/// # Errors
/// The first unknown variable, in order of names.
pub fn refuse_unknown(prefixes: &[&str], known: &[String], help: &'static str) -> Result<(), UnknownVariable> {
    let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    refuse_unknown_of(variables, prefixes, known, help)
}

fn refuse_unknown_of(
    variables: impl Iterator<Item = String>,
    prefixes: &[&str],
    known: &[String],
    help: &'static str,
) -> Result<(), UnknownVariable> {
    let unknown = |name: &String| {
        let mut rests = prefixes.iter().filter_map(|prefix| name.strip_prefix(prefix));
        !known.contains(name) && rests.any(|rest| !is_of_kubernetes(rest))
    };
    let Some(name) = variables.filter(unknown).min() else { return Ok(()) };
    let likeness = |candidate: &&String| {
        let same = candidate.bytes().zip(name.bytes()).take_while(|(left, right)| left == right).count();
        same + candidate.bytes().rev().zip(name.bytes().rev()).take_while(|(left, right)| left == right).count()
    };
    let likely = known.iter().filter(|candidate| likeness(candidate) >= name.len() - 1).max_by_key(likeness);
    Err(UnknownVariable { likely: likely.cloned(), name, help })
}

/// Whether Kubernetes sets such a variable for a service, whose name is the prefix.
fn is_of_kubernetes(rest: &str) -> bool {
    ["SERVICE_HOST", "PORT"].contains(&rest) || rest.starts_with("SERVICE_PORT") || rest.starts_with("PORT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIXES: [&str; 2] = ["BACKEND_", "METRICS_"];

    fn refused(name: &str) -> Option<String> {
        let known = ["BACKEND_FAULTS", "BACKEND_WORKERS", "METRICS_TOKEN_FILE"].map(str::to_owned);
        let variables = [name.to_owned()].into_iter();
        refuse_unknown_of(variables, &PREFIXES, &known, "backend --help").err().map(|error| error.to_string())
    }

    #[test]
    fn unknown_variables_with_a_prefix_are_rejected() {
        let message = "unknown variable BACKEND_FAULT: did you mean BACKEND_FAULTS? Rename or unset it";
        assert_eq!(refused("BACKEND_FAULT").as_deref(), Some(message));
        let message = "unknown variable METRICS_NONE_SUCH: unset it; `backend --help` lists all variables";
        assert_eq!(refused("METRICS_NONE_SUCH").as_deref(), Some(message));
        for accepted in ["BACKEND_FAULTS", "HOME", "BACKEND_SERVICE_HOST", "BACKEND_PORT_8000_TCP_ADDR"] {
            assert_eq!(refused(accepted), None, "{accepted}");
        }
    }

    #[test]
    fn a_value_that_may_contain_a_password_is_not_shown() {
        let number = Arg::new("number").long("number").value_parser(clap::value_parser!(u8));
        let command = Command::new("program").arg(number);
        let error = |value: &str| {
            let arguments = ["program", "--number", value].map(OsString::from).to_vec();
            parse(&command, arguments).unwrap_err().to_string()
        };
        assert!(error("many").contains("invalid value 'many' for '--number <number>'"), "{}", error("many"));
        assert!(!error("http://user:secret@host").contains("secret"));
    }
}
