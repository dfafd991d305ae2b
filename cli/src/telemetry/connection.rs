use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_common::tls::ClientTls;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};

use super::settings::Collector;

/// A client for a collector that is spoken to by HTTP. Connects with the first request.
///
/// # Errors
/// Where it cannot be created.
pub(super) fn http_client(collector: &Collector, tls: &ClientTls) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(collector.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(tls.config()?)
        .build()
        .context("cannot create the HTTP client for the collector")
}

/// A channel to a collector that is spoken to by gRPC. Connects with the first request, and anew
/// with each request after the connection was lost.
///
/// # Errors
/// Where it cannot be created.
pub(super) fn channel(collector: &Collector, tls: &ClientTls) -> Result<Channel> {
    let uri: Uri = collector
        .endpoint
        .parse()
        .context("the collector's URL cannot be used for gRPC")?;
    let endpoint = Endpoint::from(uri)
        .connect_timeout(collector.timeout)
        .timeout(collector.timeout)
        .http2_keep_alive_interval(ping(collector.timeout))
        .keep_alive_timeout(ping(collector.timeout));
    if !collector.has_tls() {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        return Ok(endpoint.connect_with_connector_lazy(connector));
    }
    let mut config = tls.config()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    // Not that of tonic, which is built without TLS: this one follows the files.
    let connector = tower::service_fn(move |uri: Uri| {
        let config = Arc::clone(&config);
        async move { connect(&uri, config).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// While a request waits, a peer that is gone is noticed before the request has failed, so that
/// the next one finds a new connection.
fn ping(timeout: Duration) -> Duration {
    timeout / 4
}

/// Connects with TLS. Without a time limit of its own: the channel has one.
async fn connect(uri: &Uri, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    connection.set_nodelay(true)?;
    TlsConnector::from(config).connect(name, connection).await
}
