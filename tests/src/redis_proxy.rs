//! A connection to a server that a test can cut. The tests of the store compile this file too.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Leads to a server. Ends when it is dropped.
pub struct RedisProxy {
    port: u16,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    /// What happens to the answer to the next append.
    next_answer: Mutex<Answer>,
    cuts: AtomicU32,
    refuse: AtomicBool,
    /// Nothing passes, and all connections stay.
    stalled: watch::Sender<bool>,
    /// Ends the connections that there are.
    open: Mutex<CancellationToken>,
    /// Lets nothing pass on the connections that there are.
    alive: Mutex<CancellationToken>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Answer {
    #[default]
    Passes,
    /// It is lost, and its connection is closed.
    IsCut,
    /// From it on, nothing passes any more.
    Stalls,
}

impl RedisProxy {
    /// Leads to the server at this port of this machine.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        };
        Ok(Self {
            port,
            state,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        })
    }

    /// Where it leads to the server: `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts the connection on which the next append is sent, after the server has received it and
    /// before its answer.
    pub fn cut_answers(&self) {
        *lock(&self.state.next_answer) = Answer::IsCut;
    }

    /// As [`Self::stall`], from the answer to the next append on: the server has carried it out.
    pub fn stall_at_answer(&self) {
        *lock(&self.state.next_answer) = Answer::Stalls;
    }

    /// How many answers were cut off.
    pub fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Whether nothing passes. What was sent meanwhile passes afterwards, unless its sender has
    /// closed the connection.
    pub fn stall(&self, stall: bool) {
        *lock(&self.state.next_answer) = Answer::Passes;
        self.state.stalled.send_replace(stall);
    }

    /// Lets nothing pass any more on the connections that there are, and leaves them open. New ones
    /// work.
    pub fn silence(&self) {
        std::mem::take(&mut *lock(&self.state.alive)).cancel();
    }

    /// Closes the connections that there are.
    pub fn disconnect(&self) {
        std::mem::take(&mut *lock(&self.state.open)).cancel();
    }
}

impl State {
    fn take_answer(&self) -> Answer {
        std::mem::take(&mut *lock(&self.next_answer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes bytes on until one side closes the connection, or the test does.
async fn forward(client: TcpStream, server: u16, state: Arc<State>) {
    let open = lock(&state.open).clone();
    let alive = lock(&state.alive).clone();
    // Looked at last: a test that refuses connections and closes those that there are closes all.
    if state.refuse.load(Ordering::SeqCst) {
        return;
    }
    // Where it fails, the connection is closed, which is all that either side can see.
    let _ = open
        .run_until_cancelled(pass(client, server, &state, alive))
        .await;
}

async fn pass(
    mut client: TcpStream,
    server: u16,
    state: &State,
    alive: CancellationToken,
) -> io::Result<()> {
    let mut stalled = state.stalled.subscribe();
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut answer = Answer::Passes;
    loop {
        if stalled.wait_for(|is_stalled| !is_stalled).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = stalled.changed() => {}
            () = alive.cancelled() => std::future::pending::<()>().await,
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return Ok(()) };
                // Events say their schema: no other command does.
                let is_append = asked[..count].windows(8).any(|bytes| bytes == b"\"schema\"");
                if is_append && answer == Answer::Passes {
                    answer = state.take_answer();
                }
                server.write_all(&asked[..count]).await?;
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return Ok(()) };
                match std::mem::take(&mut answer) {
                    Answer::Passes => {}
                    Answer::IsCut => {
                        state.cuts.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    Answer::Stalls => {
                        state.stalled.send_replace(true);
                        if stalled.wait_for(|is_stalled| !is_stalled).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                client.write_all(&answered[..count]).await?;
            }
        }
    }
}
