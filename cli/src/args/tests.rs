use std::ffi::OsString;

use clap::error::ErrorKind;

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn parse(line: &str) -> Result<Cli, Rejection> {
    let words = std::iter::once("hotswap").chain(line.split_whitespace());
    Cli::parse_line(words.map(OsString::from).collect())
}

/// The parsed command, with short forms expanded.
fn command(line: &str) -> String {
    match parse(line) {
        Ok(cli) => match cli.command {
            Command::ShortForm(short) => format!("{:?}", short.expand()),
            command => format!("{command:?}"),
        },
        Err(rejection) => panic!("{line}: {}", rejection.error()),
    }
}

#[test]
fn the_definition_is_valid() {
    Cli::command().debug_assert();
}

#[test]
fn every_noun_and_verb_parses() {
    for line in [
        "deployment create hello -e production",
        "deployment create hello@2.0.0 --environment production --strategy canary \
            --set soak=10s --set steps=[10,100] --config-file f.json --description d \
            --metadata a=b --require-approval --email a@example.org --watch --timeout 10m --json",
        "deployment create hello@2.0.0 -e qa --wait --through-approval",
        "deployment list -m hello -e qa --status rolledBack -n 5",
        &format!("deployment get {ID}"),
        &format!("deployment watch {ID} --timeout 1h --no-color"),
        &format!("deployment events {ID} --after 3 --json"),
        &format!("deployment events {ID} --follow --timeout 1h"),
        &format!("deployment pause {ID}"),
        &format!("deployment resume {ID}"),
        &format!("deployment abort {ID} --reason because"),
        &format!("deployment approve {ID} --comment fine"),
        &format!("deployment reject {ID}"),
        &format!("deployment rollback {ID} --watch"),
        &format!("deployment promote {ID} --full --reason fine"),
        &format!("deployment retry {ID} --wait"),
        &format!("deployment diff {ID}"),
        &format!("deployment diff {ID} {ID}"),
        "deployment create hello -e qa --supersede",
        "module history hello -e qa -n 5 --json",
        "module undo hello -e qa --to 1.0.0 --wait",
        &format!("module undo hello -e qa --to {ID}"),
        "module upload hello@1.0.0 hello.wasm",
        "module list",
        "module list hello --json",
        "module get hello",
        "module get hello@1.0.0",
        "strategy upload halves.wasm",
        "strategy list",
        "strategy get canary",
        "strategy delete halves",
        "environment list",
        "store usage",
        "environment get production --json",
        "node list --environment qa",
        "node get dev-1",
        "node delete dev-1",
        "node forget dev-1 --reason gone",
        "node cordon dev-1 --reason disk",
        "node drain dev-1 --force --wait --timeout 30s --json",
        "node uncordon dev-1",
        "environment events qa --follow --limit 5 --json",
        "node run --environment qa --engine http://127.0.0.1:5000 --id n --data 127.0.0.1:0 \
            --control 127.0.0.1:0 --data-dir x --token-file t --zone a --label rack=1 \
            --label tier=b --log-format json --with-parent --advertise host",
        "dev",
        "dev --port 0 --data-dir x --rate 0 --for 30s --json",
        "dev --cors-origin http://localhost:3000 --cors-origin https://example.org",
        "serve",
        "serve --config hotswap.toml --listen 127.0.0.1:0 --data-dir x --log-format json \
            --node-token-file t",
        "serve -c hotswap.toml",
        "serve --cors-origin http://localhost:3000 --cors-origin https://example.org",
        "token",
        "token --role admin --subject ada --expires 1h --config hotswap.toml --json",
        "token -c hotswap.toml",
        "completions bash",
        "openapi",
        "node-openapi",
        "reference cli",
        "reference configuration",
        "reference example",
        "--server http://127.0.0.1:1 --token x node list",
        "node list --server http://127.0.0.1:1 --token x",
        "node --server http://127.0.0.1:1 --json list",
        "deployment --json list",
    ] {
        command(line);
    }
}

#[test]
fn older_forms_mean_the_same_as_the_noun_and_verb() {
    let run = "node run --environment qa --engine http://127.0.0.1:5000 --id n --data \
        127.0.0.1:0 --control 127.0.0.1:0 --data-dir x --token-file t --zone a --label rack=1";
    let old_run = run
        .replace("node run", "node")
        .replace("--data-dir", "--dir");
    for (old, new) in [
        (
            "deploy hello -e production",
            "deployment create hello -e production",
        ),
        (
            &format!("promote {ID} --full"),
            &format!("deployment promote {ID} --full"),
        ),
        (
            &format!("retry {ID} --watch"),
            &format!("deployment retry {ID} --watch"),
        ),
        (
            "deploy hello@2.0.0 --environment qa -s canary --config soak=10s -c batch=1 \
                --config steps=[10,100] --config-file f.json -d d --metadata a=b --wait",
            "deployment create hello@2.0.0 --environment qa -s canary --set soak=10s \
                --set batch=1 --set steps=[10,100] --config-file f.json -d d --metadata a=b --wait",
        ),
        ("list", "deployment list"),
        (
            "list -m hello -e qa --status running -n 5",
            "deployment list -m hello -e qa --status running -n 5",
        ),
        (&format!("get {ID}"), &format!("deployment get {ID}")),
        (
            &format!("watch {ID} --timeout 1h --through-approval --through-pause"),
            &format!("deployment watch {ID} --timeout 1h --through-approval --through-pause"),
        ),
        (&format!("pause {ID}"), &format!("deployment pause {ID}")),
        (&format!("resume {ID}"), &format!("deployment resume {ID}")),
        (
            &format!("abort {ID} --reason because"),
            &format!("deployment abort {ID} --reason because"),
        ),
        (
            &format!("approve {ID} --comment fine"),
            &format!("deployment approve {ID} --comment fine"),
        ),
        (&format!("reject {ID}"), &format!("deployment reject {ID}")),
        (
            &format!("rollback {ID} --watch"),
            &format!("deployment rollback {ID} --watch"),
        ),
        ("nodes -e qa", "node list -e qa"),
        ("nodes", "node list"),
        (
            "module push hello@1.0.0 a.wasm",
            "module upload hello@1.0.0 a.wasm",
        ),
        ("strategy push a.wasm", "strategy upload a.wasm"),
        ("strategy show canary", "strategy get canary"),
        ("dev --dir x", "dev --data-dir x"),
        (&old_run, run),
        ("node -e qa", "node run -e qa"),
        ("node --token x -e qa", "node run --token x -e qa"),
        (
            "--token=x node -e qa --json",
            "--token=x node run -e qa --json",
        ),
        (
            "--json node --token-file t --dir x -e qa",
            "--json node run --token-file t --dir x -e qa",
        ),
    ] {
        assert_eq!(command(old), command(new), "{old}");
    }
}

#[test]
fn rejected_command_lines_name_the_reason() {
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
            "deployment create hello@2 -e qa",
            ErrorKind::ValueValidation,
            "semantic version",
        ),
        (
            "deploy Hello -e qa",
            ErrorKind::ValueValidation,
            "lower-case",
        ),
        (
            "deploy hello -e qa --set soak",
            ErrorKind::ValueValidation,
            "key=value",
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
            "module upload hello x.wasm",
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
            "node --token x",
            ErrorKind::MissingRequiredArgument,
            "--environment",
        ),
        ("node lst", ErrorKind::InvalidSubcommand, "list"),
        ("node --help", ErrorKind::DisplayHelp, "run"),
        ("node --json -h", ErrorKind::DisplayHelp, "run"),
        ("node run --help", ErrorKind::DisplayHelp, "--control"),
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
            &format!("watch {ID} --timeout 500000000000y"),
            ErrorKind::ValueValidation,
            "1ms to 1year",
        ),
        ("token --expires 0s", ErrorKind::ValueValidation, "at once"),
        (
            &format!("deployment events {ID} --timeout 1h"),
            ErrorKind::MissingRequiredArgument,
            "--follow",
        ),
        (
            "token --expires soon",
            ErrorKind::ValueValidation,
            "--expires",
        ),
        ("undo", ErrorKind::InvalidSubcommand, "undo"),
        (
            "module undo hello -e qa --to newest",
            ErrorKind::ValueValidation,
            "id of a deployment",
        ),
    ] {
        let rejection = parse(line).expect_err(line);
        let error = rejection.error();
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert!(error.to_string().contains(word), "{line}: {error}");
        if error.use_stderr() && kind != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()));
        }
    }
}

#[test]
fn every_option_and_command_has_help() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{}: {}",
                command.get_name(),
                argument.get_id()
            );
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn errors_quote_only_the_start_of_a_long_argument() {
    let long = "ü".repeat(60_000);
    for line in [
        format!("get {long}"),
        format!("{long} list"),
        format!("list --{long}"),
        format!("list --status {long}"),
        format!("list -n {long}"),
        format!("deploy hello@{long} -e qa"),
        format!("serve --cors-origin {long}"),
        format!("serve --listen {long}"),
        format!("token --role {long}"),
        format!("watch {ID} --timeout {long}"),
        format!("deploy hello -e qa --metadata {long}"),
        format!("completions {long}"),
    ] {
        let rejection = parse(&line).unwrap_err();
        let text = rejection.error().to_string();
        assert!(text.len() < 2000, "{}: {text}", text.len());
    }
}

#[test]
fn waits_of_nobody_end_and_waits_of_a_person_do_not() {
    let patience = Patience::default();
    assert_eq!(patience.time_limit(true), None);
    assert_eq!(patience.pause_limit(true), None);
    let minutes = |minutes: u64| Some(std::time::Duration::from_secs(60 * minutes));
    assert_eq!(patience.time_limit(false), minutes(50));
    assert!(patience.pause_limit(false) < minutes(1));
    let patience = Patience {
        timeout: minutes(1),
        through_pause: true,
        ..patience
    };
    assert_eq!(patience.time_limit(true), minutes(1));
    assert_eq!(patience.time_limit(false), minutes(1));
    assert_eq!(patience.pause_limit(false), None);
}
