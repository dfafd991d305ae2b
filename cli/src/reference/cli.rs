//! `docs/CLI.md`.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _, Subcommand as _};

use super::GENERATED;
use super::markdown::{code, heading, one_line, table};
use crate::args::{Cli, ShortForm};
use crate::environment_variables::DESCRIPTIONS;
use crate::exit::Exit;
use crate::telemetry;

const INTRODUCTION: &str = "A command is a noun and a verb: `hotswap deployment create`, \
    `hotswap node list`. Data goes to standard output, messages to standard error.";

/// What scripts and CI jobs need to know, before the table of exit codes.
const SCRIPTS: &str = include_str!("scripts.md");

pub(super) fn generate() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut out = format!("{GENERATED}\n\n");
    heading(&mut out, 1, "Command line", INTRODUCTION);
    for command in cli.get_subcommands() {
        write_command(&mut out, command, 2);
    }
    write_global_options(&mut out, &cli);
    write_short_forms(&mut out);
    write_environment_variables(&mut out);
    heading(&mut out, 2, "Scripts and CI", SCRIPTS.trim_end());
    write_exit_codes(&mut out);
    format!("{}\n", out.trim_end())
}

/// Appends a command and its subcommands.
fn write_command(out: &mut String, command: &Command, level: usize) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let about = command.get_about().map(ToString::to_string);
    let about = format!("{}.", one_line(&about.unwrap_or_default()));
    let title = command.get_bin_name().unwrap_or(command.get_name());
    heading(out, level, &code(title), &about);
    if command.has_subcommands() {
        for subcommand in command.get_subcommands() {
            write_command(out, subcommand, level + 1);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    let _ = writeln!(out, "```\n{usage}\n```\n");
    let own = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set());
    write_arguments(out, own);
}

fn write_global_options(out: &mut String, cli: &Command) {
    heading(out, 2, "Options of all commands", "");
    let global = cli
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    write_arguments(out, global);
}

fn write_arguments<'a>(out: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let is_listed = |argument: &&Arg| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let rows: Vec<_> = arguments.filter(is_listed).map(argument_row).collect();
    if !rows.is_empty() {
        let head = [
            "Argument",
            "Default",
            "Environment variable",
            "What it does",
        ];
        table(out, &head, &rows);
    }
}

fn argument_row(argument: &Arg) -> Vec<String> {
    let takes_value = argument.get_action().takes_values();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| value.to_string_lossy())
        .collect();
    let variable = argument.get_env().map(|name| name.to_string_lossy());
    let help = argument.get_help().map(ToString::to_string);
    let mut help = format!("{}.", one_line(&help.unwrap_or_default()));
    if argument.is_required_set() && !argument.is_positional() {
        help.push_str(" Required.");
    }
    let values: Vec<_> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| code(value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(help, " One of {}.", values.join(", "));
    }
    vec![
        code(&argument_name(argument)),
        code(&defaults.join(" ")),
        code(&variable.unwrap_or_default()),
        help,
    ]
}

/// `-e, --environment <ENV>`, or `<FILE>`.
fn argument_name(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map_or_else(String::new, |name| format!("<{name}>"));
    let Some(long) = argument.get_long() else {
        return value;
    };
    let short = argument
        .get_short()
        .map_or_else(String::new, |short| format!("-{short}, "));
    let value = match argument.get_action().takes_values() {
        true => format!(" {value}"),
        false => String::new(),
    };
    format!("{short}--{long}{value}")
}

fn write_short_forms(out: &mut String) {
    let text = "Each takes the arguments of its long form. `hotswap node --environment ENV` is \
        short for `hotswap node run --environment ENV`.";
    heading(out, 2, "Short forms", text);
    let short_forms = ShortForm::augment_subcommands(Command::new("hotswap"));
    let rows: Vec<_> = short_forms
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            let long = about
                .strip_prefix("Short for `")
                .and_then(|rest| rest.split('`').next());
            vec![
                code(&format!("hotswap {}", command.get_name())),
                code(&format!("hotswap {}", long.unwrap_or_default())),
            ]
        })
        .collect();
    table(out, &["Short form", "Long form"], &rows);
}

fn write_environment_variables(out: &mut String) {
    let text = "`hotswap serve` reads further variables as keys of its configuration, see \
        [CONFIGURATION.md](CONFIGURATION.md).";
    heading(out, 2, "Environment variables", text);
    let rows: Vec<_> = DESCRIPTIONS
        .iter()
        .map(|(name, description)| vec![code(name), (*description).to_owned()])
        .collect();
    table(out, &["Variable", "What it does"], &rows);
    let text = "`hotswap serve`, `hotswap node run` and `hotswap dev` read these of \
        [OpenTelemetry](OBSERVABILITY.md).";
    heading(out, 3, "Traces and metrics", text);
    let rows: Vec<_> = telemetry::VARIABLES
        .iter()
        .map(|(name, description)| vec![code(name), (*description).to_owned()])
        .collect();
    table(out, &["Variable", "What it does"], &rows);
}

fn write_exit_codes(out: &mut String) {
    let text = "Every command ends with one of these codes. Codes and reasons never change their \
        meaning; later versions may add some.";
    heading(out, 2, "Exit codes", text);
    let row = |exit: &Exit| {
        let number = exit.code().to_string();
        vec![number, code(exit.reason()), exit.meaning().to_owned()]
    };
    let rows: Vec<_> = Exit::ALL.iter().map(row).collect();
    table(out, &["Code", "Reason", "Meaning"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_and_option_is_listed() {
        fn check(command: &Command, text: &str) {
            for argument in command.get_arguments() {
                if let Some(long) = argument.get_long().filter(|_| !argument.is_hide_set()) {
                    assert!(text.contains(&format!("--{long}")), "{long}");
                }
            }
            for subcommand in command.get_subcommands() {
                if !subcommand.is_hide_set() {
                    assert!(text.contains(subcommand.get_name()), "{subcommand}");
                    check(subcommand, text);
                }
            }
        }
        check(&Cli::command(), &generate().replace("`--version`", ""));
    }

    #[test]
    fn every_short_form_names_a_command() {
        let mut cli = Cli::command();
        cli.build();
        let short_forms = ShortForm::augment_subcommands(Command::new("hotswap"));
        for short in short_forms.get_subcommands() {
            let about = short.get_about().unwrap().to_string();
            let long = about.split('`').nth(1).unwrap();
            let mut command = &cli;
            for word in long.split(' ') {
                command = command.find_subcommand(word).unwrap();
            }
            let options = |command: &Command| -> Vec<String> {
                let arguments = command.get_arguments();
                arguments
                    .filter(|argument| !argument.is_global_set())
                    .map(|argument| argument.get_id().to_string())
                    .filter(|id| id != "help" && id != "version")
                    .collect()
            };
            assert_eq!(options(short), options(command), "{long}");
        }
    }

    #[test]
    fn every_variable_of_an_option_is_described() {
        fn check(command: &Command) {
            for argument in command.get_arguments() {
                if let Some(name) = argument.get_env() {
                    let is_described = DESCRIPTIONS.iter().any(|(known, _)| name == *known);
                    assert!(is_described, "{name:?}");
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
