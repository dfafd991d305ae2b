//! What a module says of its own metrics is counted, and its clients do not see it.

use hotswap_guests::MODULE_PROBE;
use hotswap_node::Limits;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_that_a_module_names_are_counted_and_hidden() {
    let node = TestNode::start_with(Limits::default()).await;
    node.activate("1.0.0", MODULE_PROBE).await;
    for path in ["metrics/5", "metrics/7", "metrics/7", "status/200"] {
        let url = format!("http://{}/hello/{path}", node.data_addr());
        let response = node.client.get(url).send().await.unwrap();
        assert!(response.headers().get("hotswap-metrics").is_none());
        response.bytes().await.unwrap();
    }
    wait_until("all requests are counted", async || {
        node.counters().await.requests == 4
    })
    .await;
    let counters = node.counters().await;
    let [served, rows] = counters.metrics.as_slice() else {
        panic!("{counters:?}");
    };
    assert_eq!((served.name.as_str(), served.requests), ("served", 3));
    assert!(served.values.is_empty());
    assert_eq!((rows.name.as_str(), rows.requests), ("rows", 3));
    assert_eq!(rows.sum_thousandths, 19_000);
    assert_eq!(
        rows.values.iter().map(|bucket| bucket.count).sum::<u64>(),
        3
    );
    let url = node.control_url("/metrics");
    let metrics = node.client.get(url).bearer_auth(TOKEN).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for line in [
        "hotswap_node_module_metric_requests_total{module=\"hello\",version=\"1.0.0\",\
         metric=\"served\"} 3.0",
        "hotswap_node_module_metric_value_sum_total{module=\"hello\",version=\"1.0.0\",\
         metric=\"rows\"} 19.0",
        "hotswap_node_ignored_module_metrics_total{module=\"hello\",version=\"1.0.0\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
