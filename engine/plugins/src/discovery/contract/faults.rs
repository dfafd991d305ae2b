use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::stand_ins::{Fault, SilentNameServers};
use super::{ContractCheck, Subject, kind_of};
use crate::discovery::component::BackendSettings;
use crate::discovery::error::BackendError;
use crate::discovery::instance::BackendInstance;

/// A rule, the fault that shows whether it is kept, and the errors that keep it. Without errors,
/// any outcome keeps it but the end of the instance.
type Case = (&'static str, Fault, &'static [&'static str]);

/// Texts that are JSON, and no answers of any registry: or an empty one, which may be.
const SHAPES: [&str; 8] = [
    "{}",
    "[]",
    "null",
    "17",
    "\"text\"",
    "[null, 1, {}]",
    "{\"items\": 1, \"kvs\": {}, \"metadata\": [], \"header\": \"\"}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

const UNAVAILABLE: &[&str] = &["unavailable"];
const DENIED: &[&str] = &["denied"];
const PROTOCOL: &[&str] = &["protocol"];
const BROKEN: &[&str] = &["unavailable", "protocol"];

const CASES: [Case; 12] = [
    (
        "a server that refuses connections is unavailable",
        Fault::Refuses,
        UNAVAILABLE,
    ),
    (
        "a server that does not answer is unavailable, in time",
        Fault::IsSilent,
        UNAVAILABLE,
    ),
    (
        "a server that closes connections is unavailable",
        Fault::Closes,
        UNAVAILABLE,
    ),
    (
        "a server that does not speak HTTP is an error",
        Fault::SpeaksNonsense,
        BROKEN,
    ),
    (
        "an answer that breaks off is an error",
        Fault::BreaksOff,
        BROKEN,
    ),
    (
        "an answer without an end is an error, in time",
        Fault::IsEndless,
        BROKEN,
    ),
    (
        "status 500 is unavailable",
        Fault::Answers(500, "no leader"),
        UNAVAILABLE,
    ),
    (
        "status 503 is unavailable",
        Fault::Answers(503, "<html>"),
        UNAVAILABLE,
    ),
    (
        "status 401 is denied",
        Fault::Answers(401, "who are you?"),
        DENIED,
    ),
    (
        "status 403 is denied",
        Fault::Answers(403, "not you"),
        DENIED,
    ),
    (
        "a redirect is an error",
        Fault::Answers(302, ""),
        &["protocol", "other"],
    ),
    (
        "a page of HTML is no answer",
        Fault::Answers(200, "<html>"),
        PROTOCOL,
    ),
];

/// How long a watch of a faulty server waits.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);

/// Faults that are checked at the same time. A server that is silent is waited for; most others need
/// no time.
const CONCURRENT: usize = 3;

const SHAPES_RULE: &str = "JSON of any shape crashes nothing";
const DNS_RULE: &str = "name servers that do not answer are unavailable";

impl Subject<'_> {
    pub(super) async fn check_faults(&self) -> Vec<ContractCheck> {
        let mut checks = Vec::new();
        // Faults of the watch, not only of the list. Without an answer other checks have failed.
        let cursor = self.cursor().await;
        let cursor = cursor.as_deref();
        let has_origins = !self.settings.origins.is_empty();
        // Each is waited for, and none knows of the others.
        let check_case = |(rule, fault, expected): Case| async move {
            match has_origins {
                true => ContractCheck::new(rule, self.check_fault(fault, cursor, expected).await),
                false => ContractCheck::skipped(rule, "the backend sends no requests"),
            }
        };
        let cases = stream::iter(CASES).map(check_case).buffered(CONCURRENT);
        checks.extend(cases.collect::<Vec<_>>().await);
        if has_origins {
            let check_shape = |shape: &'static str| async move {
                let fault = Fault::Answers(200, shape);
                let kept = self.check_fault(fault, cursor, &[]).await;
                kept.map_err(|reason| format!("{shape}: {reason}"))
            };
            let shapes = stream::iter(SHAPES).map(check_shape).buffered(CONCURRENT);
            let shapes = shapes.collect::<Vec<_>>().await.into_iter();
            checks.push(ContractCheck::new(SHAPES_RULE, shapes.collect()));
        }
        if !self.settings.names.is_empty() {
            let settings = BackendSettings {
                resolver: Arc::new(SilentNameServers),
                ..self.settings.clone()
            };
            let kept = self.check_error(settings, cursor, UNAVAILABLE).await;
            checks.push(ContractCheck::new(DNS_RULE, kept));
        }
        checks
    }

    /// Where the registry itself is now.
    async fn cursor(&self) -> Option<String> {
        let mut instance = self.start_with(self.settings.clone()).await.ok()?;
        let service = &*self.options.service;
        let listed = self.watch(&mut instance, service, None, Duration::ZERO);
        Some(listed.await.ok()?.cursor)
    }

    async fn check_fault(
        &self,
        fault: Fault,
        cursor: Option<&str>,
        expected: &[&str],
    ) -> Result<(), String> {
        let settings = BackendSettings {
            stand_in: Some(Arc::new(fault)),
            ..self.settings.clone()
        };
        self.check_error(settings, cursor, expected).await
    }

    /// What comes of a list, and of a watch.
    async fn check_error(
        &self,
        settings: BackendSettings,
        cursor: Option<&str>,
        expected: &[&str],
    ) -> Result<(), String> {
        let list = async {
            let mut instance = self.start_with(settings.clone()).await?;
            self.check_outcome(&mut instance, None, Duration::ZERO, expected)
                .await
        };
        let watch = async {
            let Some(cursor) = cursor else { return Ok(()) };
            let mut instance = self.start_with(settings.clone()).await?;
            self.check_outcome(&mut instance, Some(cursor), WATCH_PATIENCE, expected)
                .await
                .map_err(|reason| format!("while it watches: {reason}"))
        };
        let (list, watch) = tokio::join!(list, watch);
        list.and(watch)
    }

    async fn check_outcome(
        &self,
        instance: &mut BackendInstance,
        cursor: Option<&str>,
        patience: Duration,
        expected: &[&str],
    ) -> Result<(), String> {
        let service = &*self.options.service;
        match self.watch(instance, service, cursor, patience).await {
            Ok(_) if expected.is_empty() => Ok(()),
            Ok(found) => Err(format!(
                "it answered {} instances; answer with the error {}",
                found.instances.len(),
                expected.join(" or ")
            )),
            Err(BackendError::Registry(error)) => {
                let kind = kind_of(&error);
                match expected.is_empty() || expected.contains(&kind) {
                    true => Ok(()),
                    false => Err(format!(
                        "it answered with the error {kind}, {}; it should be {}",
                        BackendError::Registry(error),
                        expected.join(" or ")
                    )),
                }
            }
            Err(ended) => Err(ended.to_string()),
        }
    }
}
