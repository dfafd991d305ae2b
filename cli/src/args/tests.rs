use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("hotswap").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_guide_parses() {
    for line in [
        "dev",
        "dev --port 0 --dir x --rate 0 --for 30s --json",
        "serve",
        "serve --config hotswap.toml --listen 127.0.0.1:0 --data-dir x --log-format json",
        "node --environment qa --engine http://127.0.0.1:5000 --id n --data 127.0.0.1:0 \
            --control 127.0.0.1:0 --dir x --token-file t --zone a --label rack=1 --label tier=b",
        "module push hello@1.0.0 hello.wasm",
        "module list",
        "module list hello --json",
        "deploy hello -e production",
        "deploy hello@2.0.0 --environment production --strategy canary --config soak=10s \
            --config steps=[10,100] --config-file f.json --description d --metadata a=b \
            --require-approval --email a@example.org --watch --timeout 10m --json",
        "deploy hello@2.0.0 -e qa --wait --through-approval",
        &format!("get {ID}"),
        "list -m hello -e qa --status rolledBack -n 5",
        &format!("watch {ID} --timeout 1h --no-color"),
        &format!("pause {ID}"),
        &format!("resume {ID}"),
        &format!("abort {ID} --reason because"),
        &format!("approve {ID} --comment fine"),
        &format!("reject {ID}"),
        &format!("rollback {ID} --watch"),
        "strategy list",
        "strategy show canary",
        "strategy push halves.wasm",
        "strategy delete halves",
        "nodes --environment qa",
        "token",
        "token --role admin --subject ada --expires 1h --config hotswap.toml --json",
        "dev --cors-origin http://localhost:3000 --cors-origin https://example.org",
        "serve --cors-origin http://localhost:3000 --cors-origin https://example.org",
        "completions bash",
        "openapi",
        "node-openapi",
        "--server http://127.0.0.1:1 --token x nodes",
        "nodes --server http://127.0.0.1:1 --token x",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (line, kind, word) in [
        (
            "",
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            "Usage",
        ),
        (
            "deploy hello@2.0.0",
            ErrorKind::MissingRequiredArgument,
            "--environment",
        ),
        (
            "deploy hello@2 -e qa",
            ErrorKind::ValueValidation,
            "semantic version",
        ),
        (
            "deploy Hello -e qa",
            ErrorKind::ValueValidation,
            "lower-case",
        ),
        (
            "deploy hello -e qa --config soak",
            ErrorKind::ValueValidation,
            "key=value",
        ),
        (
            "deploy hello -e qa --watch --wait",
            ErrorKind::ArgumentConflict,
            "--wait",
        ),
        (
            "deploy hello -e qa --timeout soon",
            ErrorKind::ValueValidation,
            "--timeout",
        ),
        (
            "module push hello x.wasm",
            ErrorKind::ValueValidation,
            "hello@1.0.0",
        ),
        ("get 17", ErrorKind::ValueValidation, "UUID"),
        (
            "list --status done",
            ErrorKind::ValueValidation,
            "rolledBack",
        ),
        ("list -n 0", ErrorKind::ValueValidation, "0"),
        (
            "nodes --token x --token-file y",
            ErrorKind::ArgumentConflict,
            "--token-file",
        ),
        ("node", ErrorKind::MissingRequiredArgument, "--environment"),
        (
            "serve --cors-origin http://localhost:3000/",
            ErrorKind::ValueValidation,
            "without a path",
        ),
        (
            "dev --cors-origin *",
            ErrorKind::ValueValidation,
            "http://localhost:3000",
        ),
        (
            "token --role root",
            ErrorKind::ValueValidation,
            "viewer, operator or admin",
        ),
        (
            "token --expires soon",
            ErrorKind::ValueValidation,
            "--expires",
        ),
        ("undo", ErrorKind::InvalidSubcommand, "undo"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert!(error.to_string().contains(word), "{line}: {error}");
        if kind != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            assert_eq!(
                error.exit_code(),
                i32::from(crate::exit::Exit::Usage.code())
            );
        }
    }
}

#[test]
fn every_option_is_explained() {
    fn look(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(
                argument.get_help().is_some(),
                "{}: {name}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}
