use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Clients that send requests for a module to the nodes, without a pause. Each client has its
/// own connections, and sends the next request when the last is answered.
pub struct LoadGenerator {
    stop: CancellationToken,
    clients: JoinSet<()>,
    report: Arc<Mutex<LoadReport>>,
}

/// The results of all clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// Successful answers, by the version that gave them.
    pub answers_by_version: BTreeMap<String, u64>,
    /// How often each error occurred: a status other than 200, or no answer.
    pub errors: BTreeMap<String, u64>,
}

impl LoadReport {
    /// How many requests failed.
    pub fn failed_requests(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl LoadGenerator {
    /// Starts that many clients. Each goes through all `urls`, again and again.
    pub fn start(urls: Vec<String>, clients: usize) -> Self {
        let (stop, report) = (
            CancellationToken::new(),
            Arc::new(Mutex::new(LoadReport::default())),
        );
        let mut tasks = JoinSet::new();
        for first_url in 0..clients {
            let (urls, stop, report) = (urls.clone(), stop.clone(), Arc::clone(&report));
            tasks.spawn(async move {
                let client = reqwest::Client::new();
                let mut url = first_url;
                while !stop.is_cancelled() {
                    let result = send_request(&client, &urls[url % urls.len()]).await;
                    url += 1;
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.requests += 1;
                    match result {
                        Ok(version) => *report.answers_by_version.entry(version).or_default() += 1,
                        Err(error) => *report.errors.entry(error).or_default() += 1,
                    }
                }
            });
        }
        Self {
            stop,
            clients: tasks,
            report,
        }
    }

    /// The results so far.
    pub fn report(&self) -> LoadReport {
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stops the clients after their current requests.
    pub async fn stop(mut self) -> LoadReport {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        self.report()
    }
}

/// Returns the version that answered.
async fn send_request(client: &reqwest::Client, url: &str) -> Result<String, String> {
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
