//! A backend that crashes in the middle of its work.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hotswap_core::SystemClock;
use hotswap_fleet::discovery::{
    Condition, Discovery as _, Error, ErrorKind, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{BackendComponent, BackendSettings, Registration};
use hotswap_runner::discovery::{ComponentBackend, Registrar, RegistrarOptions};
use hotswap_tests::shared_discovery_host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::{TIMEOUT, TTL, Watched, registration};

/// The shortest wait before a backend is started again.
const MIN_RETRY: Duration = Duration::from_millis(100);

/// Crashes that are waited for.
const CRASHES: usize = 5;

/// Tells the backend what to do: to crash, or the id of the only instance.
struct Commander {
    url: String,
    order: Arc<Mutex<&'static str>>,
    /// When each request came, and how many watches its sender had begun.
    requests: Arc<Mutex<Vec<(Instant, u32)>>>,
    _task: AbortOnDropHandle<()>,
}

impl Commander {
    async fn start(order: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let order = Arc::new(Mutex::new(order));
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let (orders, seen) = (Arc::clone(&order), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let Ok(length) = stream.read(&mut request).await else {
                    continue;
                };
                let request = String::from_utf8_lossy(&request[..length]);
                if let Some(watches) = watches(&request) {
                    lock(&seen).push((Instant::now(), watches));
                }
                let order = *lock(&orders);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{order}",
                    order.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self {
            url,
            order,
            requests,
            _task: AbortOnDropHandle::new(task),
        })
    }

    fn tell(&self, order: &'static str) {
        *lock(&self.order) = order;
    }

    fn requests(&self) -> Vec<(Instant, u32)> {
        lock(&self.requests).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watches(request: &str) -> Option<u32> {
    let (_, rest) = request.split_once("watches=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The backend that obeys, and what it is started with.
async fn backend(commander: &Commander) -> Result<(BackendComponent, BackendSettings)> {
    let host = shared_discovery_host()?;
    let component = host.load(hotswap_guests::DISCOVERY_PROBE).await?;
    let settings = BackendSettings {
        origins: vec![commander.url.parse()?],
        ..BackendSettings::new("probe")
    };
    Ok((component, settings))
}

async fn watch(commander: &Commander) -> Result<Watched> {
    let (component, settings) = backend(commander).await?;
    let service = format!("obey {}/", commander.url);
    let backend = ComponentBackend::new(component, settings, service);
    let options = WatchOptions {
        min_retry: MIN_RETRY,
        max_retry: Duration::from_secs(2),
        ..WatchOptions::default()
    };
    let source = WatchedSource::new("test", "probe", Arc::new(SystemClock), options, None);
    Ok(Watched::run(source, backend))
}

#[tokio::test]
async fn a_backend_that_crashes_is_restarted_with_back_off_while_its_last_view_stays() -> Result<()>
{
    let commander = Commander::start("node-1").await?;
    let watched = watch(&commander).await?;
    watched.until_ids(&["node-1"]).await?;
    // The same instance goes on.
    let goes_on = |_: &_| commander.requests().iter().any(|(_, count)| *count > 1);
    watched.until("it watches again", goes_on).await?;
    let before = commander.requests().len();
    commander.tell("crash");
    let has_crashed = |source: &WatchedSource| {
        let error = source.state().last_error;
        source.state().condition == Condition::Stale
            && error.is_some_and(|error| error.kind == ErrorKind::Crashed)
    };
    watched.until("it has crashed", has_crashed).await?;
    // One request may have come before the order, and the first crash is that of the old instance.
    let often = |_: &_| commander.requests().len() >= before + CRASHES + 2;
    watched.until("it has crashed often", often).await?;
    let state = watched.source.state();
    assert_eq!(state.condition, Condition::Stale);
    assert_eq!(watched.ids(), ["node-1"]);
    let error = state.last_error.context("it has crashed")?;
    assert_eq!(error.kind, ErrorKind::Crashed);
    ensure!(error.message.contains("told to crash"), "{}", error.message);
    let crashes = state.outcomes.failed.get(&ErrorKind::Crashed).copied();
    ensure!(crashes >= Some(CRASHES as u64), "{:?}", state.outcomes);

    let requests = commander.requests();
    // Each crash ends its instance: the next one begins to count anew.
    let crashed = &requests[requests.len() - CRASHES..];
    ensure!(crashed.iter().all(|(_, count)| *count == 1), "{requests:?}");
    // Each wait is twice as long as the one before, or longer.
    let took = crashed[CRASHES - 1].0 - crashed[0].0;
    ensure!(took > MIN_RETRY * 15, "{CRASHES} crashes in {took:?}");

    commander.tell("node-2");
    watched.until_ids(&["node-2"]).await?;
    let state = watched.source.state();
    assert_eq!(state.condition, Condition::Healthy);
    // It says so for as long as nothing else has failed.
    let error = state.last_error.context("it has crashed")?;
    assert_eq!(error.kind, ErrorKind::Crashed);
    Ok(())
}

#[tokio::test]
async fn a_registration_whose_backend_crashes_is_made_again_once_it_does_not() -> Result<()> {
    let commander = Commander::start("crash").await?;
    let (component, settings) = backend(&commander).await?;
    let registration = Registration {
        service: format!("obey {}/", commander.url),
        check: None,
        ..registration("node-1")
    };
    let options = RegistrarOptions {
        interval: MIN_RETRY,
        min_retry: MIN_RETRY,
        max_retry: MIN_RETRY,
        ..RegistrarOptions::for_ttl(TTL)
    };
    let clock = Arc::new(SystemClock);
    let registrar = Registrar::new(component, settings, registration, clock, options);
    let mut failure = registrar.failure();
    let _task = AbortOnDropHandle::new(tokio::spawn(registrar.run(pending())));
    let is_crashed = |error: &Option<Error>| {
        let error = error.as_ref();
        error.is_some_and(|error| error.kind == ErrorKind::Crashed)
    };
    for _ in 0..2 {
        timeout(TIMEOUT, failure.wait_for(is_crashed)).await??;
        commander.tell("node-1");
        timeout(TIMEOUT, failure.wait_for(Option::is_none)).await??;
        commander.tell("crash");
    }
    Ok(())
}
