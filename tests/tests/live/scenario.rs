use proptest::collection::vec;
use proptest::prelude::*;

/// Readers in each scenario; see [`crate::scenario_runner`].
pub const READERS: usize = 8;

/// What happens to journals, readers and servers.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Whether it runs on more than one thread.
    pub parallel: bool,
    /// How many messages the server queues for one connection to a hub.
    pub queue_capacity: usize,
    /// For each reader, after how many bytes its first connections are cut. Later connections
    /// are not cut.
    pub cut_after: Vec<Vec<usize>>,
    pub steps: Vec<Step>,
}

/// One step of a scenario.
#[derive(Debug, Clone)]
pub enum Step {
    /// Appends events to a journal, all at once. Skips those that are illegal in its state.
    Write {
        /// Which of the two deployments: 0 or 1.
        deployment: usize,
        events: Vec<EventKind>,
        /// Whether the events carry long texts, which fill socket buffers.
        long_text: bool,
    },
    /// Cuts the connection of a reader.
    Cut(usize),
    /// Makes a reader stop reading.
    Stall(usize),
    /// Makes a stalled reader continue.
    Unstall(usize),
    /// Restarts the server, killed or shut down.
    Restart { killed: bool },
    /// Yields to the other tasks, this many times.
    Yield(u8),
    /// Waits until an undisturbed reader has read all events so far.
    CatchUp,
}

/// The kinds of journal events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Gate,
    Plan,
    Progress,
    Log,
    Stage,
    Answer,
    Fail,
    RequestApproval,
    Decide,
    Sleep,
    Promote,
    Pause,
    Resume,
    Abort,
}

impl Scenario {
    pub fn any() -> impl Strategy<Value = Self> {
        let queue_capacity = prop_oneof![Just(8_usize), Just(40), Just(1024)];
        let cut_after = vec(vec(bytes_before_cut(), 0..4), READERS);
        let steps = vec(step(), 4..48);
        (any::<bool>(), queue_capacity, cut_after, steps).prop_map(
            |(parallel, queue_capacity, cut_after, steps)| Self {
                parallel,
                queue_capacity,
                cut_after,
                steps,
            },
        )
    }
}

/// Small enough for a cut within the answer to the request, or large enough for one between
/// events.
fn bytes_before_cut() -> impl Strategy<Value = usize> {
    prop_oneof![0..400_usize, 400..6000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    let reader = || 0..READERS;
    let write = (
        0..2_usize,
        vec(event_kind(), 1..14),
        prop::bool::weighted(0.1),
    );
    prop_oneof![
        12 => write.prop_map(|(deployment, events, long_text)| Step::Write { deployment, events, long_text }),
        3 => reader().prop_map(Step::Cut),
        2 => reader().prop_map(Step::Stall),
        2 => reader().prop_map(Step::Unstall),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        3 => (1..40_u8).prop_map(Step::Yield),
        2 => Just(Step::CatchUp),
    ]
}

fn event_kind() -> impl Strategy<Value = EventKind> {
    use EventKind as Kind;
    prop_oneof![
        1 => Just(Kind::Gate),
        4 => Just(Kind::Plan),
        6 => Just(Kind::Progress),
        2 => Just(Kind::Log),
        2 => Just(Kind::Stage),
        2 => Just(Kind::Answer),
        1 => Just(Kind::Fail),
        1 => Just(Kind::RequestApproval),
        1 => Just(Kind::Decide),
        2 => Just(Kind::Sleep),
        2 => Just(Kind::Promote),
        4 => Just(Kind::Pause),
        4 => Just(Kind::Resume),
        1 => Just(Kind::Abort),
    ]
}
