//! Overload control between neighbours (RFC 7339): how a server asks its senders to send less.
//!
//! ```text
//!  request    Via: SIP/2.0/UDP up;branch=z9hG4bK1;oc;oc-algo="loss,rate"
//!  response   Via: SIP/2.0/UDP up;branch=z9hG4bK1;oc=20;oc-algo="loss";oc-validity=1000;oc-seq=1282321615.782
//! ```
//!
//! By the algorithm `loss`, which every client must support (RFC 7339 7), the neighbour withholds a percentage of its
//! requests, and chooses which: those that begin nothing new go first (5.10.1).

use std::io::Write;

use super::params::Param;
use super::via::Via;

const ALGORITHM: &[u8] = b"loss";

/// The values for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// So many of a hundred requests are to be kept back.
    pub percent: u8,
    /// Its validity; 0 ends the value sent before.
    pub validity_ms: u32,
    /// Grows with each new word, so that an old one that comes late is known as such: milliseconds since 1970.
    pub sequence_ms: u64,
}

impl Overload {
    /// Whether the sender named in this Via keeps back what it is asked to (RFC 7339 4.1, 4.2).
    pub fn is_asked_for(via: &Via<'_>) -> bool {
        let Some(asked) = via.params.find(b"oc") else { return false };
        asked.value.is_none() && via.params.text(b"oc-algo").is_none_or(names_loss)
    }

    /// Whether a parameter is one of ours to write.
    pub(super) fn is_about(param: &Param<'_>) -> bool {
        [&b"oc"[..], b"oc-algo", b"oc-validity", b"oc-seq"].iter().any(|name| param.is_named(name))
    }

    /// Appends the four parameters of a response.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let Overload { percent, validity_ms, sequence_ms } = self;
        let (seconds, rest) = (sequence_ms / 1_000, sequence_ms % 1_000);
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            ";oc={percent};oc-algo=\"loss\";oc-validity={validity_ms};oc-seq={seconds}.{rest:03}"
        );
    }
}

fn names_loss(list: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(ALGORITHM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_it_is_known() {
        let rows = [
            ("oc;oc-algo=\"loss\"", true),
            ("OC;oc-algo=\"rate, Loss\"", true),
            ("rport;oc-algo=\"loss,A\";branch=z9hG4bK1;oc", true),
            ("oc", true),
            ("oc;oc-algo=\"rate\"", false),
            ("oc;oc-algo=\"lossy\"", false),
            // A server above has filled it in already, or it means something else.
            ("oc=20;oc-algo=\"loss\"", false),
            ("oc=;oc-algo=\"loss\"", false),
            ("oc-algo=\"loss\"", false),
            ("rport", false),
        ];
        for (params, expected) in rows {
            let text = format!("SIP/2.0/UDP h;{params}");
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!(Overload::is_asked_for(&via), expected, "{params}");
        }
    }

    #[test]
    fn what_is_told_has_the_form_of_the_rfc() {
        let rows = [
            (
                (20, 1_000, 1_282_321_615_782),
                ";oc=20;oc-algo=\"loss\";oc-validity=1000;oc-seq=1282321615.782",
            ),
            ((0, 0, 1_000_007), ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=1000.007"),
        ];
        for ((percent, validity_ms, sequence_ms), expected) in rows {
            let mut out = Vec::new();
            Overload { percent, validity_ms, sequence_ms }.append(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
