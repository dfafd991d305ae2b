use hotswap_core::Check;

use super::super::error::Error;
use super::super::fixture::{self, ListedFleet, TestClock};
use super::super::members::Members;
use super::*;
use crate::live_soaks::LiveSoaks;

const NO_MEMBERS: Members<'_> = Members {
    nodes: &[],
    missing: &[],
    cordoned: &[],
};

fn check() -> Check {
    Check {
        metric: "error-rate".into(),
        max: Some(0.1),
        max_increase: None,
        min_increase: None,
    }
}

#[test]
fn a_soak_without_checks_or_without_time_needs_no_readings() {
    let minute = Duration::from_secs(60);
    assert!(needs_readings(&[check()], minute));
    assert!(!needs_readings(&[], minute));
    assert!(!needs_readings(&[check()], Duration::ZERO));
}

#[test]
fn a_short_soak_has_enough_readings_to_fail() {
    let millis = Duration::from_millis;
    assert_eq!(interval(millis(400)), millis(100));
    assert_eq!(interval(millis(2000)), millis(250));
    assert_eq!(interval(millis(400_000)), millis(10_000));
}

fn soak() -> Call {
    Call::Soak {
        window: 60_000,
        canary: vec!["a".parse().unwrap()],
        baseline: vec!["b".parse().unwrap()],
        checks: vec![check()],
    }
}

fn faulty_fleet(faults: u32) -> ListedFleet {
    let mut fleet = ListedFleet::new(&[]);
    fleet.local_faults = Some(faults.into());
    fleet
}

#[tokio::test(start_paused = true)]
async fn no_soak_begins_without_the_nodes_that_this_machine_cannot_ask() {
    let header = fixture::header();
    let of = (&header.environment, &header.module.name);
    let first = initial_readings(&faulty_fleet(1), of, &soak()).await;
    assert!(matches!(first, Err(Error::Nodes(_))), "{first:?}");
    let readings = initial_readings(&faulty_fleet(0), of, &soak()).await;
    assert_eq!(readings.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_reading_waits_until_this_machine_can_ask_all_nodes() {
    let (module, fleet) = (fixture::module("2.0.0"), faulty_fleet(5));
    let timers = Timers::new(Arc::new(TestClock::default()));
    let context = SoakContext::new(&fixture::header(), NO_MEMBERS, []);
    let deployment = context.deployment;
    let live = Arc::<LiveSoaks>::default().begin(deployment);
    let end = timers.after(Duration::ZERO);
    let mut soak = Soak::resume(soak(), &module, end, Vec::new(), context, live).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    let retries = Retries::default();
    let sources = Sources {
        fleet: &fleet,
        providers: &MetricProviders::default(),
        clock: &clock,
        retries: &retries,
    };
    let started = tokio::time::Instant::now();
    {
        let mut finishing = std::pin::pin!(soak.finish(&sources, &timers));
        let early = tokio::time::timeout(Duration::from_millis(1500), &mut finishing).await;
        assert!(early.is_err());
        let shown = retries.get(deployment).unwrap();
        assert!(shown.reason.ends_with("no files"), "{shown:?}");
        finishing.await;
    }
    // Two nodes at each attempt: the third still lacks one of them.
    assert_eq!(started.elapsed(), 3 * LOCAL_FAULT_DELAY);
    assert_eq!(retries.get(deployment), None);
}

#[test]
fn only_a_soak_resumes_as_one() {
    let module = fixture::module("2.0.0");
    let context = SoakContext::new(&fixture::header(), NO_MEMBERS, []);
    let live = Arc::<LiveSoaks>::default().begin(context.deployment);
    assert!(Soak::resume(Call::Now, &module, End::NEVER, Vec::new(), context, live).is_none());
}
