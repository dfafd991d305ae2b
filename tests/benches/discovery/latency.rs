use std::time::{Duration, Instant};

use anyhow::Result;
use hotswap_fleet::discovery::Discovery as _;
use hotswap_tests::bench::{median, print_row};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::SERVICE;
use crate::instance::instance_at;
use crate::watching::Watching;

/// How often the instance of a registry changes.
pub const CHANGES: u16 = 30;

/// How long each change takes to be seen, in milliseconds.
pub struct Latencies {
    pub view: Vec<f64>,
    pub client: Vec<f64>,
}

/// Changes the port of an instance again and again, and measures when the view shows it and when
/// `client` sees it. Without a client, only the view is waited for.
pub async fn measure(
    watching: &Watching,
    changes: u16,
    mut client: Option<watch::Receiver<u64>>,
    mut change: impl AsyncFnMut(u16) -> Result<()>,
) -> Result<Latencies> {
    let (source, _task) = watching.watch(SERVICE);
    change(1).await?;
    let mut views = source.changes();
    let shows = |port: u16| {
        let url = format!("http://10.0.0.1:{port}");
        let shown = source.instances();
        shown.iter().any(|it| it.control_url.as_ref() == Some(&url))
    };
    while !shows(1) {
        views.changed().await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut latencies = Latencies {
        view: Vec::new(),
        client: Vec::new(),
    };
    for port in 2..=changes + 1 {
        if let Some(client) = &mut client {
            client.mark_unchanged();
        }
        let started = Instant::now();
        change(port).await?;
        let view = async {
            while !shows(port) {
                views.changed().await?;
            }
            anyhow::Ok(started.elapsed())
        };
        let other = async {
            if let Some(client) = &mut client {
                client.changed().await?;
            }
            anyhow::Ok(started.elapsed())
        };
        let (view, other) = tokio::try_join!(view, other)?;
        latencies.view.push(view.as_secs_f64() * 1e3);
        latencies.client.push(other.as_secs_f64() * 1e3);
        // Both wait for the next change again.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Ok(latencies)
}

/// Measures and prints how long a changed registration takes to be seen: by the view, and by
/// `follow`, which counts the changes as a client of its own.
pub async fn measure_registrations<F>(
    name: &str,
    watching: &Watching,
    follow: impl FnOnce(watch::Sender<u64>) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut writer = watching.component.start(watching.settings.clone()).await?;
    writer.register(instance_at(9)).await?;
    let (seen, client) = watch::channel(0);
    let _own = AbortOnDropHandle::new(tokio::spawn(follow(seen)));
    let change = async |port| Ok(writer.register(instance_at(port)).await?);
    let latencies = measure(watching, CHANGES, Some(client), change).await?;
    print(name, latencies);
    Ok(())
}

/// Prints the medians of both.
pub fn print(name: &str, latencies: Latencies) {
    let (view, other) = (median(latencies.view), median(latencies.client));
    print_row(
        &format!("{name}: from a change to the view"),
        &format!("{view:.1} ms"),
        &format!("a client of its own {other:.1} ms"),
        view / other,
        3.0,
    );
}
