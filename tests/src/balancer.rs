use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Sends each connection to the next engine that is up.
pub struct Balancer {
    addr: SocketAddr,
    targets: Arc<Mutex<Targets>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Targets {
    next: usize,
    up: BTreeMap<usize, (SocketAddr, CancellationToken)>,
}

impl Balancer {
    /// Listens, and leads nowhere yet.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let targets = Arc::<Mutex<Targets>>::default();
        let shared = Arc::clone(&targets);
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, Arc::clone(&shared)));
            }
        };
        Ok(Self {
            addr,
            targets,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        })
    }

    /// Where it listens: `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sends connections to this engine too.
    pub fn add(&self, engine: usize, addr: SocketAddr) {
        let target = (addr, CancellationToken::new());
        lock(&self.targets).up.insert(engine, target);
    }

    /// Sends an engine no more connections. Those that there are stay open, as balancers leave them
    /// that only follow the readiness of engines.
    pub fn leave_out(&self, engine: usize) {
        lock(&self.targets).up.remove(&engine);
    }

    /// Closes the connections of an engine, and sends it no more.
    pub fn remove(&self, engine: usize) {
        if let Some((_, connections)) = lock(&self.targets).up.remove(&engine) {
            connections.cancel();
        }
    }
}

fn lock(targets: &Mutex<Targets>) -> std::sync::MutexGuard<'_, Targets> {
    targets.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forward(mut client: TcpStream, targets: Arc<Mutex<Targets>>) {
    let target = {
        let mut targets = lock(&targets);
        targets.next += 1;
        let up: Vec<_> = targets.up.values().cloned().collect();
        up.get(targets.next % up.len().max(1)).cloned()
    };
    let Some((addr, closed)) = target else { return };
    let Ok(mut engine) = TcpStream::connect(addr).await else {
        return;
    };
    let copy = tokio::io::copy_bidirectional(&mut client, &mut engine);
    closed.run_until_cancelled(copy).await;
}
