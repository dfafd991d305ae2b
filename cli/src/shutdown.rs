//! The signals that stop this program, and the one by which servers read their files again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// A signal that asks this program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor, or a CI job that is cancelled.
    Terminate,
}

impl StopSignal {
    /// How long a server goes on serving after this signal, where it would for `lame_duck` after
    /// SIGTERM: who presses Ctrl-C does not wait for load balancers.
    pub fn lame_duck(self, lame_duck: Duration) -> Duration {
        match self {
            Self::Interrupt => Duration::ZERO,
            Self::Terminate => lame_duck,
        }
    }

    /// How a client command ends after this signal.
    pub fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

/// Listens for SIGINT and SIGTERM.
pub struct ShutdownSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl ShutdownSignal {
    /// Catches both signals from now on; they no longer end the process by themselves.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub fn new() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal, or returns at once where one came since the last call.
    /// Cancel safe.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }

    /// As [`Self::next`], where both signals mean the same.
    pub async fn received(&mut self) {
        self.next().await;
    }
}

/// Listens for SIGHUP.
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Catches the signal from now on; it no longer ends the process.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub fn new() -> Result<Self> {
        let caught = signal(SignalKind::hangup()).context("cannot catch signals")?;
        Ok(Self(caught))
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn received(&mut self) {
        self.0.recv().await;
    }
}
