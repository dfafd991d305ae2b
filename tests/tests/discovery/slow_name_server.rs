use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Bytes of the largest message over UDP.
const MAX_MESSAGE: usize = 64 << 10;

/// Bytes of the head of a message.
const HEAD: usize = 12;

/// The bit of the third byte with which a server says that the rest of its answer did not fit.
const TRUNCATED: u8 = 0b10;

/// A way to a name server, over UDP, on which each answer takes a while, or is damaged.
pub struct SlowNameServer {
    pub addr: SocketAddr,
    delay: watch::Sender<Duration>,
    damage: watch::Sender<Option<Damage>>,
    _task: AbortOnDropHandle<()>,
}

/// What becomes of answers.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// Nothing is left but the id of the question.
    Garbage,
    /// The message ends in the middle of its records.
    CutOff,
    /// The answer has no records, and says that they did not fit: who wants them must ask over TCP,
    /// where nobody answers.
    TooLong,
}

impl Damage {
    fn apply(self, answer: &mut Vec<u8>) {
        match self {
            Self::Garbage => {
                answer.truncate(2);
                answer.extend([0xff; 40]);
            }
            Self::CutOff => answer.truncate(answer.len() - 3),
            Self::TooLong => {
                if let Some(head) = answer.get_mut(..HEAD) {
                    head[2] |= TRUNCATED;
                    // No answers, no authorities and nothing further.
                    head[6..].fill(0);
                }
                let name = answer.iter().skip(HEAD).position(|length| *length == 0);
                // The type and the class follow the name.
                answer.truncate(HEAD + name.unwrap_or_default() + 5);
            }
        }
    }
}

impl SlowNameServer {
    /// Passes questions on to `server`.
    pub async fn start(server: SocketAddr, delay: Duration) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let addr = socket.local_addr()?;
        let (delay, current) = watch::channel(delay);
        let (damage, damaged) = watch::channel(None::<Damage>);
        let task = tokio::spawn(async move {
            let (socket, mut questions) = (Arc::new(socket), JoinSet::new());
            let mut question = vec![0; MAX_MESSAGE];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                let (question, delay) = (question[..length].to_vec(), *current.borrow());
                let damage = *damaged.borrow();
                let socket = Arc::clone(&socket);
                questions.spawn(async move {
                    if let Ok(mut answer) = ask(server, &question).await {
                        if let Some(damage) = damage {
                            damage.apply(&mut answer);
                        }
                        // What is slow here is the point of the test.
                        sleep(delay).await;
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
        });
        Ok(Self {
            addr,
            delay,
            damage,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// From now on answers take this long.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// From now on this becomes of answers.
    pub fn set_damage(&self, damage: Option<Damage>) {
        self.damage.send_replace(damage);
    }
}

async fn ask(server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_MESSAGE];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}
