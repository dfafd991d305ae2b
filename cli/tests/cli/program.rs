//! The program where no engine is needed: usage, errors, documents.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{hotswap, run};

fn here() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn usage_errors_end_with_2_and_say_what_is_wrong() {
    let folder = here();
    for (args, word) in [
        (&["deploy", "hello"][..], "--environment"),
        (&["--server", "nowhere", "list"], "http://127.0.0.1:5000"),
        (&["--server", "https://engine", "list"], "HTTPS"),
        (&["node", "-e", "qa"], "HOTSWAP_NODE_TOKEN"),
        (&["serve", "--listen", "0.0.0.0:0"], "token"),
        (&["serve", "--cors-origin", "*"], "http://localhost:3000"),
        (&["token", "--expires", "0s"], "at once"),
        (&["token", "--server", "nowhere"], "http://127.0.0.1:5000"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let said = run(folder.path(), args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.err.contains(word), "{args:?}: {said:?}");
        assert_eq!(said.out, "", "{args:?}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_an_error_with_advice() {
    let folder = here();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = run(
        folder.path(),
        &["--server", &format!("http://{free}"), "list"],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err
            .contains(&format!("no engine answers at http://{free}")),
        "{said:?}"
    );
    assert!(
        said.err.contains("`hotswap dev`") && said.err.contains("--server"),
        "{said:?}"
    );
}

#[test]
fn a_configuration_that_does_not_fit_is_refused_before_anything_starts() {
    let folder = here();
    std::fs::write(
        folder.path().join("hotswap.toml"),
        "[environments.qa]\nmaxUnavailble = 1\n",
    )
    .unwrap();
    let said = run(folder.path(), &["serve"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["maxUnavailble", "maxUnavailable", "hotswap.toml"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert!(!folder.path().join(".hotswap").exists());
}

#[test]
fn a_token_is_signed_with_the_secret_of_the_configuration() {
    let folder = here();
    let said = run(folder.path(), &["token"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["hotswap dev", "hotswap.toml", "[jwt]", "secretFile"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    let write = |algorithm: &str, key: &str| {
        let text = format!(
            "[jwt]\nalgorithm = \"{algorithm}\"\n{key}\nissuer = \"i\"\naudience = \"a\"\n"
        );
        std::fs::write(folder.path().join("hotswap.toml"), text).unwrap();
    };
    write("HS256", "secretFile = \"secret\"");
    let said = run(folder.path(), &["token"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains("cannot read the key in secret"),
        "{said:?}"
    );

    std::fs::write(folder.path().join("secret"), "0123456789abcdef".repeat(2)).unwrap();
    let said = run(
        folder.path(),
        &["token", "--role", "Deployer", "--expires", "1h"],
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.trim().split('.').count(), 3, "{said:?}");
    for word in ["tester@example.org", "operator", "1h"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert!(!said.err.contains(said.out.trim()), "{said:?}");
    let said = run(folder.path(), &["token", "--subject", "ada", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["subject"], "ada");
    assert_eq!(told["role"], "viewer");
    assert!(told["expiresAt"].is_u64() && told["token"].is_string());
    let said = run(folder.path(), &["token", "--subject", "api-token"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("api-token"), "{said:?}");

    write("EdDSA", "publicKeyFile = \"key.pem\"");
    let said = run(folder.path(), &["token"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("ask the issuer i"), "{said:?}");
}

#[test]
fn documents_and_completions_are_printed() {
    let folder = here();
    for command in ["openapi", "node-openapi"] {
        let said = run(folder.path(), &[command]);
        let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(
            document["openapi"].as_str().unwrap().starts_with("3."),
            "{command}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = run(folder.path(), &["completions", shell]);
        assert!(said.out.contains("rollback"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault_to_tell_of() {
    let folder = here();
    let mut child = hotswap(folder.path(), &["openapi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    child.wait().unwrap();
    assert_eq!(told, "");
}
