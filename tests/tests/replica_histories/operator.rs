//! A person who takes nodes out of rollouts and puts them back, one at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use hotswap_tests::Replicas;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::History;

/// How long one request waits for its answer.
const ANSWER: Duration = Duration::from_secs(8);
/// How long a request is made again until it is acknowledged.
const PATIENCE: Duration = Duration::from_secs(180);

/// A request that was acknowledged.
#[derive(Debug, Clone)]
pub struct NodeOperation {
    /// The name in the journal.
    pub by: String,
    /// How often it was made until the answer came. Those before may take effect late.
    pub attempts: u32,
}

/// Cordons and uncordons.
pub struct Operator {
    rng: Rng,
    history: Arc<History>,
    token: &'static str,
    http: reqwest::Client,
    nodes: Vec<String>,
    done: Vec<NodeOperation>,
}

impl Operator {
    pub fn new(rng: Rng, history: Arc<History>, replicas: &Replicas) -> Self {
        Self {
            rng,
            history,
            token: replicas.token(),
            http: reqwest::Client::new(),
            nodes: replicas.nodes().map(str::to_owned).collect(),
            done: Vec::new(),
        }
    }

    /// Works until it is told to stop, and returns what it has done. No node is cordoned then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Vec<NodeOperation>> {
        while !stop.is_cancelled() {
            self.pause(5000).await;
            let node = self.nodes[self.rng.usize(..self.nodes.len())].clone();
            for what in ["cordon", "uncordon"] {
                let done = self.ask(&node, what).await?;
                self.done.push(done);
                self.pause(4000).await;
            }
        }
        // A request whose answer was lost may have taken effect last.
        for node in self.nodes.clone() {
            self.ask(&node, "uncordon").await?;
        }
        Ok(self.done)
    }

    async fn pause(&mut self, most: u64) {
        sleep(Duration::from_millis(self.rng.u64(..most))).await;
    }

    /// Asks any engine, again and again until one has done it.
    async fn ask(&mut self, node: &str, what: &str) -> Result<NodeOperation> {
        let by = crate::clients::next_name();
        let deadline = Instant::now() + PATIENCE;
        let mut attempts = 0;
        loop {
            ensure!(Instant::now() < deadline, "nobody does it: {what} {node}");
            let Some(url) = self.history.url(&mut self.rng) else {
                self.pause(200).await;
                continue;
            };
            attempts += 1;
            let url = format!("{url}/api/v1/nodes/{node}/{what}");
            let request = self.http.post(url).bearer_auth(self.token).timeout(ANSWER);
            let request = request.json(&json!({ "requesterEmail": by }));
            let Ok(answer) = request.send().await else {
                continue;
            };
            let status = answer.status();
            let Ok(answer) = answer.json::<Value>().await else {
                continue;
            };
            if status.is_success() {
                let is_cordoned = !answer["cordon"].is_null();
                ensure!(is_cordoned == (what == "cordon"), "{what}: {answer}");
                return Ok(NodeOperation { by, attempts });
            }
            ensure!(
                status.is_server_error(),
                "{what} {node}: {status}: {answer}"
            );
            self.pause(200).await;
        }
    }
}
