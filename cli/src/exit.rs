//! Exit codes, for scripts: the one table of how a command can end.

use std::fmt;
use std::process::ExitCode;

/// How a command ended, as its exit code tells.
///
/// The reference lists [`Self::ALL`]; a test ends a real process in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: the command succeeded, and so did the deployment that it waited for.
    Success,
    /// 1: an error that has no exit code of its own.
    Failure,
    /// 2: the command line is invalid.
    Usage,
    /// 3: the deployment failed or was rolled back.
    NotSucceeded,
    /// 4: the deployment did not end in the given time, or the drained node was not idle; both
    /// go on.
    TimedOut,
    /// 5: the deployment waits for a person's decision.
    AwaitingApproval,
    /// 6: the deployment stays paused.
    Paused,
    /// 7: the engine refuses the token.
    NotAuthorized,
    /// 8: no engine answers, or it cannot answer now.
    Unreachable,
    /// 9: something other than an engine of this version answers.
    WrongServer,
    /// 130: SIGINT.
    Interrupted,
    /// 143: SIGTERM.
    Terminated,
}

/// The description of an exit, for the reference and for programs.
struct Description {
    code: u8,
    reason: &'static str,
    summary: &'static str,
    meaning: &'static str,
}

impl Exit {
    /// Every way to end, by exit code.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotSucceeded,
        Self::TimedOut,
        Self::AwaitingApproval,
        Self::Paused,
        Self::NotAuthorized,
        Self::Unreachable,
        Self::WrongServer,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The exit code. Never changes its meaning.
    pub fn code(self) -> u8 {
        self.describe().code
    }

    /// The reason in one word, for programs. Never changes its meaning.
    pub fn reason(self) -> &'static str {
        self.describe().reason
    }

    /// A few words for the help.
    pub fn summary(self) -> &'static str {
        self.describe().summary
    }

    /// Sentences for the reference: what happened, and what to do next.
    pub fn meaning(self) -> &'static str {
        self.describe().meaning
    }

    fn describe(self) -> Description {
        let row = |code, reason, summary, meaning| Description {
            code,
            reason,
            summary,
            meaning,
        };
        match self {
            Self::Success => row(
                0,
                "done",
                "done",
                "The command succeeded, and so did the deployment that it waited for. Where \
                 `state` is `partial`, some nodes were not updated, no more than the policy \
                 tolerates; `message` names them.",
            ),
            Self::Failure => row(
                1,
                "error",
                "error",
                "An error that has no exit code of its own. The engine may have refused the \
                 request; standard error says why.",
            ),
            Self::Usage => row(2, "usage", "usage", "The command line is invalid."),
            Self::NotSucceeded => row(
                3,
                "notSucceeded",
                "failed or rolled back",
                "The deployment failed or was rolled back. `state` tells which.",
            ),
            Self::TimedOut => row(
                4,
                "timedOut",
                "timed out",
                "The deployment did not end in time; it continues. Watch it again. Or a node that is \
                 drained was still busy; it stays drained.",
            ),
            Self::AwaitingApproval => row(
                5,
                "awaitingApproval",
                "awaiting approval",
                "The deployment waits for a person's decision. Approve or reject it, then watch \
                 it again.",
            ),
            Self::Paused => row(
                6,
                "paused",
                "paused",
                "The deployment stays paused. Resume or abort it, then watch it again.",
            ),
            Self::NotAuthorized => row(
                7,
                "notAuthorized",
                "not authorized",
                "The engine refuses the token: it is missing, wrong or expired, or its role does \
                 not allow the request. A deployment that was watched continues. Renew the \
                 token, then watch it again.",
            ),
            Self::Unreachable => row(
                8,
                "unreachable",
                "engine unreachable",
                "No engine answers, or it cannot answer now. What was requested may have been \
                 done, and a deployment that was watched continues. Try again later.",
            ),
            Self::WrongServer => row(
                9,
                "wrongServer",
                "wrong server",
                "Something other than a HotSwap engine of this version answers. Correct \
                 `--server`.",
            ),
            Self::Interrupted => row(
                130,
                "interrupted",
                "interrupted",
                "Interrupted by SIGINT (Ctrl-C). A deployment that was watched continues.",
            ),
            Self::Terminated => row(
                143,
                "terminated",
                "terminated",
                "Terminated by SIGTERM. A deployment that was watched continues.",
            ),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A command line that parses but makes no sense. Ends the program with
/// [`Exit::Usage`].
#[derive(Debug)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_reasons_tell_exits_apart() {
        let codes: Vec<_> = Exit::ALL.map(Exit::code).to_vec();
        assert!(codes.is_sorted(), "{codes:?}");
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        let reasons = Exit::ALL.map(Exit::reason);
        assert_eq!(reasons.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }
}
