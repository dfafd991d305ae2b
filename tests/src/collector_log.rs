use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::timeout;

use crate::Installation;

/// How long the end of a process may take. It waits for the collector for two seconds at most.
const END: Duration = Duration::from_secs(20);

/// How a process logs, once, that a collector takes nothing, or not all.
const LOST: &str = "the collector does not take what it is sent";

/// How it logs that this is over.
const BACK: &str = "the collector takes what it is sent again";

/// What a process has logged of the collector that it sends its telemetry to.
pub struct CollectorLog(String);

impl CollectorLog {
    /// Ends a node, and takes its log.
    ///
    /// # Errors
    /// If it does not end in time: it must not wait for the collector.
    pub async fn of_node(installation: &mut Installation, id: &str) -> Result<Self> {
        let log = timeout(END, installation.terminate_node(id)).await??;
        Ok(Self(log))
    }

    /// Ends the engine, and takes its log.
    ///
    /// # Errors
    /// If it does not end in time: it must not wait for the collector.
    pub async fn of_engine(installation: &mut Installation) -> Result<Self> {
        let log = timeout(END, installation.terminate_engine()).await??;
        Ok(Self(log))
    }

    /// Checks how often the process has logged that something was lost, and how often that the
    /// collector was back.
    ///
    /// # Errors
    /// If that is not so often.
    pub fn check(&self, lost: usize, back: usize) -> Result<()> {
        let logged = (self.count(LOST), self.count(BACK));
        ensure!(logged == (lost, back), "{logged:?}: {}", self.0);
        Ok(())
    }

    /// Checks that one line has this text.
    ///
    /// # Errors
    /// If none has it, or several have.
    pub fn check_once(&self, text: &str) -> Result<()> {
        let count = self.count(text);
        ensure!(count == 1, "{count} lines with {text:?}: {}", self.0);
        Ok(())
    }

    fn count(&self, text: &str) -> usize {
        self.0.lines().filter(|line| line.contains(text)).count()
    }
}
