use std::time::{Duration, Instant};

use hotswap_guests::{HELLO_V1, MODULE_PROBE};
use hotswap_node::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_harms_no_other() {
    let bed = Bed::new().await;
    bed.run("1.0.0", MODULE_PROBE).await;
    let slow = bed.client.get(bed.data("/drip/10")).send().await.unwrap();
    for path in ["/trap", "/silent"] {
        let answer = bed.client.get(bed.data(path)).send().await.unwrap();
        assert_eq!(answer.status(), 500, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["x-hotswap-version"], "1.0.0");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["type"], "urn:hotswap:problem:module-failed");
        assert_eq!(bed.get("/fine").await, (200, "/fine".to_owned()));
    }
    assert!(slow.text().await.unwrap().ends_with("9\n"));
    let counters = bed.counters().await;
    assert_eq!((counters.requests, counters.errors), (5, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let bed = Bed::new().await;
    bed.run("1.0.0", MODULE_PROBE).await;
    // Seldom the trap comes before the head has gone out: then it can be told as 500.
    let answer = bed.client.get(bed.data("/trap-late")).send().await.unwrap();
    if answer.status() == 200 {
        assert!(answer.text().await.is_err(), "half an answer is none");
    } else {
        assert_eq!(answer.status(), 500);
    }
    until("counted", async || bed.counters().await.errors == 1).await;
    assert_eq!(bed.get("/fine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_limited_whether_a_module_computes_or_waits() {
    let bed = Bed::with(Limits {
        request_time: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    bed.run("1.0.0", MODULE_PROBE).await;
    for path in ["/spin", "/sleep/20000"] {
        let began = Instant::now();
        // Others are answered meanwhile, although there are two threads for two loops.
        let (one, two, fine) = tokio::join!(bed.get(path), bed.get(path), bed.get("/fine"));
        assert_eq!((one.0, two.0, fine.0), (504, 504, 200), "{path}");
        assert!(
            one.1.contains("urn:hotswap:problem:module-time"),
            "{}",
            one.1
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{path}");
    }
    // Both loops computed for as long as they might, less what others had of the threads.
    let cpu = Duration::from_micros(bed.counters().await.cpu_micros);
    let both = Duration::from_millis(50)..Duration::from_millis(700);
    assert!(both.contains(&cpu), "{cpu:?}");
    // An answer that has begun is broken off.
    let drip = bed.client.get(bed.data("/drip/1000")).send().await.unwrap();
    assert_eq!(drip.status(), 200);
    assert!(drip.text().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_limited() {
    let bed = Bed::with(Limits {
        memory: 32 << 20,
        ..Limits::default()
    })
    .await;
    bed.run("1.0.0", MODULE_PROBE).await;
    assert_eq!(bed.get("/memory/16").await.0, 200);
    let (status, body) = bed.get("/memory/48").await;
    assert_eq!(status, 500);
    assert!(body.contains("more memory"), "{body}");
    assert_eq!(bed.get("/memory/16").await.0, 200);

    let bed = Bed::with(Limits {
        memory: 64 << 10,
        ..Limits::default()
    })
    .await;
    let version = bed.engine.push("1.0.0", HELLO_V1);
    let detail = bed.refused(422, "refused", &stage(&version)).await;
    assert!(detail.contains("does not start"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_limited() {
    let bed = Bed::with(Limits {
        concurrency: 2,
        queue_time: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    bed.run("1.0.0", MODULE_PROBE).await;
    // Their heads are here: two instances are running.
    let one = bed.client.get(bed.data("/drip/40")).send().await.unwrap();
    let two = bed.client.get(bed.data("/drip/40")).send().await.unwrap();
    let busy = bed.client.get(bed.data("/fine")).send().await.unwrap();
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "1");
    let body: serde_json::Value = busy.json().await.unwrap();
    assert_eq!(body["type"], "urn:hotswap:problem:module-busy");
    one.text().await.unwrap();
    two.text().await.unwrap();
    assert_eq!(bed.get("/fine").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_instances_than_the_pool_has_run_beside_it() {
    let bed = Bed::with(Limits {
        concurrency: 2000,
        ..Limits::default()
    })
    .await;
    bed.run("1.0.0", MODULE_PROBE).await;
    let requests: Vec<_> = (0..1100)
        .map(|_| {
            let request = bed.client.get(bed.data("/sleep/3000"));
            tokio::spawn(async move { request.send().await.unwrap().status() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(bed.counters().await.errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_dawdle_are_cut_off() {
    let bed = Bed::with(Limits {
        header_time: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    bed.run("1.0.0", HELLO_V1).await;
    for addr in [bed.node.data_addr(), bed.node.control_addr()] {
        for begun in [&b""[..], b"P", b"GET /hello HTTP/1.1\r\nhost: a\r\nx: "] {
            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            stream.write_all(begun).await.unwrap();
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest);
            let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
            assert!(
                ended.is_ok(),
                "{:?} is waited for",
                String::from_utf8_lossy(begun)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_orders_have_a_largest_size() {
    let bed = Bed::new().await;
    bed.run("1.0.0", HELLO_V1).await;
    let request = bed
        .client
        .get(bed.data("/"))
        .header("x", "x".repeat(100_000));
    assert_eq!(request.send().await.unwrap().status(), 431);

    let url = bed.control(&format!("/v1/modules/{MODULE}/operations/large"));
    let body = format!("{{\"deployment\":\"{}\"}}", "x".repeat(100_000));
    let request = bed.client.put(url).bearer_auth(TOKEN).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(bed.get("/").await.0, 200);
}
