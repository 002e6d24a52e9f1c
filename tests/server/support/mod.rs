//! What the tests of the running server share.
//!
//! [`Server`] starts the real daemon in a folder of its own and stops it again, [`Caller`] speaks SIP to it over UDP,
//! [`Load`] keeps many requests going and tells each answer from the others, [`Tool`] runs programs such as sipp with
//! a deadline, [`processes`] looks at the tree of processes from outside.
//!
//! Nothing here sleeps to let something happen: [`wait_for`] asks again until a condition holds or its deadline is
//! over. Ports come from the kernel. A test that fails leaves its folder behind and says where.

pub mod apart;
mod caller;
mod clock;
pub mod deviations;
mod folder;
pub mod load;
mod logging;
pub mod processes;
mod server;
mod sip;
mod tool;

use std::time::{Duration, Instant};

pub use caller::Caller;
pub use clock::MovedClock;
pub use folder::Folder;
pub use load::Load;
pub use logging::Logging;
pub use server::{Server, check_config, control_path, daemon_path, sworkerd, top_path};
pub use sip::{Message, Request};
pub use tool::{Finished, Tool};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Asks until there is an answer; past the deadline the test fails with `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up_at = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < give_up_at, "waited {deadline:?} in vain: {what}");
        std::thread::park_timeout(ASK_AGAIN);
    }
}

/// Like [`wait_for`] for a condition without an answer.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}
