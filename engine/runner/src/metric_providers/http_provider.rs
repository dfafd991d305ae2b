use std::time::Duration;

use async_trait::async_trait;
use hotswap_common::Secret;
use hotswap_common::tls::{self, ClientTls, SettingNames};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use serde_json::Value;

use super::MetricProvider;

/// Bytes of an answer: one number needs few.
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// Characters of an error that a provider explains itself with.
const MAX_REASON: usize = 120;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// The HTTP API of Prometheus: a query is PromQL, whose result is one number.
    Prometheus,
    /// Any JSON over HTTP: a query is a path, and a JSON pointer says where the number is.
    Json,
}

/// How a provider is reached.
#[derive(Debug)]
pub struct HttpProviderConfig {
    /// What it speaks.
    pub kind: ProviderKind,
    /// Its address, `http://host:port` or `https://host:port`, with a path before all others if it has one.
    pub url: String,
    /// Headers of each request. Their values are secrets.
    pub headers: Vec<(String, Secret)>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whom to trust at an `https://` address, and the certificate to show there.
    pub tls: ClientTls,
}

/// Why a provider cannot be used. Never repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidProvider {
    /// The address is not one.
    #[error(
        "url is not an address: use http://host:port or https://host:port, without user, password, \
         query or fragment"
    )]
    Url,
    /// A header cannot be sent.
    #[error("the header '{0}' is not valid: its name or its value cannot be sent")]
    Header(String),
    /// There can be no TLS.
    #[error("TLS did not start")]
    Tls(#[from] hotswap_common::tls::Error),
    /// There is no client.
    #[error("the HTTP client did not start")]
    Client(#[source] reqwest::Error),
}

/// A server that is asked over HTTP.
///
/// # Guarantees
/// Only its own address is reached: no redirect is followed, and no proxy is used. No error says
/// what its headers are.
#[derive(Debug)]
pub struct HttpProvider {
    kind: ProviderKind,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    client: Client,
}

impl HttpProvider {
    /// A provider that is reached like this.
    ///
    /// # Errors
    /// [`InvalidProvider`].
    pub fn new(config: HttpProviderConfig) -> Result<Self, InvalidProvider> {
        let url: Url = config.url.parse().map_err(|_| InvalidProvider::Url)?;
        let has_extras = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() || has_extras {
            return Err(InvalidProvider::Url);
        }
        let mut headers = HeaderMap::new();
        for (name, secret) in config.headers {
            let invalid = || InvalidProvider::Header(name.chars().take(80).collect());
            let header = HeaderName::try_from(&name).map_err(|_| invalid())?;
            let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| invalid())?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(config.timeout)
            .tls_backend_preconfigured(config.tls.config()?)
            .build()
            .map_err(InvalidProvider::Client)?;
        Ok(Self {
            kind: config.kind,
            url,
            headers,
            timeout: config.timeout,
            client,
        })
    }

    fn prometheus(&self, query: &str) -> RequestBuilder {
        let url = self.below("/api/v1/query");
        // In the body: a query with the names of many nodes would not fit into an address.
        let form: String = form_encode(query);
        let request = self.client.post(url);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(format!("query={form}"))
    }

    /// The address of a path and a query of the provider.
    fn below(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let before = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{before}{path}"));
        url.set_query(query);
        url
    }

    /// What went wrong, without the address: its path may say more than it should.
    fn describe(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let host = self.url.host_str().unwrap_or_default();
        if let Some(reason) = tls::explain(&error, host, &SettingNames::METRIC_PROVIDER) {
            return reason;
        }
        let what = if error.is_connect() {
            "it cannot be reached"
        } else if error.is_timeout() {
            "it did not answer in time"
        } else {
            "the connection broke"
        };
        what.to_owned()
    }

    async fn read(&self, mut response: Response) -> Result<Value, String> {
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.describe(error))?
        {
            if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(format!("the answer has more than {MAX_ANSWER_BYTES} bytes"));
            }
            bytes.extend_from_slice(&piece);
        }
        let answer = serde_json::from_slice::<Value>(&bytes);
        if !status.is_success() {
            // What Prometheus says of a bad query. Other bodies may be pages.
            let reason = answer
                .ok()
                .filter(|_| self.kind == ProviderKind::Prometheus);
            let reason = reason.as_ref().and_then(|answer| answer["error"].as_str());
            let reason = reason.map_or_else(String::new, |reason| {
                let reason: String = reason.chars().take(MAX_REASON).collect();
                format!(": {reason}")
            });
            return Err(format!("it answered {status}{reason}"));
        }
        answer.map_err(|_| "the answer is not JSON".to_owned())
    }
}

#[async_trait]
impl MetricProvider for HttpProvider {
    async fn ask(&self, query: &str, pointer: Option<&str>) -> Result<f64, String> {
        let request = match self.kind {
            ProviderKind::Prometheus => self.prometheus(query),
            ProviderKind::Json => self.client.get(self.below(query)),
        };
        let response = request.headers(self.headers.clone()).send().await;
        let answer = self
            .read(response.map_err(|error| self.describe(error))?)
            .await?;
        match self.kind {
            ProviderKind::Prometheus => prometheus_number(&answer),
            ProviderKind::Json => {
                let pointer = pointer.unwrap_or_default();
                let found = answer.pointer(pointer);
                found
                    .and_then(number)
                    .ok_or_else(|| format!("the answer has no number at '{pointer}'"))
            }
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn check(&self, query: &str, pointer: Option<&str>) -> Result<(), String> {
        match self.kind {
            ProviderKind::Prometheus if query.trim().is_empty() => {
                Err("its query is empty: write PromQL".to_owned())
            }
            ProviderKind::Prometheus if pointer.is_some() => {
                Err("a query to Prometheus has no pointer: remove it".to_owned())
            }
            ProviderKind::Json => {
                let path = query.split('?').next().unwrap_or_default();
                // Not `//`, which would be another host, and no way up.
                let is_path = path.starts_with('/')
                    && !path.starts_with("//")
                    && !query.contains(['#', '\\'])
                    && !query.contains(char::is_whitespace)
                    && path.split('/').all(|part| !is_dots(part));
                if !is_path {
                    return Err(
                        "its query is not a path: begin with '/', without '..', '#' or \
                                spaces"
                            .to_owned(),
                    );
                }
                if pointer.is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
                    return Err("its pointer is not a JSON pointer: begin with '/'".to_owned());
                }
                Ok(())
            }
            ProviderKind::Prometheus => Ok(()),
        }
    }
}

/// Whether a part of a path leads elsewhere: `.` or `..`, also encoded.
fn is_dots(part: &str) -> bool {
    let part = part.to_ascii_lowercase().replace("%2e", ".");
    part == "." || part == ".."
}

/// One number: a scalar, or a vector with one sample.
fn prometheus_number(answer: &Value) -> Result<f64, String> {
    let data = &answer["data"];
    let sample = match data["resultType"].as_str() {
        Some("scalar") => &data["result"],
        Some("vector") => {
            let samples = data["result"].as_array().map_or(0, Vec::len);
            if samples != 1 {
                return Err(format!(
                    "the result has {samples} series; use sum() or the like, so that there is one"
                ));
            }
            &data["result"][0]["value"]
        }
        _ => return Err("the result is neither a scalar nor a vector".to_owned()),
    };
    number(&sample[1]).ok_or_else(|| "the result has no number".to_owned())
}

/// A number, also one in a text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
