//! A server whose clock is put forward and back while it runs, by Debian's libfaketime.
//!
//! Only the time of day moves. The time since the machine was started goes on, as it does when an operator sets a clock.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::caller::Caller;
use super::server::Server;
use super::sip::Request;
use super::wait_until;

/// The clock of one server.
pub struct MovedClock {
    wish: PathBuf,
    asker: Caller,
}

impl MovedClock {
    /// Starts a server on this script, which answers OPTIONS with `$TS` as the reason; `None` without libfaketime
    /// (Debian: package faketime).
    #[track_caller]
    pub fn start(script: &str) -> Option<(Server, MovedClock)> {
        let library = library()?;
        let builder = Server::on(script);
        // In the run directory, which the sandbox lets every child read.
        std::fs::create_dir(builder.folder().file("run")).expect("a directory can be made");
        let wish = builder.folder().write("run/clock", "+0\n");
        let server = builder
            .environment("LD_PRELOAD", &library.to_string_lossy())
            .environment("FAKETIME_TIMESTAMP_FILE", &wish.to_string_lossy())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start();
        let asker = server.caller();
        Some((server, MovedClock { wish, asker }))
    }

    /// Puts the server's clock so many seconds from ours, and waits until its answers show that.
    #[track_caller]
    pub fn set(&self, seconds: i64) {
        // Whole or not at all, so that nobody reads half a wish.
        let new = self.wish.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("a file can be written");
        std::fs::rename(new, &self.wish).expect("a file can be renamed");
        wait_until("the server's clock has jumped", Duration::from_secs(5), || {
            (self.time_there() - time_here() - seconds).abs() <= 2
        });
    }

    fn time_there(&self) -> i64 {
        let start = self.asker.ask(&Request::new("OPTIONS", "what-time")).start;
        start.trim_start_matches("SIP/2.0 200 ").parse().unwrap_or(0)
    }
}

fn time_here() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

/// Where Debian's package `libfaketime` puts it.
fn library() -> Option<PathBuf> {
    let known = |directory: &str| PathBuf::from(format!("/usr/lib/{directory}/faketime/libfaketime.so.1"));
    ["x86_64-linux-gnu", "aarch64-linux-gnu"].into_iter().map(known).find(|path| path.exists())
}
