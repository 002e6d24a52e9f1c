//! When a child is started, started again, and when we say aloud that it does not hold: a table without I/O or clock.
//!
//! ```text
//!            Started                    Died (lived long enough) ──► start at once
//!  Wanted ───────────► Running ───────► WasKilled ──► start at once, or after 10 ms
//!    ▲                    │             Died (too early) ──► start after 10, 20, 40 … 5000 ms
//!    ▲  FailedToStart     │             Died (too early, often) ──► start each 5 s, and say so
//!    └── its time came ◄──┘ Waiting
//!                         │ Stop
//!                         ▼
//!                      Stopping ─── Died ──► Gone ─── Recalled ──► start at once
//! ```
//!
//! Time is a number of milliseconds since some beginning; it comes as an argument.

/// Milliseconds since the server began.
pub type Milliseconds = u64;

/// How soon and how often children are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Delay after the first early death.
    pub first_delay_ms: u64,
    /// Delays double up to this one.
    pub longest_delay_ms: u64,
    /// For each time of this length that a child lived, one early death before is forgiven.
    pub forgiven_each_ms: u64,
    /// After so many early deaths in a row a child counts as degraded.
    pub early_deaths_max: u32,
}

impl RestartPolicy {
    /// What the server uses.
    pub const USUAL: RestartPolicy = RestartPolicy {
        first_delay_ms: 10,
        longest_delay_ms: 5_000,
        forgiven_each_ms: 20,
        early_deaths_max: 10,
    };

    fn delay_ms(&self, early_deaths: u32) -> u64 {
        let doublings = early_deaths.saturating_sub(1).min(62);
        self.first_delay_ms.saturating_mul(1 << doublings).min(self.longest_delay_ms)
    }
}

/// What a child is, as the master sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be started now.
    Wanted {
        /// Early deaths in a row before this.
        early_deaths: u32,
    },
    /// It lives.
    Running {
        /// Since when.
        since: Milliseconds,
        /// Early deaths in a row before this life.
        early_deaths: u32,
    },
    /// To be started later.
    Waiting {
        /// When.
        until: Milliseconds,
        /// Early deaths in a row.
        early_deaths: u32,
    },
    /// It lives and has been asked to leave.
    Stopping,
    /// It is not there and will not be started.
    Gone,
}

impl State {
    /// A child that is to be started for the first time.
    pub const NEW: State = State::Wanted { early_deaths: 0 };

    /// Whether a process belongs to it.
    pub const fn is_alive(self) -> bool {
        matches!(self, State::Running { .. } | State::Stopping)
    }

    /// Whether it dies so often that it is tried at the slow rate only.
    pub const fn is_degraded(self, policy: &RestartPolicy) -> bool {
        match self {
            State::Wanted { early_deaths } | State::Waiting { early_deaths, .. } => {
                early_deaths >= policy.early_deaths_max
            }
            _ => false,
        }
    }

    /// The same, or it was started once more and has not lived long enough to be believed in.
    pub const fn is_on_probation(self, now: Milliseconds, policy: &RestartPolicy) -> bool {
        match self {
            State::Running { since, early_deaths } => {
                let forgiven = now.saturating_sub(since) / policy.forgiven_each_ms;
                early_deaths >= policy.early_deaths_max && forgiven <= early_deaths as u64
            }
            other => other.is_degraded(policy),
        }
    }

    /// When [`Event::TimePassed`] will change it.
    pub const fn deadline(self) -> Option<Milliseconds> {
        match self {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }
}

/// What happens to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The fork succeeded.
    Started,
    /// The fork failed; that says nothing about the child.
    FailedToStart,
    /// It ended by itself, or crashed.
    Died,
    /// It was killed from outside, which says nothing about the child.
    WasKilled,
    /// It ended because the system lacked something at that moment, which says nothing about the child either.
    Starved,
    /// The server stops: it shall leave when it has finished, and not come back.
    Stop,
    /// It left and is needed once more, because something accepted is not finished.
    Recalled,
    /// The clock went on.
    TimePassed,
}

/// What the master is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Fork it now.
    Start,
    /// Fork it when the state's deadline has come.
    StartLater {
        /// In so many milliseconds.
        delay_ms: u64,
    },
    /// The same, and tell the operator that it does not hold.
    DeclareDegraded {
        /// Tries come each so many milliseconds.
        delay_ms: u64,
    },
    /// Ask it to finish and leave.
    AskToLeave,
}

/// The table.
pub fn next(state: State, event: Event, now: Milliseconds, policy: &RestartPolicy) -> (State, Action) {
    match (state, event) {
        (State::Wanted { early_deaths }, Event::Started) => {
            (State::Running { since: now, early_deaths }, Action::Nothing)
        }
        (State::Wanted { early_deaths }, Event::FailedToStart)
        | (State::Running { early_deaths, .. }, Event::Starved) => {
            let delay_ms = policy.first_delay_ms.saturating_mul(10).min(policy.longest_delay_ms);
            (State::Waiting { until: now + delay_ms, early_deaths }, Action::StartLater { delay_ms })
        }
        (State::Running { since, early_deaths }, Event::Died) => {
            let forgiven = now.saturating_sub(since) / policy.forgiven_each_ms;
            if forgiven > u64::from(early_deaths) {
                (State::NEW, Action::Start)
            } else {
                died_early((early_deaths - forgiven as u32).saturating_add(1), now, policy)
            }
        }
        (State::Running { since, early_deaths }, Event::WasKilled) => {
            killed(now.saturating_sub(since), early_deaths, now, policy)
        }
        (State::Running { .. }, Event::Stop) => (State::Stopping, Action::AskToLeave),
        (State::Waiting { until, early_deaths }, Event::TimePassed) if now >= until => {
            (State::Wanted { early_deaths }, Action::Start)
        }
        (State::Stopping, Event::Died | Event::WasKilled | Event::Starved) => (State::Gone, Action::Nothing),
        (State::Stopping, Event::Stop) => (State::Stopping, Action::AskToLeave),
        (State::Wanted { .. } | State::Waiting { .. }, Event::Stop) => (State::Gone, Action::Nothing),
        (State::Gone, Event::Recalled) => (State::NEW, Action::Start),
        // Everything else cannot happen to a child in that state or means nothing to it.
        (state, _) => (state, Action::Nothing),
    }
}

/// A child that is killed again and again is started again soon, but after a short pause each time.
fn killed(lived_ms: u64, early_deaths: u32, now: Milliseconds, policy: &RestartPolicy) -> (State, Action) {
    let forgiven = u32::try_from(lived_ms / policy.forgiven_each_ms).unwrap_or(u32::MAX);
    let early_deaths = early_deaths.saturating_sub(forgiven);
    if forgiven > 0 {
        return (State::Wanted { early_deaths }, Action::Start);
    }
    let delay_ms = policy.first_delay_ms;
    (State::Waiting { until: now + delay_ms, early_deaths }, Action::StartLater { delay_ms })
}

fn died_early(early_deaths: u32, now: Milliseconds, policy: &RestartPolicy) -> (State, Action) {
    let delay_ms = policy.delay_ms(early_deaths);
    let state = State::Waiting { until: now + delay_ms, early_deaths };
    let action = if early_deaths == policy.early_deaths_max {
        Action::DeclareDegraded { delay_ms }
    } else {
        Action::StartLater { delay_ms }
    };
    (state, action)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        first_delay_ms: 10,
        longest_delay_ms: 5_000,
        forgiven_each_ms: 20,
        early_deaths_max: 4,
    };

    fn wanted(early_deaths: u32) -> State {
        State::Wanted { early_deaths }
    }
    fn running(since: Milliseconds, early_deaths: u32) -> State {
        State::Running { since, early_deaths }
    }
    fn waiting(until: Milliseconds, early_deaths: u32) -> State {
        State::Waiting { until, early_deaths }
    }

    #[test]
    fn the_table() {
        use Action::*;
        use Event::*;
        let rows = [
            // state, event, now, next state, action
            (State::NEW, Started, 5, running(5, 0), Nothing),
            (wanted(3), Started, 5, running(5, 3), Nothing),
            (wanted(3), FailedToStart, 5, waiting(105, 3), StartLater { delay_ms: 100 }),
            (wanted(3), TimePassed, 5, wanted(3), Nothing),
            (wanted(3), Died, 5, wanted(3), Nothing),
            (wanted(3), Stop, 5, State::Gone, Nothing),
            (running(0, 0), Died, 20, State::NEW, Start),
            (running(0, 3), Died, 80, State::NEW, Start),
            (running(0, 3), Died, 79, waiting(89, 1), StartLater { delay_ms: 10 }),
            (running(0, 3), Died, 40, waiting(60, 2), StartLater { delay_ms: 20 }),
            (running(0, 0), Died, 19, waiting(29, 1), StartLater { delay_ms: 10 }),
            (running(50, 1), Died, 60, waiting(80, 2), StartLater { delay_ms: 20 }),
            (running(50, 2), Died, 60, waiting(100, 3), StartLater { delay_ms: 40 }),
            (running(50, 3), Died, 60, waiting(140, 4), DeclareDegraded { delay_ms: 80 }),
            (running(50, 4), Died, 60, waiting(220, 5), StartLater { delay_ms: 160 }),
            (running(50, 9), Died, 60, waiting(5_060, 10), StartLater { delay_ms: 5_000 }),
            (running(50, u32::MAX - 1), Died, 60, waiting(5_060, u32::MAX), StartLater { delay_ms: 5_000 }),
            (running(50, u32::MAX), Died, 60, waiting(5_060, u32::MAX), StartLater { delay_ms: 5_000 }),
            (running(90, 0), Died, 10, waiting(20, 1), StartLater { delay_ms: 10 }),
            (running(0, 3), WasKilled, 60, wanted(0), Start),
            (running(0, 3), WasKilled, 20, wanted(2), Start),
            (running(0, 3), WasKilled, 19, waiting(29, 3), StartLater { delay_ms: 10 }),
            (State::Stopping, WasKilled, 60, State::Gone, Nothing),
            (running(0, 3), Starved, 60, waiting(160, 3), StartLater { delay_ms: 100 }),
            (running(60, 9), Starved, 60, waiting(160, 9), StartLater { delay_ms: 100 }),
            (State::Stopping, Starved, 60, State::Gone, Nothing),
            (waiting(80, 2), Starved, 60, waiting(80, 2), Nothing),
            (running(50, 1), TimePassed, 60, running(50, 1), Nothing),
            (running(50, 1), Stop, 60, State::Stopping, AskToLeave),
            (waiting(80, 2), TimePassed, 79, waiting(80, 2), Nothing),
            (waiting(80, 2), TimePassed, 80, wanted(2), Start),
            (waiting(80, 2), Stop, 60, State::Gone, Nothing),
            (waiting(80, 2), Died, 60, waiting(80, 2), Nothing),
            (State::Stopping, Died, 60, State::Gone, Nothing),
            (State::Stopping, Stop, 60, State::Stopping, AskToLeave),
            (State::Stopping, TimePassed, 60, State::Stopping, Nothing),
            (State::Gone, TimePassed, 60, State::Gone, Nothing),
            (State::Gone, Stop, 60, State::Gone, Nothing),
            (State::Gone, Died, 60, State::Gone, Nothing),
            (State::Gone, Recalled, 60, State::NEW, Start),
            (State::Stopping, Recalled, 60, State::Stopping, Nothing),
        ];
        for (state, event, now, next_state, action) in rows {
            assert_eq!(
                next(state, event, now, &POLICY),
                (next_state, action),
                "{state:?} {event:?} at {now}"
            );
        }
    }

    #[test]
    fn a_child_that_never_holds_is_tried_ever_more_slowly_and_never_more_than_each_five_seconds() {
        let (mut state, mut now, mut starts_in_first_minute, mut declarations) = (State::NEW, 0, 0, 0);
        while now < 60_000 {
            state = next(state, Event::Started, now, &RestartPolicy::USUAL).0;
            starts_in_first_minute += 1;
            now += 1;
            let (waiting, action) = next(state, Event::Died, now, &RestartPolicy::USUAL);
            declarations += u32::from(matches!(action, Action::DeclareDegraded { .. }));
            now = waiting.deadline().expect("a child that died early waits");
            state = next(waiting, Event::TimePassed, now, &RestartPolicy::USUAL).0;
        }
        // 10 + 20 + … + 5000 ms are ten starts in about 10 s, then one each 5 s.
        assert_eq!((starts_in_first_minute, declarations), (20, 1));
        assert!(state.is_degraded(&RestartPolicy::USUAL));
    }

    #[test]
    fn a_child_that_died_too_often_is_off_probation_after_a_while() {
        let rows = [
            (running(0, 4), 0, true),
            (running(0, 4), 99, true),
            (running(0, 4), 100, false),
            (running(0, 3), 0, false),
            (waiting(80, 4), 0, true),
            (waiting(80, 3), 0, false),
            (State::Gone, 0, false),
        ];
        for (state, now, expected) in rows {
            assert_eq!(state.is_on_probation(now, &POLICY), expected, "{state:?} at {now}");
        }
    }

    #[test]
    fn killing_a_child_that_proved_itself_costs_no_delay_however_often() {
        let mut state = State::NEW;
        for round in 0..200 {
            let now = round * 40;
            state = next(state, Event::Started, now, &RestartPolicy::USUAL).0;
            assert!(state.is_alive());
            let (after, action) = next(state, Event::Died, now + 20, &RestartPolicy::USUAL);
            assert_eq!(action, Action::Start);
            state = after;
        }
    }
}
