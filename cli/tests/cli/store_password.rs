//! The password of a store that engines share is changed while an engine runs.

use std::fs;

use hotswap_tests::{RedisKind, RedisServer};
use rustix::process::Signal;

use crate::server::Server;
use crate::support::{get, run, wait_for};

#[test]
fn after_sighup_new_connections_use_the_password_that_is_in_the_file_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = RedisServer::start(RedisKind::Redis).unwrap();
    let user = |rules: &[&str]| {
        let command = [&["ACL", "SETUSER", "hotswap"], rules].concat();
        let answer = store.command(&command).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    };
    user(&["on", ">swordfish", "~*", "&*", "+@all"]);
    fs::write(path.join("password"), "swordfish\n").unwrap();
    let config = format!(
        "[store]\nurl = \"{}\"\nusername = \"hotswap\"\npasswordFile = \"password\"\n\
         patience = \"1s\"\n",
        store.url()
    );
    fs::write(path.join("hotswap.toml"), config).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let is_ready = || get(&server, "/health/ready").starts_with("HTTP/1.1 200");
    assert!(is_ready());

    user(&["resetpass", ">mackerel"]);
    let killed = store.command(&["CLIENT", "KILL", "USER", "hotswap"]);
    assert!(killed.unwrap().starts_with(':'));
    wait_for("the store refuses the engine", || {
        (!is_ready()).then_some(())
    });

    fs::write(path.join("password"), "mackerel\n").unwrap();
    engine.signal(Signal::HUP);
    wait_for("the engine is ready again", || is_ready().then_some(()));
    let log = engine.log();
    let message = "the password or the certificate for the store was read again";
    assert!(log.contains(message), "{log}");
    for password in ["swordfish", "mackerel"] {
        assert!(!log.contains(password), "{log}");
    }
    fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    let client = ["--server", &server, "--token-file", "engine/token"];
    let upload = ["module", "upload", "hello@1.0.0", "hello.wasm"];
    let outcome = run(path, &[client, upload].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    // A file without a password changes nothing, and is reported. No signal is needed.
    fs::write(path.join("password"), "\n").unwrap();
    wait_for("the file is reported", || {
        engine.log().contains("cannot be used").then_some(())
    });
    assert!(is_ready());
    engine.stop();
}
