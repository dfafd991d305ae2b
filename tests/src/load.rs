use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Clients that keep asking nodes for a module, each its own connection, as fast as they
/// are answered.
pub struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
    score: Arc<Mutex<Score>>,
}

/// What the clients were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Score {
    /// Requests sent and answered, or failed.
    pub requests: u64,
    /// Answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
    /// What went wrong, and how often: a status other than 200, or no answer.
    pub errors: BTreeMap<String, u64>,
}

impl Score {
    /// How many requests went wrong.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Load {
    /// `clients` clients, each going round all the `urls`.
    pub fn start(urls: Vec<String>, clients: usize) -> Self {
        let (stop, score) = (
            CancellationToken::new(),
            Arc::new(Mutex::new(Score::default())),
        );
        let mut tasks = JoinSet::new();
        for first in 0..clients {
            let (urls, stop, score) = (urls.clone(), stop.clone(), Arc::clone(&score));
            tasks.spawn(async move {
                let client = reqwest::Client::new();
                let mut turn = first;
                while !stop.is_cancelled() {
                    let asked = ask(&client, &urls[turn % urls.len()]).await;
                    turn += 1;
                    let mut score = score.lock().unwrap_or_else(PoisonError::into_inner);
                    score.requests += 1;
                    match asked {
                        Ok(version) => *score.versions.entry(version).or_default() += 1,
                        Err(error) => *score.errors.entry(error).or_default() += 1,
                    }
                }
            });
        }
        Self {
            stop,
            clients: tasks,
            score,
        }
    }

    /// What was answered so far.
    pub fn score(&self) -> Score {
        self.score
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the clients after the requests that they are at.
    pub async fn stop(mut self) -> Score {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        self.score()
    }
}

async fn ask(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let answer = client
        .get(url)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let version = answer.headers().get("x-hotswap-version");
    let version = version
        .and_then(|version| version.to_str().ok())
        .unwrap_or("none")
        .to_owned();
    let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
    if status == reqwest::StatusCode::OK && !body.is_empty() {
        Ok(version)
    } else {
        Err(format!("{status} from {version}"))
    }
}
