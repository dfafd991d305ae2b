//! Requests whose answer is lost on its way.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::server::Fleet;
use crate::support::run;

/// Passes connections on to the engine. Loses the first answers to a POST: the engine has done
/// what was asked, and the client does not learn it.
struct LossyProxy {
    url: String,
    lost: Arc<AtomicUsize>,
}

impl LossyProxy {
    fn start(engine: &str, losses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine = engine.trim_start_matches("http://").to_owned();
        let lost = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&lost);
        // Ends with the process of the tests.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, count) = (engine.clone(), Arc::clone(&count));
                thread::spawn(move || pass_on(client, &engine, &count, losses));
            }
        });
        Self { url, lost }
    }
}

fn pass_on(mut client: TcpStream, engine: &str, lost: &AtomicUsize, losses: usize) {
    let mut engine = TcpStream::connect(engine).unwrap();
    let mut request = vec![0; 64 << 10];
    let length = client.read(&mut request).unwrap();
    let is_post = request.starts_with(b"POST");
    engine.write_all(&request[..length]).unwrap();
    if is_post && lost.load(Ordering::SeqCst) < losses {
        // Wait for the answer, so that the request has been carried out.
        let answered = engine.read(&mut request).unwrap();
        assert!(answered > 0);
        lost.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let (mut from_client, mut to_engine) =
        (client.try_clone().unwrap(), engine.try_clone().unwrap());
    let upload = thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_engine);
        let _ = to_engine.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut engine, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = upload.join();
}

#[test]
fn a_deployment_whose_answer_was_lost_is_created_once() {
    let fleet = Fleet::start();
    fleet.upload("hello");
    let proxy = LossyProxy::start(&fleet.server, 2);
    let through_proxy = ["--server", &proxy.url, "--token-file", "engine/token"];
    let deploy = ["deploy", "hello", "-e", "qa", "--json"];
    let outcome = run(fleet.folder.path(), &[&through_proxy[..], &deploy].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let created = outcome.report();
    assert_eq!(proxy.lost.load(Ordering::SeqCst), 2);
    let listed = fleet.json(&["list"]);
    let deployments = listed.as_array().unwrap();
    assert_eq!(deployments.len(), 1, "{listed}");
    assert_eq!(deployments[0]["executionId"], created["executionId"]);
}
