//! A client that checks every response against the OpenAPI document.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

pub const API_TOKEN: &str = "api-token-of-these-tests";
pub const NODE_TOKEN: &str = "node-token-of-these-tests";

/// Calls one server with one token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    token: Option<Arc<str>>,
    document: Arc<Value>,
    seen: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: String) -> Self {
        let document = serde_json::from_str(&hotswap_api::openapi()).unwrap();
        Self {
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(60))
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            base,
            token: Some(API_TOKEN.into()),
            document: Arc::new(document),
            seen: Arc::default(),
        }
    }

    /// The same client with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(Into::into),
            ..self.clone()
        }
    }

    /// The token of the client, if it has one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Each operation with each status that it has answered to any clone of the client.
    pub fn seen(&self) -> BTreeSet<(String, String)> {
        self.seen.lock().unwrap().clone()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, |request| request).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, |request| request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, |request| request.json(&body))
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, |request| request.json(&body))
            .await
    }

    /// Sends a WebAssembly binary.
    pub async fn wasm(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(method, path, |request| {
            request
                .header("content-type", "application/wasm")
                .body(body)
        })
        .await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        build: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = build(request).send().await.unwrap();
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        };
        self.check(&method, path, &answer);
        answer
    }

    /// The status of a response whose body may never end.
    pub async fn status(&self, method: Method, path: &str) -> u16 {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    }

    /// Checks that the response has a request id, that a failure is a problem, and that the
    /// status and the content type are documented.
    fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let id = answer.header("x-request-id");
        assert!(!id.is_empty(), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        if answer.status >= 400 && *method != Method::HEAD {
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{method} {path}: {answer:?}"
            );
            let problem = answer.json();
            assert_eq!(problem["status"], answer.status);
            assert_eq!(problem["request_id"], id);
            let problem_type = problem["type"].as_str().unwrap();
            assert!(
                problem_type.starts_with("urn:hotswap:problem:"),
                "{problem_type}"
            );
            for field in ["title", "detail"] {
                assert!(!problem[field].as_str().unwrap().is_empty(), "{problem}");
            }
        }
        let Some(operation) = self.operation(method, path) else {
            return;
        };
        let name = operation["operationId"].as_str().unwrap();
        let status = answer.status.to_string();
        let documented = &operation["responses"][&status];
        assert!(
            documented.is_object(),
            "{name} answers {status}, which is not documented: {}",
            String::from_utf8_lossy(&answer.body)
        );
        if let Some(content) = documented["content"].as_object() {
            let content_type = answer.header("content-type");
            assert!(
                content.contains_key(content_type),
                "{name} {status}: {content_type}"
            );
        }
        self.seen.lock().unwrap().insert((name.to_owned(), status));
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let parts: Vec<_> = path.split('/').collect();
        let matches = |template: &str| {
            let template: Vec<_> = template.split('/').collect();
            template.len() == parts.len()
                && template
                    .iter()
                    .zip(&parts)
                    .all(|(expected, part)| expected.starts_with('{') || expected == part)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let (_, operations) = paths.iter().find(|(template, _)| matches(template))?;
        operations.get(method.as_str().to_lowercase())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body of a successful response.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(
            self.status < 300,
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// The problem in the response, which must have this status and type.
    #[track_caller]
    pub fn problem(self, status: u16, slug: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{text}");
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("urn:hotswap:problem:{slug}"),
            "{text}"
        );
        problem
    }
}
