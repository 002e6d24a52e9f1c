//! Messages the script does not see, and what comes of them: an answer, or nothing but a line in the log.
//!
//! By default they are left, as operators know it. With `answer_broken_requests` a request that is owed an answer gets
//! it: 505 for another version, 513 for what is above a limit, 400 for the rest (`docs/torture.md`).

use std::fmt;

use crate::bindings::load::Loaded;
use crate::routing::context::{Context, Phase, ProcessState};
use crate::routing::envelope::Incoming;
use crate::sip::message::{Limits, ParseErrorKind};
use crate::sip::validate::{
    Fault, Repeated, ValidationRules, check_framing, check_readable, check_readable_with,
};
use crate::sip::{Grammar, Message, ParseError};
use crate::telemetry::counters::{BROKEN_ANSWERED, BROKEN_RECEIVED};
use crate::telemetry::log::{Level, Line};

/// What the script does not see.
#[derive(Debug)]
pub(crate) enum Broken<'d> {
    /// It is not known what it is.
    Unreadable(ParseError),
    /// A message that lacks what every message must have. Boxed: a message is large, and few are broken.
    Message(Box<Message<'d>>, Fault),
}

/// So much of something broken is shown in the log.
const SHOWN_SIZE_MAX: usize = 80;

/// A message the script can be run on. Where broken requests are answered, those are found here too that would
/// otherwise be found when the script replies to them or sends them on.
#[inline]
pub(crate) fn parse<'d>(
    bytes: &'d [u8],
    grammar: &Grammar,
    repeated: Repeated,
    answers: bool,
) -> Result<Message<'d>, Broken<'d>> {
    let message = Message::parse_within(bytes, &Limits::DEFAULT, grammar)
        .map_err(|error| unparsed(bytes, grammar, error, answers))?;
    let checked = check_readable_with(&message, repeated)
        .and_then(|()| if answers { check_framing(&message) } else { Ok(()) });
    match checked {
        Ok(()) => Ok(message),
        Err(fault) => Err(Broken::Message(Box::new(message), fault)),
    }
}

/// A message above a limit is still read in order to answer it.
#[cold]
fn unparsed<'d>(bytes: &'d [u8], grammar: &Grammar, error: ParseError, answers: bool) -> Broken<'d> {
    use ParseErrorKind::{HeaderTooLarge, TooManyHeaders, TooManyVias};
    if !answers || !matches!(error.kind, HeaderTooLarge | TooManyHeaders | TooManyVias) {
        return Broken::Unreadable(error);
    }
    match Message::parse_within(bytes, &Limits::WIDEST, grammar) {
        Ok(message) if check_readable(&message).is_ok() => {
            Broken::Message(Box::new(message), Fault::AboveLimit(error.kind))
        }
        _ => Broken::Unreadable(error),
    }
}

impl<'d> Broken<'d> {
    /// Answers a broken request, if that is configured, and drops other messages.
    #[cold]
    pub(crate) fn refuse(self, datagram: &Incoming<'d>, loaded: &Loaded, state: &mut ProcessState) {
        state.count(BROKEN_RECEIVED);
        match self {
            Broken::Unreadable(error) => tell_discarded(datagram, loaded, state, format_args!("{error}")),
            Broken::Message(message, fault) => {
                let answers = loaded.settings().answers_broken_requests;
                if !answers || !answer(datagram, *message, fault, loaded, state) {
                    tell_discarded(datagram, loaded, state, format_args!("{fault}"));
                }
            }
        }
    }
}

/// Whether the request must be answered; an answer that could not be sent is logged.
fn answer(
    datagram: &Incoming<'_>,
    message: Message<'_>,
    fault: Fault,
    loaded: &Loaded,
    state: &mut ProcessState,
) -> bool {
    let mut context = Context::new(*datagram, message, Phase::Routing, &loaded.registry, state);
    let answered = context.answer_fault(fault, &ValidationRules::PROXY);
    match &answered {
        Ok(true) => context.count(BROKEN_ANSWERED),
        Ok(false) => {}
        Err(failure) => {
            context.log(Level::Error, format_args!("could not answer a broken request: {failure}"));
        }
    }
    !matches!(answered, Ok(false))
}

fn tell_discarded(
    datagram: &Incoming<'_>,
    loaded: &Loaded,
    state: &ProcessState,
    reason: fmt::Arguments<'_>,
) {
    let Some(level) = loaded.settings().sip_parser_log else { return };
    let bytes = datagram.bytes;
    let shown = bytes[..bytes.len().min(SHOWN_SIZE_MAX)].escape_ascii();
    let source = datagram.envelope.source;
    let size = bytes.len();
    let text = format_args!("message discarded: {reason} ({size} bytes from {source}): \"{shown}\"");
    state.log_about(&datagram.envelope, &Line::of_core(level), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a request in which this stands instead of that, left and answered.
    fn check(from: &str, to: &str, by_default: &str, answered: &str) {
        let good = "OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n\
            Call-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let bytes = good.replacen(from, to, 1);
        let shown =
            |answers: bool| match parse(bytes.as_bytes(), &Grammar::STRICT, Repeated::Refused, answers) {
                Ok(_) => "fine".to_string(),
                Err(Broken::Unreadable(error)) => error.kind.to_string(),
                Err(Broken::Message(_, fault)) => fault.to_string(),
            };
        assert_eq!((shown(false).as_str(), shown(true).as_str()), (by_default, answered), "{to:?}");
    }

    #[test]
    fn what_the_script_does_not_see_depends_on_who_answers() {
        check("OPTIONS", "OPTIONS", "fine", "fine");
        check("Call-ID", "X", "no Call-ID", "no Call-ID");
        check("SIP/2.0\r", "SIP/3.0\r", "version is not SIP/2.0", "version is not SIP/2.0");
        check("CSeq", "no colon\r\nCSeq", "fine", "a header line has no valid name before a colon");
        check("CSeq", "l: -1\r\nCSeq", "fine", "bad Content-Length: it is not a number below 2^32");
        // Left to sanity_check().
        check("CSeq", "l: 5\r\nCSeq", "fine", "fine");
        check("1 OPTIONS", "1 BYE", "fine", "fine");
        let many = |line: &str, count| line.repeat(count) + "CSeq";
        check(
            "CSeq",
            &many("X: y\r\n", 4_100),
            "more header lines than allowed",
            "more header lines than allowed",
        );
        check(
            "CSeq",
            &many("Via: SIP/2.0/UDP h\r\n", 1_024),
            "more via than allowed",
            "more via than allowed",
        );
        let in_one_line = format!("Via: SIP/2.0/UDP h{}\r\nCSeq", ",SIP/2.0/UDP h".repeat(1_023));
        check("CSeq", &in_one_line, "more via than allowed", "more via than allowed");
        check(
            "OPTIONS sip:b SIP/2.0\r\n",
            "junk\r\n",
            "first line does not start with a method",
            "first line does not start with a method",
        );
    }
}
