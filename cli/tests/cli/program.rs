//! Commands that need no engine: usage errors, documents, tokens.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{hotswap, run};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn usage_errors_end_with_2_and_name_the_reason() {
    let folder = folder();
    for (args, word) in [
        (&["deploy", "hello"][..], "--environment"),
        (&["--server", "nowhere", "list"], "http://127.0.0.1:5000"),
        (&["--client-key", "key.pem", "list"], "--client-cert"),
        (&["node", "-e", "qa"], "HOTSWAP_NODE_TOKEN"),
        (&["node", "run", "-e", "qa"], "HOTSWAP_NODE_TOKEN"),
        (&["node", "run"], "--environment"),
        (&["serve", "--listen", "0.0.0.0:0"], "token"),
        (&["serve", "--cors-origin", "*"], "http://localhost:3000"),
        (&["token", "--expires", "0s"], "at once"),
        (&["token", "--server", "nowhere"], "http://127.0.0.1:5000"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let outcome = run(folder.path(), args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(outcome.err.contains(word), "{args:?}: {outcome:?}");
        assert_eq!(outcome.out, "", "{args:?}");
    }
}

#[test]
fn an_unreachable_engine_is_an_error_with_advice() {
    let folder = folder();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = run(
        folder.path(),
        &["--server", &format!("http://{free}"), "list"],
    );
    assert_eq!(outcome.code, Some(8), "{outcome:?}");
    assert!(
        outcome
            .err
            .contains(&format!("no engine answers at http://{free}")),
        "{outcome:?}"
    );
    assert!(
        outcome.err.contains("`hotswap dev`") && outcome.err.contains("--server"),
        "{outcome:?}"
    );
}

#[test]
fn an_invalid_configuration_is_rejected_before_anything_starts() {
    let folder = folder();
    std::fs::write(
        folder.path().join("hotswap.toml"),
        "[environments.qa]\nmaxUnavailble = 1\n",
    )
    .unwrap();
    let outcome = run(folder.path(), &["serve"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for word in ["maxUnavailble", "maxUnavailable", "hotswap.toml"] {
        assert!(outcome.err.contains(word), "{word}: {outcome:?}");
    }
    assert!(!folder.path().join(".hotswap").exists());
}

#[test]
fn tokens_are_signed_with_the_secret_of_the_configuration() {
    let folder = folder();
    let outcome = run(folder.path(), &["token"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for word in ["hotswap dev", "hotswap.toml", "[jwt]", "secretFile"] {
        assert!(outcome.err.contains(word), "{word}: {outcome:?}");
    }
    let write = |algorithm: &str, key: &str| {
        let text = format!(
            "[jwt]\nalgorithm = \"{algorithm}\"\n{key}\nissuer = \"i\"\naudience = \"a\"\n"
        );
        std::fs::write(folder.path().join("hotswap.toml"), text).unwrap();
    };
    write("HS256", "secretFile = \"secret\"");
    let outcome = run(folder.path(), &["token"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.err.contains("cannot read the key in secret"),
        "{outcome:?}"
    );

    std::fs::write(folder.path().join("secret"), "0123456789abcdef".repeat(2)).unwrap();
    let outcome = run(
        folder.path(),
        &["token", "--role", "Deployer", "--expires", "1h"],
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.out.trim().split('.').count(), 3, "{outcome:?}");
    for word in ["tester@example.org", "operator", "1h"] {
        assert!(outcome.err.contains(word), "{word}: {outcome:?}");
    }
    assert!(!outcome.err.contains(outcome.out.trim()), "{outcome:?}");
    let outcome = run(folder.path(), &["token", "--subject", "ada", "--json"]);
    let record: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(record["subject"], "ada");
    assert_eq!(record["role"], "viewer");
    assert!(record["expiresAt"].is_u64() && record["token"].is_string());
    let outcome = run(folder.path(), &["token", "--subject", "api-token"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("api-token"), "{outcome:?}");

    write("EdDSA", "publicKeyFile = \"key.pem\"");
    let outcome = run(folder.path(), &["token"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("ask the issuer i"), "{outcome:?}");
}

#[test]
fn documents_and_completions_are_printed() {
    let folder = folder();
    for command in ["openapi", "node-openapi"] {
        let outcome = run(folder.path(), &[command]);
        let document: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3."),
            "{command}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(folder.path(), &["completions", shell]);
        assert!(outcome.out.contains("rollback"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_prints_no_error() {
    let folder = folder();
    let mut child = hotswap(folder.path(), &["openapi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    child.wait().unwrap();
    assert_eq!(errors, "");
}

#[test]
fn references_are_printed() {
    let folder = folder();
    for (document, word) in [
        ("cli", "hotswap deployment create"),
        ("configuration", "HOTSWAP_LISTEN"),
        ("example", "maxUnavailable"),
    ] {
        let outcome = run(folder.path(), &["reference", document]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.out.contains(word), "{outcome:?}");
    }
}
