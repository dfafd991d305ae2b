//! The session of an engine: the sign of life that its leases hang on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Clock as _, DeploymentId, Environment, Fence, SystemClock, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::commands::{Commands, random_word};
use super::config::RedisConfig;
use super::error::Error;
use super::opening::Destination;
use super::reply::Args;
use super::script;
use crate::{LivingEngine, ReadError, Session, UndrivenDeployment};

/// A session is renewed this often in its time to live: two renewals may fail.
const RENEWALS: u32 = 3;

/// How often settings are compared with those of the other engines.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// What the list of engines has of each: its name, its deployments and its settings.
const ENGINE_FIELDS: usize = 3;

/// The session of this engine. Renewed as long as [`Self::keep`] runs.
pub(super) struct EngineSession {
    commands: Commands,
    /// For renewals: nothing else waits on their connection, and one that is dead without a word is
    /// given up early enough to renew over another one.
    renewals: Commands,
    ttl: Duration,
    engine: String,
    /// It takes no work.
    is_observer: bool,
    /// What should be the same for all engines.
    settings: Option<Settings>,
    state: Mutex<State>,
    lapses: watch::Sender<u64>,
    /// What the server promises no more.
    lost_durability: watch::Receiver<Option<String>>,
}

/// Names of settings, and their values.
type Settings = BTreeMap<String, String>;

struct State {
    /// The random id of the session.
    id: Arc<str>,
    /// It lives at least until then, whatever happens: counted from before it was renewed.
    lives_until: Instant,
    has_ended: bool,
    /// What the server's clock showed, and when.
    heard: (Timestamp, Instant),
    /// When the store was found to have lost writes, for the last time.
    last_loss: Option<Timestamp>,
    /// Which engines have other settings.
    contradictions: BTreeSet<String>,
    /// Why the last sign of life was refused.
    refusal: Option<&'static str>,
}

impl EngineSession {
    /// Begins a session.
    pub(super) async fn begin(
        commands: Commands,
        to: &Destination,
        config: &RedisConfig,
        lost_durability: watch::Receiver<Option<String>>,
    ) -> Result<Self, Error> {
        let link = to.hasty_link(config.patience.min(config.lease_ttl / RENEWALS));
        let session = Self {
            renewals: commands.reading_over(link),
            commands,
            ttl: config.lease_ttl,
            engine: config.engine.clone(),
            is_observer: config.is_observer,
            settings: config.settings.clone(),
            state: Mutex::new(State {
                id: random_word().into(),
                lives_until: Instant::now(),
                has_ended: false,
                heard: (SystemClock.now(), Instant::now()),
                last_loss: None,
                contradictions: BTreeSet::new(),
                refusal: None,
            }),
            lapses: watch::Sender::new(0),
            lost_durability,
        };
        session.send("begin", &session.commands).await?;
        session.compare_settings().await;
        Ok(session)
    }

    /// The id of the current session.
    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.lock().id)
    }

    /// Renews the session until it is ended. Cancel safe.
    pub(super) async fn keep(&self) {
        let interval = self.ttl / RENEWALS;
        let mut delay = interval;
        let mut compared_at = Instant::now();
        loop {
            let lives_until = self.lock().lives_until;
            // Behind a process that was stopped, this comes late, and then it is over already.
            tokio::time::sleep(delay).await;
            delay = interval;
            if self.lock().has_ended {
                return;
            }
            let lapsed = Instant::now() >= lives_until;
            let renewed = tokio::select! {
                renewed = self.send("renew", &self.renewals) => renewed,
                () = tokio::time::sleep_until(lives_until), if !lapsed => Ok(false),
            };
            match renewed {
                Ok(true) if !lapsed => {
                    if compared_at.elapsed() >= COMPARE_INTERVAL {
                        compared_at = Instant::now();
                        self.compare_settings().await;
                    }
                }
                // The server may still have counted it as alive, but nothing was done meanwhile
                // that looked whether it is: what was driven begins anew.
                Ok(_) => self.lapse().await,
                Err(error) => {
                    log_failure(&error, "renew");
                    if matches!(error, Error::Unavailable { .. }) {
                        // It has waited for an answer already.
                        delay = interval / 10;
                    }
                    if Instant::now() >= lives_until {
                        self.lapse().await;
                    }
                }
            }
        }
    }

    /// Compares the settings with those of the other engines. Logs once which are different. Where the
    /// store does not answer in half the time to the next renewal, the next comparison does it.
    async fn compare_settings(&self) {
        let Some(own) = &self.settings else {
            return;
        };
        let engines = self.commands.read_list(&script::ENGINES, Args::new());
        let Ok(Ok(engines)) = timeout(self.ttl / RENEWALS / 2, engines).await else {
            return;
        };
        let mut found = BTreeSet::new();
        for index in 0..engines.len() / ENGINE_FIELDS {
            let field = |offset| engines.text(ENGINE_FIELDS * index + offset);
            let (Ok(engine), Ok(settings)) = (field(0), field(2)) else {
                continue;
            };
            // Those of an engine that tells none are empty.
            if let Ok(settings) = serde_json::from_str::<Settings>(settings) {
                found.extend(contradictions(own, engine, &settings));
            }
        }
        let known = std::mem::replace(&mut self.lock().contradictions, found.clone());
        for contradiction in found.difference(&known) {
            tracing::warn!(
                contradiction,
                "engines on the store have different settings"
            );
        }
    }

    /// Ends the session that was not renewed in time, and begins another.
    async fn lapse(&self) {
        let old = self.id();
        self.lock().id = random_word().into();
        self.lapses.send_modify(|count| *count += 1);
        tracing::warn!(
            engine = self.engine,
            "this engine's session with the store has expired: other engines may have taken over what it drove"
        );
        let mut backoff = super::link::Link::backoff();
        loop {
            match self.send("begin", &self.renewals).await {
                Ok(_) => break,
                Err(error) => {
                    log_failure(&error, "begin");
                    backoff.wait().await;
                }
            }
        }
        // What it drove is free at once. Without this, once its time is over.
        let args = Args::new().text("end").text(&old).number(0).text("");
        let _ = self.commands.touch(&script::SESSION, args).await;
    }

    /// Begins or renews the session. Returns whether it lives.
    async fn send(&self, what: &str, commands: &Commands) -> Result<bool, Error> {
        let began = Instant::now();
        let settings = match what {
            "begin" => self.settings_as_json(),
            _ => String::new(),
        };
        let args = Args::new()
            .text(what)
            .text(self.id())
            .number(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX))
            .text(&self.engine)
            .text(settings)
            .flag(self.is_observer);
        let sent = commands.touch(&script::SESSION, args).await;
        self.lock().refusal = match &sent {
            Err(Error::Refused { advice, .. }) => Some(*advice),
            _ => None,
        };
        let reply = sent?;
        let is_alive = reply.word()? == "alive";
        if is_alive {
            let time = Timestamp::from_millis(reply.number(1)?);
            let lost_time = reply.number(2)?;
            let mut state = self.lock();
            state.last_loss = (lost_time > 0).then(|| Timestamp::from_millis(lost_time));
            state.lives_until = began + self.ttl;
            // It was read somewhere on the way.
            state.heard = (time, began + began.elapsed() / 2);
        }
        Ok(is_alive)
    }

    /// Ends the session for good.
    pub(super) async fn end_now(&self) -> Result<(), Error> {
        if std::mem::replace(&mut self.lock().has_ended, true) {
            return Ok(());
        }
        let args = Args::new().text("end").text(self.id()).number(0).text("");
        self.commands.write(&script::SESSION, args).await?;
        Ok(())
    }

    /// Empty if this engine tells none.
    fn settings_as_json(&self) -> String {
        let settings = self.settings.as_ref();
        settings
            .and_then(|settings| serde_json::to_string(settings).ok())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In which settings another engine differs from this one, a sentence for each.
fn contradictions(own: &Settings, engine: &str, other: &Settings) -> Vec<String> {
    let names: BTreeSet<_> = own.keys().chain(other.keys()).collect();
    let value = |of: &Settings, name: &String| match of.get(name) {
        Some(value) => format!("'{value}'"),
        None => "not set".to_owned(),
    };
    let differs = |name: &&String| own.get(*name) != other.get(*name);
    let describe = |name: &String| {
        let (ours, theirs) = (value(own, name), value(other, name));
        format!("{name} is {ours} on this engine and {theirs} on {engine}")
    };
    names.into_iter().filter(differs).map(describe).collect()
}

fn log_failure(error: &Error, what: &str) {
    let error: &dyn std::error::Error = error;
    tracing::warn!(error, "cannot {what} the session with the store, retrying");
}

#[async_trait]
impl Session for EngineSession {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    fn server_time(&self) -> (Timestamp, std::time::Instant) {
        let (time, moment) = self.lock().heard;
        (time, moment.into_std())
    }

    fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    fn last_loss(&self) -> Option<Timestamp> {
        self.lock().last_loss
    }

    fn lost_durability(&self) -> Option<String> {
        self.lost_durability.borrow().clone()
    }

    fn contradictions(&self) -> Vec<String> {
        self.lock().contradictions.iter().cloned().collect()
    }

    fn write_failure(&self) -> Option<String> {
        let state = self.lock();
        if let Some(advice) = state.refusal {
            return Some(format!("the store refuses writes: {advice}"));
        }
        let silent = Instant::now().checked_duration_since(state.lives_until);
        silent.filter(|silent| !silent.is_zero()).map(|silent| {
            let seconds = (silent + self.ttl).as_secs();
            format!("the store has accepted no sign of life of this engine for {seconds} s")
        })
    }

    async fn undriven_deployments(&self) -> Result<Vec<UndrivenDeployment>, ReadError> {
        // It frees what engines drove that are gone. Where the server forgets that, the next look
        // does it again.
        let found = self.commands.touch(&script::UNDRIVEN, Args::new()).await?;
        let pairs = (0..found.len() / 2).map(|pair| {
            Ok(UndrivenDeployment {
                deployment: found.parse(2 * pair, "the id of a deployment")?,
                environment: found.parse(2 * pair + 1, "an environment")?,
            })
        });
        Ok(pairs.collect::<Result<_, Error>>()?)
    }

    async fn own_leases(&self, drivers: usize) -> Result<Vec<DeploymentId>, ReadError> {
        let args = Args::new().text(self.id()).number(drivers as u64);
        let found = self.commands.read_list(&script::OWN_LEASES, args).await?;
        Ok(found.parse_all("the id of a deployment")?)
    }

    async fn release(&self, deployment: DeploymentId) -> Result<(), ReadError> {
        let args = Args::new().text(deployment.to_string()).text(self.id());
        // Behind whatever is queued for the deployment.
        self.commands.write(&script::RELEASE_LEASE, args).await?;
        Ok(())
    }

    async fn give_back_environment(
        &self,
        leases: &[(Environment, Fence)],
    ) -> Result<Option<Environment>, ReadError> {
        let args = Args::new().text(self.id());
        let args = leases.iter().fold(args, |args, (environment, fence)| {
            args.text(environment.as_str()).number(fence.0)
        });
        let script = &script::GIVE_BACK_ENVIRONMENT;
        let reply = self.commands.write(script, args).await?;
        match reply.word()? {
            "kept" => Ok(None),
            _ => Ok(Some(reply.parse(1, "an environment")?)),
        }
    }

    async fn pass_on_environment(
        &self,
        environment: &Environment,
        fence: Fence,
    ) -> Result<bool, ReadError> {
        let args = Args::new().text(self.id());
        let args = args.text(environment.as_str()).number(fence.0);
        let script = &script::PASS_ON_ENVIRONMENT;
        let reply = self.commands.write(script, args).await?;
        Ok(reply.word()? != "kept")
    }

    async fn engines(&self) -> Result<Vec<LivingEngine>, ReadError> {
        let found = self.commands.read_list(&script::ENGINES, Args::new());
        let found = found.await?;
        let engines = (0..found.len() / ENGINE_FIELDS).map(|index| {
            Ok(LivingEngine {
                name: found.text(ENGINE_FIELDS * index)?.to_owned(),
                deployments: found.number(ENGINE_FIELDS * index + 1)?,
            })
        });
        Ok(engines.collect::<Result<_, Error>>()?)
    }

    async fn end(&self) -> Result<(), ReadError> {
        Ok(self.end_now().await?)
    }
}
