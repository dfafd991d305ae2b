//! A connection to a server that a test can cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Leads to a server. Ends when it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    /// The next answer to an append is cut off, and its connection with it.
    cut: AtomicBool,
    cuts: AtomicU32,
    refuse: AtomicBool,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let accept = async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if !shared.refuse.load(Ordering::SeqCst) {
                    tokio::spawn(forward(client, server, Arc::clone(&shared)));
                }
            }
        };
        Self {
            port,
            state,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts the connection on which the next append is sent, after the server has received it and
    /// before its answer.
    pub fn cut_answers(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// How many answers were cut off.
    pub fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuse.store(refuse, Ordering::SeqCst);
    }
}

async fn forward(mut client: TcpStream, server: u16, state: Arc<State>) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut is_cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                // Events say their schema: no other command does.
                let is_append = asked[..count].windows(8).any(|bytes| bytes == b"\"schema\"");
                is_cut |= is_append && state.cut.swap(false, Ordering::SeqCst);
                if server.write_all(&asked[..count]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if is_cut {
                    state.cuts.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if client.write_all(&answered[..count]).await.is_err() { return }
            }
        }
    }
}
