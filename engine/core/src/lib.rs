//! The pure model of HotSwap: deployments, the events of their journals, the fold of events
//! into state, policies, and the judge of soaks.
//!
//! All decisions are made in this crate. Nothing here does I/O, is asynchronous or reads a
//! clock, so tests only have to call it. The one exception is [`Clock`] with its
//! [`SystemClock`], which the program injects.
//!
//! Start with [`EventBody`], the events, and [`Deployment`], the state that they fold into.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod amount;
mod answer;
mod call;
mod cause;
mod check;
mod cordon;
mod damage;
mod deadline;
mod deployment;
mod digest;
mod environment_event;
mod event;
mod histogram;
mod interval;
mod judge;
mod label;
mod lifecycle;
mod limits;
mod module;
mod module_metric;
mod name;
mod new_uuid;
mod node;
mod order;
mod out_of_range;
mod parse_error;
mod policy;
mod query_reading;
mod reading;
mod recorded_baseline;
mod replay;
mod request_difference;
mod salvaged_journal;
mod schema;
mod selector;
mod soak_readings;
mod time;

pub use amount::Amount;
pub use answer::{Answer, Decision};
pub use call::{Call, CallKind, HttpProbe, Level};
pub use cause::{Cause, CauseKind, Outcome};
pub use check::{Bursts, Check, Condition, ConditionKind, Finding, Judgement, Lifetimes, Verdict};
pub use cordon::{Cordon, CordonedNode, Cordons};
pub use damage::Damage;
pub use deadline::Deadline;
pub use deployment::{
    Deployment, DeploymentSummary, KnownVersion, LogLine, NodePhase, NodeState, Stage, WaitId,
};
pub use digest::Digest;
pub use environment_event::{EnvironmentEvent, EnvironmentEventBody, Repair};
pub use event::{
    Append, Event, EventBody, Header, Idempotency, Requester, StrategyRef, Verification,
};
pub use histogram::Histogram;
pub use interval::{NodeInterval, VersionInterval};
pub use judge::{Judge, MetricNeeds, NodeTraffic, SoakHistory, SoakOptions, SoakPlan};
pub use label::{LabelError, LabelKey, LabelValue, NodeLabels};
pub use lifecycle::{IllegalTransition, Lifecycle, Status, Step};
pub use limits::StrategyLimits;
pub use module::{ModuleVersion, parse_version};
pub use module_metric::ModuleMetric;
pub use name::{DeploymentId, Environment, IdempotencyKey, ModuleName, NodeId, StrategyName};
pub use new_uuid::new_uuid;
pub use node::{Health, Node, NodeError, NodeFailure};
pub use order::{Action, Fence, Order};
pub use out_of_range::OutOfRange;
pub use parse_error::ParseError;
pub use policy::Policy;
pub use query_reading::QueryReading;
pub use reading::{Lifetime, ModuleTraffic, NodeReading, NodeStarts, ReadSlot, VersionReading};
pub use recorded_baseline::{DerivedChecks, RecordedBaseline};
pub use replay::{
    CallReplay, JournalTail, Promotion, RecordedCall, ReplayState, ReplayedCall, Signals,
};
pub use request_difference::RequestDifference;
pub use salvaged_journal::SalvagedJournal;
pub use schema::{DecodeError, SCHEMA_VERSION, decode_event, encode_event};
pub use selector::{Selector, SelectorError};
pub use soak_readings::{
    BeforeSoak, ClientFaults, InconsistentReading, Observation, SoakReadings, SyntheticRequests,
    previous_version,
};
pub use time::{Clock, SteadyTime, SystemClock, Timestamp};
