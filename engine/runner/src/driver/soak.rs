//! A soak: the counters of the nodes are read until the window is over, and judged.

mod readings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{
    BeforeSoak, Call, ClientFaults, Clock, DeploymentId, DerivedChecks, Environment, Finding,
    InconsistentReading, Judge, ModuleVersion, NodeReading, RecordedBaseline, SoakPlan,
    SoakReadings, Verdict,
};
use hotswap_fleet::Fleet;

pub(super) use self::readings::initial_readings;
use self::readings::{Answers, ask, needs_readings};
use super::error::describe;
use super::fresh_baseline::RestartedBaseline;
use super::node_operations::local_fault;
use super::probed_soak::ProbedSoak;
use super::queried_soak::QueriedSoak;
use super::silence::{self, SilenceWatch, SilentNode};
use super::soak_context::SoakContext;
use super::timers::{End, Timers};
use crate::live_soaks::LiveSoak;
use crate::metric_providers::MetricProviders;
use crate::retries::Retries;

/// Readings of each node in one soak. The judge looks after each of them.
const READINGS: u32 = 40;
/// Reading more often than this shows nothing new.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// Readings of a short soak. The judge never fails before the third.
const MIN_READINGS: u32 = 4;
/// The longest time between two of the readings by which an engine judges a soak that is nearly
/// over when it resumes it.
const MAX_LATE_INTERVAL: Duration = Duration::from_secs(15);
/// The time between two attempts to read all nodes at the end, on a machine that can open no
/// connection.
const LOCAL_FAULT_DELAY: Duration = Duration::from_secs(1);

/// Where a soak reads.
pub(super) struct Sources<'a> {
    pub(super) fleet: &'a dyn Fleet,
    pub(super) providers: &'a MetricProviders,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// Where faults of this machine are shown while the soak goes on.
    pub(super) retries: &'a Retries,
}

/// A soak that is under way.
pub(super) struct Soak {
    deployment: DeploymentId,
    environment: Environment,
    silence: SilenceWatch,
    window: Duration,
    end: End,
    readings: SoakReadings,
    judge: Judge,
    /// Where the limits come from, if no node runs the previous version.
    derived: Option<DerivedChecks>,
    /// How many readings were thrown away, and the last of them.
    inconsistent: (u64, Option<InconsistentReading>),
    needs_readings: bool,
    /// What providers of metrics are asked at each reading, where a check judges their answers.
    queried: Option<Box<QueriedSoak>>,
    /// The nodes of the baseline that reloaded their version beside the canary.
    restarted: Option<Box<RestartedBaseline>>,
    /// The requests that the nodes send themselves.
    probed: Option<Box<ProbedSoak>>,
    /// Whether this machine could not ask all nodes at the last reading.
    has_local_fault: bool,
    live: LiveSoak,
}

impl Soak {
    /// Continues the soak that `call` began until `end`, from what the journal holds of its
    /// beginning. `None` if `call` is not a soak. Moves its arguments, since thousands may soak.
    pub(super) fn resume(
        call: Call,
        module: &ModuleVersion,
        end: End,
        readings: Vec<NodeReading>,
        context: SoakContext,
        live: LiveSoak,
    ) -> Option<Self> {
        let Call::Soak {
            window,
            canary,
            baseline,
            checks,
        } = call
        else {
            return None;
        };
        let window = Duration::from_millis(window);
        let needs_readings = needs_readings(&checks, window);
        let needs = Judge::needs(&checks);
        let sides = (canary.as_slice(), baseline.as_slice());
        let probes = context.probes.as_deref().filter(|_| needs_readings);
        let probed =
            probes.map(|probes| ProbedSoak::new(probes.clone(), module, &canary, &baseline));
        let queried = QueriedSoak::new(&checks, module, sides, &readings, &context);
        let (checks, derived) = if baseline.is_empty() {
            let recorded = RecordedBaseline::new(module, &readings);
            let mut derived = recorded.derive(checks, &context.history);
            (std::mem::take(&mut derived.checks), Some(derived))
        } else {
            (checks, None)
        };
        let judge = Judge::new(SoakPlan {
            checks,
            has_baseline: !baseline.is_empty(),
            by_node: canary == baseline,
            before: BeforeSoak::new(&canary, &baseline, module, &readings),
            history: context.history,
            options: context.options,
        });
        let readings = SoakReadings::new(canary, baseline, module.clone(), needs, readings);
        Some(Self {
            deployment: context.deployment,
            environment: context.environment,
            silence: SilenceWatch::new(context.tolerated),
            window,
            end,
            readings,
            judge,
            derived,
            inconsistent: (0, None),
            needs_readings,
            queried: queried.map(Box::new),
            restarted: None,
            probed: probed.map(Box::new),
            has_local_fault: false,
            live,
        })
    }

    /// Compares only with those nodes of the baseline that have reloaded their version.
    pub(super) fn compare_with(&mut self, restarted: RestartedBaseline) {
        for node in restarted.left_out() {
            self.readings.leave_out(node);
        }
        self.restarted = Some(Box::new(restarted));
    }

    /// Reads the nodes until the window is over, a check has certainly failed, or all have passed
    /// and the deployment asks to end then; or until more nodes of the new version have fallen
    /// silent than may.
    pub(super) async fn run(&mut self, sources: &Sources<'_>, timers: &Timers) -> Verdict {
        let verdict = self.judge_until_end(sources, timers).await;
        self.end_probes(sources.fleet).await;
        verdict
    }

    async fn end_probes(&self, fleet: &dyn Fleet) {
        if let Some(probed) = &self.probed {
            Box::pin(probed.end(fleet, &self.environment)).await;
        }
    }

    /// An engine that resumes a soak sees all that happened while none was there in one reading, and
    /// the judge fails nobody by that: so it reads [`MIN_READINGS`] times, also beyond the end.
    fn interval_until_end(&mut self, timers: &Timers) -> Duration {
        let interval = interval(self.window);
        if !self.needs_readings || timers.left(self.end) >= interval * (MIN_READINGS - 1) {
            return interval;
        }
        let interval = interval.min(MAX_LATE_INTERVAL);
        self.end = timers.after(interval * MIN_READINGS);
        interval
    }

    async fn judge_until_end(&mut self, sources: &Sources<'_>, timers: &Timers) -> Verdict {
        let interval = self.interval_until_end(timers);
        loop {
            if let Some(silent) = Box::pin(self.go_on_probing(sources.fleet, timers)).await {
                return silence::conclude(self.verdict(), &silent);
            }
            if timers.has_passed(self.end) {
                if self.needs_readings {
                    Box::pin(self.observe(sources, timers)).await;
                }
                return self.verdict();
            }
            let next = if self.needs_readings {
                self.end.min(timers.after(interval))
            } else {
                self.end
            };
            let silent = self
                .silence
                .wait(self.readings.canary(), sources.fleet, timers, next);
            if let Some(silent) = silent.await {
                return silence::conclude(self.verdict(), &silent);
            }
            if self.needs_readings && !timers.has_passed(self.end) {
                // Boxed, so that what waits does not keep the memory of a reading.
                let verdict = Box::pin(self.judge_now(sources, timers)).await;
                if let Some(verdict) = verdict {
                    return verdict;
                }
            }
        }
    }

    /// Has the nodes send probes until the next reading. Returns those that fell silent meanwhile,
    /// if they are too many.
    async fn go_on_probing(
        &mut self,
        fleet: &dyn Fleet,
        timers: &Timers,
    ) -> Option<Vec<SilentNode>> {
        let probed = self.probed.as_mut()?;
        tokio::select! {
            biased;
            () = probed.go_on((fleet, &self.environment), interval(self.window)) => None,
            silent = self.silence.wait(self.readings.canary(), fleet, timers, End::NEVER) => silent,
        }
    }

    /// Reads the nodes, and returns the verdict if that ends the soak.
    async fn judge_now(&mut self, sources: &Sources<'_>, timers: &Timers) -> Option<Verdict> {
        let queried = self.queried.as_deref();
        // Beside the reading: a node that hangs must not hold up the watch.
        let answers = tokio::select! {
            biased;
            answers = ask(sources, &self.environment, &self.readings, queried) => answers,
            silent = self.silence.wait(self.readings.canary(), sources.fleet, timers, End::NEVER) => {
                return Some(silence::conclude(self.verdict(), &silent.unwrap_or_default()));
            }
        };
        self.note_local_fault(sources, answers.local_fault.as_deref());
        // The next reading is compared with the last one of each node, so that one which could not be
        // asked misses nothing.
        self.take(answers);
        if let Some(mut verdict) = self.judge.interim() {
            self.explain(&mut verdict.findings);
            return Some(verdict);
        }
        let mut findings = self.judge.findings();
        self.explain(&mut findings);
        self.live.show(sources.clock.now(), findings);
        None
    }

    /// Reads the nodes once more, and judges what was measured until now.
    pub(super) async fn finish(&mut self, sources: &Sources<'_>, timers: &Timers) -> Verdict {
        if self.needs_readings {
            self.observe(sources, timers).await;
        }
        self.end_probes(sources.fleet).await;
        self.verdict()
    }

    fn verdict(&self) -> Verdict {
        let mut verdict = self.judge.verdict();
        self.explain(&mut verdict.findings);
        verdict
    }

    /// Takes the last reading. Waits until this machine can ask all nodes: without some of them the
    /// verdict would be another one, and the nodes are not at fault.
    async fn observe(&mut self, sources: &Sources<'_>, timers: &Timers) {
        loop {
            let queried = self.queried.as_deref();
            let answers = ask(sources, &self.environment, &self.readings, queried).await;
            self.note_local_fault(sources, answers.local_fault.as_deref());
            if answers.local_fault.is_none() {
                self.take(answers);
                return;
            }
            let next = timers.after(LOCAL_FAULT_DELAY);
            timers.sleep_until(next).await;
        }
    }

    /// Shows people the fault of this machine at the newest reading, or that it has passed.
    fn note_local_fault(&mut self, sources: &Sources<'_>, reason: Option<&str>) {
        let (retries, deployment) = (sources.retries, self.deployment);
        match reason {
            Some(reason) => {
                let reason = local_fault(reason.to_owned());
                tracing::warn!(%deployment, reason = %describe(&reason), "not all nodes of a soak could be read");
                retries.record(deployment, sources.clock.now(), describe(&reason));
            }
            None if self.has_local_fault => retries.clear(deployment),
            None => {}
        }
        self.has_local_fault = reason.is_some();
    }

    fn take(&mut self, answers: Answers) {
        let Answers {
            readings, queries, ..
        } = answers;
        self.judge.observe_queries(queries);
        let observation = self.readings.observe(readings);
        for inconsistent in observation.inconsistent {
            let InconsistentReading { node, reason } = &inconsistent;
            tracing::warn!(%node, reason, "a reading was thrown away");
            let (count, last) = &mut self.inconsistent;
            *count += 1;
            *last = Some(inconsistent);
        }
        self.judge.observe(&observation.intervals);
    }

    /// Adds to findings what people should know beside them: where limits come from, what was not
    /// judged, and why.
    fn explain(&self, findings: &mut [Finding]) {
        if let Some(derived) = &self.derived {
            derived.explain(findings);
        }
        if let Some(restarted) = &self.restarted {
            restarted.explain(findings);
        }
        let notes = [
            describe_client_faults(self.readings.client_faults()),
            describe_inconsistent(&self.inconsistent),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        let probes = self.probed.as_ref();
        let probes = probes.map(|probed| probed.describe(self.readings.synthetic()));
        for finding in findings {
            let is_of_requests = !finding.check.metric.starts_with("query:");
            let of_errors = notes
                .iter()
                .filter(|_| finding.check.metric == "error-rate");
            for note in of_errors.chain(probes.as_ref().filter(|_| is_of_requests)) {
                finding.reason = format!("{}; {note}", finding.reason);
            }
        }
    }
}

/// `not judged: 12 requests to the new version and 3 to the previous one, whose clients left or
/// were too slow`.
fn describe_client_faults(faults: ClientFaults) -> Option<String> {
    let ClientFaults { canary, baseline } = faults;
    (canary > 0 || baseline > 0).then(|| {
        format!(
            "not judged: {canary} requests to the new version and {baseline} to the previous \
             one, whose clients left or were too slow"
        )
    })
}

fn describe_inconsistent((count, last): &(u64, Option<InconsistentReading>)) -> Option<String> {
    let InconsistentReading { node, reason } = last.as_ref()?;
    let readings = if *count == 1 {
        "a reading was".to_owned()
    } else {
        format!("{count} readings were")
    };
    Some(format!("{readings} thrown away: of {node}, {reason}"))
}

/// The time between two readings.
fn interval(window: Duration) -> Duration {
    (window / READINGS)
        .max(MIN_INTERVAL)
        .min(window / MIN_READINGS)
}
