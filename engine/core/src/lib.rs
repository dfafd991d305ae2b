//! What HotSwap knows, without doing anything: deployments, the events of their
//! journals, the fold that makes a state of events, policies and the judge.
//!
//! Nothing here does I/O, reads a clock (apart from [`SystemClock`], which the
//! program injects) or is asynchronous: whatever decides is in this crate and can
//! be tested by calling it.
//!
//! Begin with [`EventBody`], the events, and [`Deployment`], what they add up to.

mod amount;
mod call;
mod cause;
mod deployment;
mod digest;
mod event;
mod histogram;
mod judge;
mod lifecycle;
mod module;
pub mod name;
mod node;
mod order;
mod policy;
mod reading;
mod replay;
mod time;

pub use amount::Amount;
pub use call::{
    Answer, Call, Check, Class, Decision, Finding, HttpProbe, Judgement, Level, Verdict,
};
pub use cause::{Cause, CauseKind, Outcome};
pub use deployment::{Deployment, LogLine, NodePhase, NodeState, Stage};
pub use digest::Digest;
pub use event::{Append, Event, EventBody, Header, Requester, StrategyRef};
pub use histogram::Histogram;
pub use judge::Judge;
pub use lifecycle::{IllegalTransition, Lifecycle, Status, Step};
pub use module::ModuleVersion;
pub use name::{DeploymentId, Environment, ModuleName, NodeId, StrategyName};
pub use node::{Health, Node, NodeError, NodeFailure};
pub use order::{Action, Fence, Order};
pub use policy::Policy;
pub use reading::{NodeReading, VersionReading};
pub use replay::{CallReplay, JournalTail, RecordedCall, ReplayState, ReplayedCall, Signals};
pub use time::{Clock, SystemClock, Timestamp};
