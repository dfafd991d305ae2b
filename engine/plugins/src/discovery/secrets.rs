use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hotswap_common::Secret;
use http::{HeaderName, HeaderValue, Request};
use tokio::task;
use tokio::time::Instant;
use tracing::warn;

use super::bindings::exports::hotswap::discovery::backend::{
    Secret as SecretDescriptor, SecretPlace,
};
use super::error::SettingsError;
use super::secret_source::SecretSource;

/// How long a file's secret counts as fresh. Kubernetes changes a token while the one before is
/// valid for minutes.
const REREAD: Duration = Duration::from_secs(60);

/// The secrets of a backend, and where in its requests each belongs.
#[derive(Default)]
pub(super) struct Secrets {
    sources: Vec<NamedSource>,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct NamedSource {
    name: String,
    place: SecretPlace,
    source: SecretSource,
}

#[derive(Default)]
struct Current {
    /// When the files were read. `None` before the first request: an instance may start long
    /// after its settings were made.
    read_at: Option<Instant>,
    /// In the order of the sources.
    placed: Vec<Placed>,
}

/// A secret in its place.
enum Placed {
    Header(HeaderName, HeaderValue),
    Body(BodySecret),
}

struct BodySecret {
    path: String,
    /// `${secret.NAME}`.
    placeholder: String,
    /// As JSON writes it, without quotes.
    text: Secret,
}

impl Secrets {
    /// Puts each value in the place that the backend described.
    pub(super) fn new(
        described: &[SecretDescriptor],
        values: &BTreeMap<String, SecretSource>,
    ) -> Result<Self, SettingsError> {
        let (mut sources, mut placed) = (Vec::new(), Vec::new());
        for (name, source) in values {
            let secret = described.iter().find(|secret| secret.name == *name);
            let secret = secret.ok_or_else(|| unknown(name, described))?;
            placed.push(Placed::new(name, &secret.place, source.first_value())?);
            sources.push(NamedSource {
                name: name.clone(),
                place: secret.place.clone(),
                source: source.clone(),
            });
        }
        Ok(Self {
            sources,
            current: Mutex::new(Current {
                read_at: None,
                placed,
            }),
        })
    }

    /// Adds the secrets to a request. Reads the files again first where that is due.
    pub(super) async fn add_to(&self, request: &mut Request<Bytes>) {
        if self.is_due() {
            self.reread().await;
        }
        for placed in &self.current().placed {
            placed.add_to(request);
        }
    }

    /// Has the files read again before the next request.
    pub(super) fn distrust(&self) {
        self.current().read_at = None;
    }

    fn is_due(&self) -> bool {
        let is_old = |at: Instant| at.elapsed() >= REREAD;
        let has_file = self.sources.iter().any(|named| named.source.has_file());
        has_file && self.current().read_at.is_none_or(is_old)
    }

    async fn reread(&self) {
        self.current().read_at = Some(Instant::now());
        let sources = self.sources.clone();
        let read = task::spawn_blocking(move || {
            let read = |named: &NamedSource| {
                let value = named.source.read_again_blocking()?;
                let placed = value.map_err(|error| error.to_string()).and_then(|value| {
                    let placed = Placed::new(&named.name, &named.place, &value);
                    placed.map_err(|error| error.to_string())
                });
                Some(placed)
            };
            sources.iter().map(read).collect::<Vec<_>>()
        });
        for (index, read) in read.await.unwrap_or_default().into_iter().enumerate() {
            match read {
                Some(Ok(placed)) => self.current().placed[index] = placed,
                Some(Err(error)) => {
                    warn!(
                        error,
                        "a secret cannot be read again; the one before stays in use"
                    );
                }
                None => {}
            }
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Placed {
    fn new(name: &str, place: &SecretPlace, value: &Secret) -> Result<Self, SettingsError> {
        Ok(match place {
            SecretPlace::Header(header) => {
                let unsendable = || SettingsError::UnsendableSecret(name.to_owned());
                let text = format!("{}{}", header.prefix, value.expose());
                let mut value = HeaderValue::from_str(&text).map_err(|_| unsendable())?;
                value.set_sensitive(true);
                let name = header.name.parse().map_err(|_| unsendable())?;
                Self::Header(name, value)
            }
            SecretPlace::Body(path) => Self::Body(BodySecret {
                path: path.clone(),
                placeholder: format!("${{secret.{name}}}"),
                text: json_text(value),
            }),
        })
    }

    fn add_to(&self, request: &mut Request<Bytes>) {
        match self {
            Self::Header(name, value) => {
                request.headers_mut().insert(name, value.clone());
            }
            Self::Body(secret) => secret.add_to(request),
        }
    }
}

impl BodySecret {
    fn add_to(&self, request: &mut Request<Bytes>) {
        if request.uri().path() != self.path {
            return;
        }
        let Ok(text) = std::str::from_utf8(request.body()) else {
            return;
        };
        if text.contains(&self.placeholder) {
            let text = text.replace(&self.placeholder, self.text.expose());
            let length = HeaderValue::from(text.len());
            *request.body_mut() = Bytes::from(text);
            request
                .headers_mut()
                .insert(http::header::CONTENT_LENGTH, length);
        }
    }
}

fn unknown(name: &str, described: &[SecretDescriptor]) -> SettingsError {
    let known: Vec<_> = described.iter().map(|secret| &*secret.name).collect();
    SettingsError::UnknownSecret {
        name: name.to_owned(),
        known: match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(", "),
        },
    }
}

fn json_text(secret: &Secret) -> Secret {
    let quoted = serde_json::Value::from(secret.expose()).to_string();
    Secret::new(quoted[1..quoted.len() - 1].to_owned())
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::exports::hotswap::discovery::backend::SecretHeader;
    use super::*;

    fn described() -> [SecretDescriptor; 2] {
        [
            SecretDescriptor {
                name: "token".to_owned(),
                summary: "The token.".to_owned(),
                place: SecretPlace::Header(SecretHeader {
                    name: "authorization".to_owned(),
                    prefix: "Bearer ".to_owned(),
                }),
            },
            SecretDescriptor {
                name: "password".to_owned(),
                summary: "The password.".to_owned(),
                place: SecretPlace::Body("/login".to_owned()),
            },
        ]
    }

    fn secrets(values: &[(&str, &str)]) -> Result<Secrets, SettingsError> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value).into()));
        Secrets::new(&described(), &values.collect())
    }

    async fn sent(secrets: &Secrets, path: &str) -> Request<Bytes> {
        let request = Request::post(format!("http://a:1{path}"))
            .header("authorization", "Bearer of the component")
            .body(Bytes::from_static(br#"{"password":"${secret.password}"}"#));
        let mut request = request.expect("a request");
        secrets.add_to(&mut request).await;
        request
    }

    #[tokio::test]
    async fn secrets_stand_in_headers_and_only_in_bodies_of_their_path() {
        let secrets = secrets(&[("token", "t-1"), ("password", "a\"b")]).expect("valid");
        let login = sent(&secrets, "/login?x=1").await;
        assert_eq!(login.headers()["authorization"], "Bearer t-1");
        assert_eq!(login.body(), r#"{"password":"a\"b"}"#.as_bytes());
        assert_eq!(login.headers()["content-length"], "19");
        let elsewhere = sent(&secrets, "/v1/kv/copy").await;
        assert_eq!(
            elsewhere.body(),
            r#"{"password":"${secret.password}"}"#.as_bytes()
        );
        assert!(!format!("{secrets:?} {elsewhere:?}").contains("t-1"));
    }

    #[test]
    fn secrets_that_the_backend_does_not_know_are_rejected() {
        let error = secrets(&[("tokn", "t")]).expect_err("unknown").to_string();
        assert_eq!(
            error,
            "the backend has no secret named 'tokn'; it has token, password"
        );
        let error = secrets(&[("token", "a\nb")]).expect_err("two lines");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_after_a_minute_and_once_a_server_refuses_the_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "t-1\n").expect("written");
        let source = SecretSource::from_file(&file).expect("a secret");
        let values = BTreeMap::from([("token".to_owned(), source)]);
        let secrets = Secrets::new(&described(), &values).expect("valid");
        let token = async || {
            let request = sent(&secrets, "/").await;
            let value = request.headers()["authorization"].to_str().expect("text");
            value.to_owned()
        };
        // The settings may be older than the instance.
        std::fs::write(&file, "t-2").expect("written");
        assert_eq!(token().await, "Bearer t-2");
        std::fs::write(&file, "t-3").expect("written");
        assert_eq!(token().await, "Bearer t-2");
        tokio::time::advance(REREAD).await;
        assert_eq!(token().await, "Bearer t-3");
        std::fs::write(&file, "t-4").expect("written");
        secrets.distrust();
        assert_eq!(token().await, "Bearer t-4");
        // In the middle of a change, and one that no header can carry.
        for broken in ["", "two\nlines"] {
            std::fs::write(&file, broken).expect("written");
            secrets.distrust();
            assert_eq!(token().await, "Bearer t-4");
        }
        std::fs::remove_file(&file).expect("removed");
        secrets.distrust();
        assert_eq!(token().await, "Bearer t-4");
    }
}
