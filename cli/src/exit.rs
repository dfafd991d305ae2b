//! Exit codes, for scripts.

use std::fmt;
use std::process::ExitCode;

/// How a command ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: the command succeeded, and so did the deployment that it waited for.
    Success,
    /// 1: an error, which standard error explains.
    Failure,
    /// 2: the command line is invalid.
    Usage,
    /// 3: the deployment failed or was rolled back.
    NotSucceeded,
    /// 4: the deployment did not end in the given time; it continues.
    Timeout,
    /// 5: the deployment waits for a person's decision.
    AwaitingApproval,
    /// 130: the user pressed Ctrl-C; a watched deployment continues.
    Interrupted,
}

impl Exit {
    /// Every way to end, by exit code.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotSucceeded,
        Self::Timeout,
        Self::AwaitingApproval,
        Self::Interrupted,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotSucceeded => 3,
            Self::Timeout => 4,
            Self::AwaitingApproval => 5,
            // 128 plus the number of SIGINT, as shells do.
            Self::Interrupted => 130,
        }
    }

    /// A few words for the help.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::Failure => "error",
            Self::Usage => "usage",
            Self::NotSucceeded => "failed or rolled back",
            Self::Timeout => "timed out",
            Self::AwaitingApproval => "awaiting approval",
            Self::Interrupted => "interrupted",
        }
    }

    /// A sentence for the reference.
    pub fn description(self) -> &'static str {
        match self {
            Self::Success => "The command succeeded, and so did the deployment that it waited for.",
            Self::Failure => "An error, which standard error explains.",
            Self::Usage => "The command line is invalid.",
            Self::NotSucceeded => "The deployment failed or was rolled back.",
            Self::Timeout => "The deployment did not end within `--timeout`; it continues.",
            Self::AwaitingApproval => "The deployment waits for a person's decision.",
            Self::Interrupted => "Interrupted with Ctrl-C; a watched deployment continues.",
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
