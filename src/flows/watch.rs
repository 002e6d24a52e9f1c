//! Waiting, always with a deadline, and always awake for a signal that ends the run.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::trouble::Trouble;
use crate::sys::poll::{self, Interest};
use crate::sys::signal::{self, Signal, SignalQueue};

/// The signals that end the run, and the one that says that a process has ended.
const SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD];

/// How long until something that cannot wake us is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where signals arrive.
pub(super) struct Watch {
    queue: SignalQueue,
}

impl Watch {
    /// From now on signals do not end this process: they end the run, which stops its server.
    pub fn new() -> io::Result<Watch> {
        signal::block(&SIGNALS)?;
        Ok(Watch { queue: SignalQueue::of(&SIGNALS)? })
    }

    /// Waits until there is something to read on `socket`, or a process ended, or `deadline` has come.
    pub fn wait_for_message(&mut self, socket: &UdpSocket, deadline: Instant) -> Result<(), Trouble> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let both = [(self.queue.as_fd(), Interest::Read), (socket.as_fd(), Interest::Read)];
        poll::wait(&both, limit, &mut Vec::new()).map_err(|error| Trouble::system("wait", &error))?;
        self.take_signals()
    }

    /// Asks until there is an answer; `None` when there is none at the deadline.
    pub fn wait_for<T>(
        &mut self,
        deadline: Instant,
        mut ask: impl FnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        loop {
            if let Some(answer) = ask()? {
                return Ok(Some(answer));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            poll::wait_for(self.queue.as_fd(), Interest::Read, left.min(LOOK_AGAIN))
                .map_err(|error| Trouble::system("wait", &error))?;
            self.take_signals()?;
        }
    }

    fn take_signals(&mut self) -> Result<(), Trouble> {
        while let Some(signal) = self.queue.take().map_err(|error| Trouble::system("read signals", &error))? {
            if signal != Signal::SIGCHLD {
                return Err(Trouble::Interrupted(signal));
            }
        }
        Ok(())
    }
}
