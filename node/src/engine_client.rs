use std::time::Duration;

use hotswap_common::CurrentSecret;
use hotswap_common::tls::ClientTls;
use hotswap_common::trace::{self, Span, TRACEPARENT};
use reqwest::{Client, Method, RequestBuilder};

use crate::Error;

/// HTTP client for the node's engine. Sends the node token with each request. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub(crate) struct EngineClient {
    http: Client,
    /// `http://host:port` or `https://host:port`, without a slash at the end.
    url: String,
    /// `host:port`.
    host_and_port: String,
    token: CurrentSecret,
}

impl EngineClient {
    /// # Errors
    /// [`Error::EngineUrl`] if `url` is not an HTTP URL with a host.
    pub(crate) fn new(url: &str, token: CurrentSecret, tls: &ClientTls) -> Result<Self, Error> {
        let parsed = reqwest::Url::parse(url).ok();
        let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https");
        let host_and_port = parsed.filter(is_http).and_then(|url| {
            let (host, port) = (url.host_str()?, url.port_or_known_default()?);
            Some(format!("{host}:{port}"))
        });
        let Some(host_and_port) = host_and_port else {
            return Err(Error::EngineUrl(url.to_owned()));
        };
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls.config()?)
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            host_and_port,
            token,
        })
    }

    /// The engine's URL, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `host:port` of the engine.
    pub(crate) fn host_and_port(&self) -> &str {
        &self.host_and_port
    }

    /// Says in a span that its request goes to this engine.
    pub(crate) fn describe(&self, span: &mut Span) {
        let scheme = match self.url.starts_with("https:") {
            true => "https",
            false => "http",
        };
        span.set_server(scheme, &self.host_and_port);
    }

    /// Begins a request to a path of the engine's API, such as `/api/v1/nodes`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.token.get().expose());
        match trace::current() {
            Some(context) => request.header(TRACEPARENT, context.to_string()),
            None => request,
        }
    }
}
