//! How long the system's resolver may hold a process that asks it for the address of a host name.
//!
//! By itself it waits five seconds for each answer and asks every name server twice. The variable it reads its options
//! from (`resolv.conf(5)`) is set before the first question; what an operator has put there stays.

use std::ffi::{OsStr, OsString};

use super::process::SingleThreaded;

const VARIABLE: &str = "RES_OPTIONS";

/// One second for an answer, two rounds over the name servers.
const OPTIONS: &str = "timeout:1 attempts:2";

/// Makes look-ups short in this process and those it forks. Called before the first one.
pub fn shorten_lookups(_proof: &SingleThreaded) {
    let Some(options) = options_to_set(std::env::var_os(VARIABLE).as_deref()) else { return };
    // SAFETY: the requirement is that no other thread reads the environment; the proof says that there is no other.
    unsafe { std::env::set_var(VARIABLE, options) };
}

/// Ours, unless the environment has some.
fn options_to_set(found: Option<&OsStr>) -> Option<OsString> {
    found.is_none_or(OsStr::is_empty).then(|| OPTIONS.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_has_set_stays() {
        let rows = [(None, true), (Some(""), true), (Some("timeout:3"), false), (Some("rotate"), false)];
        for (found, is_set) in rows {
            let options = options_to_set(found.map(OsStr::new));
            assert_eq!(options, is_set.then(|| OPTIONS.into()), "{found:?}");
        }
    }
}
