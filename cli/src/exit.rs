//! How the program ends: scripts go by the number.

use std::fmt;
use std::process::ExitCode;

/// The end of a command, each with the number that the shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; a deployment that was waited for has succeeded.
    Success,
    /// 1: something went wrong; standard error says what.
    Failure,
    /// 2: the command line does not make sense.
    Usage,
    /// 3: the deployment failed or was rolled back.
    NotSucceeded,
    /// 4: the deployment has not ended in the time given; it goes on.
    Timeout,
    /// 5: the deployment waits for a person's decision.
    AwaitingApproval,
    /// 130: somebody pressed Ctrl-C; a deployment that was watched goes on.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotSucceeded => 3,
            Self::Timeout => 4,
            Self::AwaitingApproval => 5,
            // 128 and the number of SIGINT, as shells have it.
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A command line that parses and yet makes no sense: ends the program with 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
