use std::pin::{Pin, pin};

use hyper_util::server::graceful::GracefulConnection;
use tokio_util::sync::CancellationToken;

/// How far a server is in stopping. Each phase begins once and does not end. Cheap to clone; clones
/// share the phases.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// The server is not ready any more, and goes on serving until those who follow its readiness
    /// have noticed.
    pub lame_duck: CancellationToken,
    /// The server accepts no new connections. Open ones end after their current requests.
    pub graceful: CancellationToken,
    /// The server closes all connections and ends all tasks.
    pub immediate: CancellationToken,
}

impl Stopping {
    /// Whether the server is about to stop.
    pub fn has_begun(&self) -> bool {
        self.lame_duck.is_cancelled() || self.graceful.is_cancelled()
    }

    /// Serves a connection until it ends, or its server has stopped. In the lame-duck phase the
    /// client of a connection with HTTP/2, which cancels `is_http2` with its first request, is told
    /// to open another connection (GOAWAY), and loses no request by that. HTTP/1 has the header
    /// `Connection: close` for this.
    ///
    /// # Errors
    /// That of the connection.
    pub async fn serve<C: GracefulConnection>(
        &self,
        connection: C,
        is_http2: &CancellationToken,
    ) -> Result<(), C::Error> {
        let mut connection = pin!(connection);
        let goaway = async {
            tokio::select! {
                () = self.graceful.cancelled() => {}
                () = async {
                    self.lame_duck.cancelled().await;
                    is_http2.cancelled().await;
                } => {}
            }
        };
        tokio::select! {
            result = connection.as_mut() => return result,
            () = self.immediate.cancelled() => return Ok(()),
            () = goaway => {}
        }
        finish(connection.as_mut(), &self.immediate).await
    }
}

/// Lets a connection finish its current requests.
async fn finish<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    immediate: &CancellationToken,
) -> Result<(), C::Error> {
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection => result,
        () = immediate.cancelled() => Ok(()),
    }
}
