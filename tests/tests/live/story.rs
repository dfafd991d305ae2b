use proptest::collection::vec;
use proptest::prelude::*;

/// Readers in each story; see [`crate::played`].
pub const READERS: usize = 8;

/// What happens.
#[derive(Debug, Clone)]
pub struct Story {
    /// Whether on more than one thread.
    pub parallel: bool,
    /// Messages that may wait for one reader of a hub.
    pub capacity: usize,
    /// How many bytes each connection of each reader gets before it is cut, for its first
    /// connections; later ones are not.
    pub cuts: Vec<Vec<usize>>,
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// These are written, those of them that can follow, all at once.
    Write {
        /// To which of the two deployments.
        deployment: usize,
        turns: Vec<Turn>,
        /// Whether with words without end.
        wordy: bool,
    },
    /// A reader's connection is cut.
    Cut(usize),
    /// A reader stops reading.
    Stall(usize),
    /// It goes on.
    Wake(usize),
    /// The server ends and another begins: without a word, or as it should.
    Restart { killed: bool },
    /// All others get a turn, so many times.
    Pause(u8),
    /// A reader that nothing is done to has read all that was written.
    Settle,
}

/// What can happen to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Gate,
    Plan,
    Progress,
    Log,
    Stage,
    Answer,
    Fail,
    Ask,
    Decide,
    Pause,
    Resume,
    Abort,
}

impl Story {
    pub fn any() -> impl Strategy<Value = Self> {
        let capacity = prop_oneof![Just(8_usize), Just(40), Just(1024)];
        let cuts = vec(vec(cut(), 0..4), READERS);
        let steps = vec(step(), 4..48);
        (any::<bool>(), capacity, cuts, steps).prop_map(|(parallel, capacity, cuts, steps)| Self {
            parallel,
            capacity,
            cuts,
            steps,
        })
    }
}

/// In the answer to the request as well as in the midst of events.
fn cut() -> impl Strategy<Value = usize> {
    prop_oneof![0..400_usize, 400..6000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    let reader = || 0..READERS;
    let write = (0..2_usize, vec(turn(), 1..14), prop::bool::weighted(0.1));
    prop_oneof![
        12 => write.prop_map(|(deployment, turns, wordy)| Step::Write { deployment, turns, wordy }),
        3 => reader().prop_map(Step::Cut),
        2 => reader().prop_map(Step::Stall),
        2 => reader().prop_map(Step::Wake),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
        3 => (1..40_u8).prop_map(Step::Pause),
        2 => Just(Step::Settle),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    use Turn as T;
    prop_oneof![
        1 => Just(T::Gate),
        4 => Just(T::Plan),
        6 => Just(T::Progress),
        2 => Just(T::Log),
        2 => Just(T::Stage),
        2 => Just(T::Answer),
        1 => Just(T::Fail),
        1 => Just(T::Ask),
        1 => Just(T::Decide),
        4 => Just(T::Pause),
        4 => Just(T::Resume),
        1 => Just(T::Abort),
    ]
}
