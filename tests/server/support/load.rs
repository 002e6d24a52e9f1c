//! Many requests at once, each with a Call-ID of its own, each answer matched to its request.

use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike};

use super::caller::Caller;
use super::sip::Request;

/// What to send, how fast, and how many may be under way.
pub struct Load {
    name: String,
    count: usize,
    rate: Option<f64>,
    window: usize,
    patience: Duration,
    request: Box<dyn Fn(&str) -> Request + Send>,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests sent.
    pub sent: usize,
    /// Requests with at least one final answer.
    pub answered: usize,
    /// Requests whose first answer was 503.
    pub refused: usize,
    /// Answers beyond the first of a request.
    pub duplicates: usize,
    /// Of these, how many are not the same to the byte as the first one.
    pub differing: usize,
    /// Numbers of the requests that got none.
    pub lost: Vec<usize>,
    /// Times from sending to the first answer, sorted when the load is over.
    pub latencies: Vec<Duration>,
    /// Longest time without any answer while requests were under way.
    pub gap_max: Duration,
}

impl Tally {
    /// The time within which this part of the answers came, 0.99 for p99; zero without answers.
    pub fn latency(&self, part: f64) -> Duration {
        let index = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Every request was answered.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        let (lost, sent) = (self.lost.len(), self.sent);
        assert!(lost == 0, "{lost} of {sent} lost, the first are {:?}", &self.lost[..lost.min(20)]);
    }

    /// Requests sent and not answered yet.
    pub fn under_way(&self) -> usize {
        self.sent - self.answered
    }
}

/// Until an answer is there, but not so long that what is due would be sent late.
fn wait_for_answer(caller: &Caller) {
    let mut sockets = [PollFd::new(caller.socket().as_fd(), PollFlags::POLLIN)];
    // Woken early or late, the caller looks again.
    let _ = ppoll(&mut sockets, Some(TimeSpec::microseconds(200)), None);
}

/// One request's state.
#[derive(Clone, Copy)]
enum Call {
    NotSent,
    Sent(Instant),
    /// With a hash of the answer, as another one may come.
    Answered(u64),
}

/// After this time a request no longer counts as under way, so that lost ones do not fill the window for ever. It may
/// still be answered.
const OVERDUE_AFTER: Duration = Duration::from_millis(500);

/// The requests that are overdue: all before `looked_until` that are not answered.
#[derive(Default)]
struct Overdue {
    looked_until: usize,
    count: usize,
}

impl Overdue {
    /// Moves on over what was answered or is overdue by now.
    fn look(&mut self, calls: &[Call], sent: usize) {
        while self.looked_until < sent {
            match calls[self.looked_until] {
                Call::Sent(sent_at) if sent_at.elapsed() < OVERDUE_AFTER => return,
                Call::Sent(_) => self.count += 1,
                Call::NotSent | Call::Answered(_) => {}
            }
            self.looked_until += 1;
        }
    }

    /// One came after all.
    fn came(&mut self, index: usize) {
        if index < self.looked_until {
            self.count -= 1;
        }
    }
}

impl Load {
    /// `count` OPTIONS, 64 under way, as fast as they are answered. `name` keeps loads of one test apart.
    pub fn new(name: &str, count: usize) -> Load {
        Load {
            name: name.into(),
            count,
            rate: None,
            window: 64,
            patience: Duration::from_secs(3),
            request: Box::new(|name| Request::new("OPTIONS", name)),
        }
    }

    /// At a set rate, messages per second, whether answered or not.
    pub fn rate(mut self, per_second: f64) -> Load {
        self.rate = Some(per_second);
        self.window = self.count;
        self
    }

    /// How many may be under way.
    pub fn window(mut self, window: usize) -> Load {
        self.window = window;
        self
    }

    /// After how much silence the rest is given up.
    pub fn patience(mut self, patience: Duration) -> Load {
        self.patience = patience;
        self
    }

    /// Other requests than OPTIONS; the text given is the Call-ID to use.
    pub fn request(mut self, request: impl Fn(&str) -> Request + Send + 'static) -> Load {
        self.request = Box::new(request);
        self
    }

    /// Runs it to its end.
    pub fn run(self, caller: &Caller) -> Tally {
        self.run_while(caller, |_| ControlFlow::Continue(()))
    }

    /// Runs it, and between two messages calls `meanwhile` with what is known by then; when that breaks, nothing new is
    /// sent any more.
    pub fn run_while(
        mut self,
        caller: &Caller,
        mut meanwhile: impl FnMut(&Tally) -> ControlFlow<()>,
    ) -> Tally {
        let mut calls = vec![Call::NotSent; self.count];
        let mut tally = Tally::default();
        let mut overdue = Overdue::default();
        let started_at = Instant::now();
        let mut last_answer_at = started_at;
        let mut buffer = vec![0; 65_536];
        caller.socket().set_nonblocking(true).expect("a socket can be made non-blocking");
        while tally.answered < self.count {
            overdue.look(&calls, tally.sent);
            while tally.sent < self.due(started_at) && tally.under_way() < self.window + overdue.count {
                if tally.under_way() == overdue.count {
                    last_answer_at = Instant::now();
                }
                self.send_one(caller, tally.sent, &mut calls);
                tally.sent += 1;
            }
            if meanwhile(&tally).is_break() {
                self.count = tally.sent;
            }
            match caller.socket().recv(&mut buffer) {
                Ok(size) => {
                    if self.book(&buffer[..size], &mut calls, &mut tally, &mut overdue) {
                        tally.gap_max = tally.gap_max.max(last_answer_at.elapsed());
                        last_answer_at = Instant::now();
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) =>
                {
                    wait_for_answer(caller);
                }
                Err(error) => panic!("could not receive: {error}"),
            }
            if tally.sent == self.count && last_answer_at.elapsed() > self.patience {
                break;
            }
        }
        self.collect_late_duplicates(caller, &mut calls, &mut tally, &mut overdue);
        caller.socket().set_nonblocking(false).expect("a socket can be made blocking");
        tally.lost = (0..tally.sent).filter(|index| !matches!(calls[*index], Call::Answered(_))).collect();
        tally.latencies.sort();
        tally
    }

    /// How many requests should be on their way by now.
    fn due(&self, started_at: Instant) -> usize {
        let by_rate = self.rate.map(|rate| (started_at.elapsed().as_secs_f64() * rate) as usize + 1);
        by_rate.unwrap_or(self.count).min(self.count)
    }

    fn send_one(&self, caller: &Caller, index: usize, calls: &mut [Call]) {
        let request = (self.request)(&format!("{index}.{}", self.name));
        calls[index] = Call::Sent(Instant::now());
        caller.socket().send_to(&caller.bytes(&request), caller.server()).expect("loopback takes a datagram");
    }

    /// Books one answer; true when it was the first of its request.
    fn book(&self, bytes: &[u8], calls: &mut [Call], tally: &mut Tally, overdue: &mut Overdue) -> bool {
        let Some(index) = self.index_of(bytes) else { return false };
        match calls.get(index) {
            Some(Call::Sent(sent_at)) => {
                tally.latencies.push(sent_at.elapsed());
                tally.answered += 1;
                tally.refused += usize::from(bytes.starts_with(b"SIP/2.0 503 "));
                calls[index] = Call::Answered(hash_of(bytes));
                overdue.came(index);
                true
            }
            Some(Call::Answered(first)) => {
                tally.duplicates += 1;
                tally.differing += usize::from(*first != hash_of(bytes));
                false
            }
            Some(Call::NotSent) | None => false,
        }
    }

    /// The number in an answer's Call-ID; provisional answers and those of another load have none.
    fn index_of(&self, bytes: &[u8]) -> Option<usize> {
        let text = std::str::from_utf8(bytes).ok()?;
        if !text.starts_with("SIP/2.0 ") || text.starts_with("SIP/2.0 1") {
            return None;
        }
        let call_id = text.lines().find_map(|line| line.strip_prefix("Call-ID: "))?;
        let (number, name) = call_id.split_once('.')?;
        (name == self.name).then(|| number.parse().ok())?
    }

    /// What is already in our socket's buffer when the last answer came may hold an answer twice.
    fn collect_late_duplicates(
        &self,
        caller: &Caller,
        calls: &mut [Call],
        tally: &mut Tally,
        overdue: &mut Overdue,
    ) {
        let mut buffer = vec![0; 65_536];
        while let Ok(size) = caller.socket().recv(&mut buffer) {
            self.book(&buffer[..size], calls, tally, overdue);
        }
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
