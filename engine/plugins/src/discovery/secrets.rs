use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use hotswap_common::Secret;
use http::{HeaderName, HeaderValue, Request};

use super::bindings::exports::hotswap::discovery::backend::{
    Secret as SecretDescriptor, SecretPlace,
};
use super::error::SettingsError;

/// The secrets of a backend, and where in its requests each belongs.
#[derive(Default)]
pub(super) struct Secrets {
    headers: Vec<(HeaderName, HeaderValue)>,
    bodies: Vec<BodySecret>,
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
        values: &BTreeMap<String, Secret>,
    ) -> Result<Self, SettingsError> {
        let mut secrets = Self::default();
        for (name, value) in values {
            let secret = described.iter().find(|secret| secret.name == *name);
            let secret = secret.ok_or_else(|| unknown(name, described))?;
            match &secret.place {
                SecretPlace::Header(header) => {
                    let unsendable = || SettingsError::UnsendableSecret(name.clone());
                    let text = format!("{}{}", header.prefix, value.expose());
                    let mut value = HeaderValue::from_str(&text).map_err(|_| unsendable())?;
                    value.set_sensitive(true);
                    let header: HeaderName = header.name.parse().map_err(|_| unsendable())?;
                    secrets.headers.push((header, value));
                }
                SecretPlace::Body(path) => secrets.bodies.push(BodySecret {
                    path: path.clone(),
                    placeholder: format!("${{secret.{name}}}"),
                    text: json_text(value),
                }),
            }
        }
        Ok(secrets)
    }

    /// Adds the secrets to a request.
    pub(super) fn add_to(&self, request: &mut Request<Bytes>) {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        for secret in &self.bodies {
            if request.uri().path() != secret.path {
                continue;
            }
            let Ok(text) = std::str::from_utf8(request.body()) else {
                continue;
            };
            if text.contains(&secret.placeholder) {
                let text = text.replace(&secret.placeholder, secret.text.expose());
                let length = HeaderValue::from(text.len());
                *request.body_mut() = Bytes::from(text);
                request
                    .headers_mut()
                    .insert(http::header::CONTENT_LENGTH, length);
            }
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
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        Secrets::new(&described(), &values.collect())
    }

    fn sent(secrets: &Secrets, path: &str) -> Request<Bytes> {
        let request = Request::post(format!("http://a:1{path}"))
            .header("authorization", "Bearer of the component")
            .body(Bytes::from_static(br#"{"password":"${secret.password}"}"#));
        let mut request = request.expect("a request");
        secrets.add_to(&mut request);
        request
    }

    #[test]
    fn secrets_stand_in_headers_and_only_in_bodies_of_their_path() {
        let secrets = secrets(&[("token", "t-1"), ("password", "a\"b")]).expect("valid");
        let login = sent(&secrets, "/login?x=1");
        assert_eq!(login.headers()["authorization"], "Bearer t-1");
        assert_eq!(login.body(), r#"{"password":"a\"b"}"#.as_bytes());
        assert_eq!(login.headers()["content-length"], "19");
        let elsewhere = sent(&secrets, "/v1/kv/copy");
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
}
