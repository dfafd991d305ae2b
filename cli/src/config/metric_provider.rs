use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_common::Secret;
use hotswap_common::tls::{ClientFiles, ClientTls, Reload};
use hotswap_core::StrategyName;
use hotswap_runner::metric_providers::{
    HttpProvider, HttpProviderConfig, MetricProvider as Provider, MetricProviders, ProviderKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::args::pair;
use crate::secret_file;

/// Less is no time for an answer; more would hold up the readings of a soak.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);

/// A server that soaks may ask for metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricProvider {
    /// The name by which queries call it: lower-case letters, digits and hyphens.
    pub name: String,
    /// `prometheus`, or `json` for any JSON over HTTP.
    pub kind: Kind,
    /// Its address, as `http://host:port` or `https://host:port`, with a path before all others if
    /// it has one.
    pub url: String,
    /// Authorities to trust at an `https://` address, besides those of the system: a file in PEM
    /// form. This and the other files are read again when they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate that the engine shows there, a file in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// Headers of each request, whose values are secrets, by their names.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderValue>,
    /// How long an answer may take; from 100 ms to 30 s.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The HTTP API of Prometheus.
    Prometheus,
    /// Any JSON over HTTP.
    Json,
}

/// Where the whole value of a header is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValue {
    /// A file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(5))
}

impl MetricProvider {
    /// Checks what the types do not say, of all providers together.
    ///
    /// # Errors
    /// If a name is invalid or there twice, or a value is outside its range.
    pub fn check_all(providers: &[Self]) -> Result<()> {
        let mut names = BTreeSet::new();
        for provider in providers {
            let name = &provider.name;
            // The rules for names are the same.
            if let Err(error) = name.parse::<StrategyName>() {
                bail!("metricProviders: a name is invalid: {error}");
            }
            ensure!(
                names.insert(name),
                "metricProviders: there are two named '{name}'; give each a name of its own"
            );
            let (min, max) = (TIMEOUTS.start(), TIMEOUTS.end());
            ensure!(
                TIMEOUTS.contains(&provider.timeout.0),
                "metricProviders: the timeout of '{name}' is {:?}; choose a span from {min:?} to \
                 {max:?}",
                provider.timeout.0
            );
            let files = provider.client_files();
            let files = files.with_context(|| format!("metricProviders: '{name}'"))?;
            ensure!(
                files == ClientFiles::default() || provider.url.starts_with("https://"),
                "metricProviders: the files of '{name}' are for https, and its url is not: write \
                 https://"
            );
            let has_one_source = |value: &HeaderValue| value.file.is_some() != value.env.is_some();
            ensure!(
                provider.headers.values().all(has_one_source),
                "metricProviders: a header of '{name}' needs either file or env"
            );
        }
        Ok(())
    }

    /// The providers, with the secrets of their headers, and their files for TLS, to be followed.
    /// `variable` returns the value of an environment variable.
    ///
    /// # Errors
    /// If a secret or a file cannot be read, or an address or a header is not valid.
    pub fn open_all(
        providers: &[Self],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(MetricProviders, Vec<Arc<dyn Reload>>)> {
        let mut files: Vec<Arc<dyn Reload>> = Vec::new();
        let mut opened = Vec::with_capacity(providers.len());
        for provider in providers {
            let context = || format!("metric provider '{}'", provider.name);
            let tls = provider.client_files().with_context(context)?;
            let tls = ClientTls::open(tls).with_context(context)?;
            let open = provider.open(tls.clone(), &variable);
            opened.push((provider.name.clone(), open.with_context(context)?));
            files.push(Arc::new(tls));
        }
        Ok((MetricProviders::new(opened), files))
    }

    fn client_files(&self) -> Result<ClientFiles> {
        let certificate = (self.client_cert.as_ref(), "clientCert");
        Ok(ClientFiles {
            authorities: self.ca.clone(),
            client: pair(certificate, (self.client_key.as_ref(), "clientKey"))?,
            ..ClientFiles::default()
        })
    }

    fn open(
        &self,
        tls: ClientTls,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn Provider>> {
        let value = |source: &HeaderValue| match (&source.file, &source.env) {
            (Some(file), _) => secret_file::read(file),
            (None, Some(name)) => {
                let value = variable(name).filter(|value| !value.is_empty());
                let value = value.with_context(|| format!("{name} is not set"))?;
                Ok(Secret::new(value))
            }
            (None, None) => bail!("a header needs either file or env"),
        };
        let headers = self.headers.iter();
        let headers: Result<_> = headers
            .map(|(name, source)| Ok((name.clone(), value(source)?)))
            .collect();
        Ok(Arc::new(HttpProvider::new(HttpProviderConfig {
            kind: match self.kind {
                Kind::Prometheus => ProviderKind::Prometheus,
                Kind::Json => ProviderKind::Json,
            },
            url: self.url.clone(),
            headers: headers?,
            timeout: self.timeout.0,
            tls,
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str) -> MetricProvider {
        MetricProvider {
            name: name.to_owned(),
            kind: Kind::Prometheus,
            url: "http://127.0.0.1:9090".to_owned(),
            ca: None,
            client_cert: None,
            client_key: None,
            headers: BTreeMap::new(),
            timeout: default_timeout(),
        }
    }

    #[test]
    fn providers_are_checked_together() {
        let check = |providers: &[MetricProvider]| {
            MetricProvider::check_all(providers).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[provider("a"), provider("b")]), Ok(()));
        let two = check(&[provider("a"), provider("a")]).unwrap_err();
        assert!(two.contains("two named 'a'"), "{two}");
        let mut slow = provider("a");
        slow.timeout = Span(Duration::from_secs(31));
        assert!(check(&[slow]).unwrap_err().contains("from 100ms to 30s"));
        let mut files = provider("a");
        files.client_cert = Some("client.crt".into());
        let error = format!(
            "{:#}",
            MetricProvider::check_all(&[files.clone()]).unwrap_err()
        );
        assert!(error.contains("'a': clientCert needs"), "{error}");
        files.client_key = Some("client.key".into());
        let error = check(&[files.clone()]).unwrap_err();
        assert!(error.contains("write https://"), "{error}");
        files.url = "https://127.0.0.1:9090".to_owned();
        assert_eq!(check(&[files]), Ok(()));
        let mut nothing = provider("a");
        let value = HeaderValue {
            file: None,
            env: None,
        };
        nothing.headers.insert("Authorization".to_owned(), value);
        assert!(
            check(&[nothing])
                .unwrap_err()
                .contains("either file or env")
        );
    }

    #[test]
    fn the_secret_of_a_header_comes_from_the_environment_or_a_file() {
        let mut provider = provider("a");
        let value = HeaderValue {
            file: None,
            env: Some("PROMETHEUS_TOKEN".to_owned()),
        };
        provider.headers.insert("Authorization".to_owned(), value);
        let open = |token: Option<&str>| {
            let token = token.map(ToOwned::to_owned);
            let opened = MetricProvider::open_all(&[provider.clone()], |_| token.clone());
            opened.map(|(providers, _)| providers)
        };
        let opened = open(Some("Bearer tell-nobody")).unwrap();
        assert!(!format!("{opened:?}").contains("tell-nobody"));
        let error = format!("{:#}", open(None).unwrap_err());
        assert_eq!(error, "metric provider 'a': PROMETHEUS_TOKEN is not set");
        let error = format!("{:#}", open(Some("two\nlines of-a-secret")).unwrap_err());
        assert!(error.contains("'Authorization' is not valid"), "{error}");
        assert!(!error.contains("of-a-secret"), "{error}");
    }
}
