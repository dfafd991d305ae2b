//! Policies from a file.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Dev, hotswap};

#[test]
fn a_file_of_policies_is_applied_once() {
    let dev = Dev::start(&["--rate", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.toml");
    std::fs::write(
        &file,
        "[environments.production]\nmaxUnavailable = \"25%\"\ndeadline = \"2h\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let planned = dev.run(&["apply", "-f", file, "--dry-run"]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.out.contains("would be set"), "{planned:?}");
    assert!(
        planned.out.contains("maxUnavailable: 50% -> 25%"),
        "{planned:?}"
    );
    let applied = dev.json(&["apply", "-f", file, "--reason", "more care"]);
    assert_eq!(applied["state"], "applied");
    assert_eq!(applied["changed"], serde_json::json!(["production"]));
    let again = dev.run(&["apply", "-f", file]);
    assert!(again.out.contains("is so already"), "{again:?}");
    let environment = dev.run(&["environment", "get", "production"]);
    assert!(environment.out.contains("25%"), "{environment:?}");
    let events = dev.run(&["environment", "events", "production"]);
    assert!(events.out.contains("more care"), "{events:?}");

    // A selector is part of it.
    let with_selector = "[environments.production]\nmaxUnavailable = \"25%\"\ndeadline = \"2h\"\n\
        selector = \"zone in (eu)\"\n";
    std::fs::write(file, with_selector).unwrap();
    for (arguments, expected) in [
        (&["--dry-run"][..], "selector: none -> zone=eu"),
        (&[], "selector: none -> zone=eu"),
        (&["--dry-run"], "is so already"),
        (&[], "is so already"),
    ] {
        let applied = dev.run(&[&["apply", "-f", file], arguments].concat());
        assert!(applied.out.contains(expected), "{arguments:?}: {applied:?}");
    }
    let environment = dev.run(&["environment", "get", "production"]);
    assert!(environment.out.contains("zone=eu"), "{environment:?}");

    std::fs::write(file, "listen = \"127.0.0.1:0\"\n").unwrap();
    let refused = dev.run(&["apply", "-f", file]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("listen"), "{refused:?}");
}

type BeforePut = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Passes connections on to the engine. Before the first PUT, does something else.
fn start_proxy(engine: &str, before_put: impl FnOnce() + Send + 'static) -> String {
    let before_put: BeforePut = Arc::new(Mutex::new(Some(Box::new(before_put))));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let engine = engine.trim_start_matches("http://").to_owned();
    // Ends with the process of the tests.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = TcpStream::connect(&engine).unwrap();
            let mut from_engine = engine.try_clone().unwrap();
            let mut to_client = client.try_clone().unwrap();
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_engine, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            let before_put = Arc::clone(&before_put);
            thread::spawn(move || pass_on(client, engine, &before_put));
        }
    });
    url
}

fn pass_on(mut client: TcpStream, mut engine: TcpStream, before_put: &BeforePut) {
    let mut request = vec![0; 64 << 10];
    while let Ok(length @ 1..) = client.read(&mut request) {
        if request.starts_with(b"PUT") {
            let before_put = before_put.lock().unwrap().take();
            if let Some(before_put) = before_put {
                before_put();
            }
        }
        engine.write_all(&request[..length]).unwrap();
    }
    let _ = engine.shutdown(Shutdown::Write);
}

#[test]
fn a_policy_that_somebody_changes_meanwhile_stays_as_it_is() {
    let dev = Dev::start(&["--rate", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, deadline: &str| {
        let file = folder.path().join(name);
        let text = format!("[environments.production]\ndeadline = \"{deadline}\"\n");
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (own, other) = (write("own.toml", "2h"), write("other.toml", "3h"));
    let dev_folder = dev.folder.path().to_owned();
    let server = std::fs::read_to_string(dev_folder.join(".hotswap/dev/server")).unwrap();
    let proxy = start_proxy(server.trim(), move || {
        let applied = hotswap(&dev_folder, &["apply", "-f", &other])
            .output()
            .unwrap();
        assert!(applied.status.success(), "{applied:?}");
    });
    let through_proxy = ["--server", &proxy, "--token-file", ".hotswap/dev/token"];
    let apply = ["apply", "-f", &own, "--json"];
    let refused = dev.run(&[&through_proxy[..], &apply].concat());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let report = refused.report();
    let message = report["message"].as_str().unwrap();
    assert!(message.contains("has been changed since"), "{report}");
    let environment = dev.run(&["environment", "get", "production"]);
    assert!(environment.out.contains("3h"), "{environment:?}");
}
