//! Walking over header fields and lines of the body: `hf_iterator_start("i")`, `hf_iterator_next("i")`,
//! `$hfitname(i)`, `$hfitbody(i)`, `bl_iterator_…`, `$blitval(i)`.
//!
//! An iterator has a name and belongs to the message in hand: with the next message it is gone.

use std::ops::Range;

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, Reading};
use crate::bindings::variables::Subject;
use crate::routing::context::Context;
use crate::sip::Header;
use crate::state::value::answer_text;

/// Iterators of the message in hand.
#[derive(Debug, Default)]
pub(super) struct Iterators {
    message_number: u32,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    name: Vec<u8>,
    /// Before the first element until `next` was called.
    index: Option<usize>,
}

/// More names in one message are a mistake of the script.
const ITERATORS_MAX: usize = 32;

impl Iterators {
    /// Begins, or begins again. False when there are too many.
    pub fn start(&mut self, message_number: u32, name: &[u8]) -> bool {
        self.forget_others(message_number);
        let count = self.places.len();
        match self.places.iter_mut().find(|place| place.name == name) {
            Some(place) => place.index = None,
            None if count == ITERATORS_MAX => return false,
            None => self.places.push(Place { name: name.to_vec(), index: None }),
        }
        true
    }

    /// Moves on; false when it was not begun or has passed the last of `count` elements.
    pub fn advance(&mut self, message_number: u32, name: &[u8], count: usize) -> bool {
        self.forget_others(message_number);
        let Some(place) = self.places.iter_mut().find(|place| place.name == name) else { return false };
        let next = place.index.map_or(0, |index| index + 1);
        place.index = Some(next.min(count));
        next < count
    }

    /// Where it stands.
    pub fn index(&self, message_number: u32, name: &[u8]) -> Option<usize> {
        let place = self.places.iter().find(|place| place.name == name)?;
        place.index.filter(|_| self.message_number == message_number)
    }

    /// Ends; false when it was not begun.
    pub fn end(&mut self, message_number: u32, name: &[u8]) -> bool {
        self.forget_others(message_number);
        let count = self.places.len();
        self.places.retain(|place| place.name != name);
        self.places.len() < count
    }

    fn forget_others(&mut self, message_number: u32) {
        if self.message_number != message_number {
            self.message_number = message_number;
            self.places.clear();
        }
    }
}

/// What is done at the element where an iterator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Remove,
    Append,
    Insert,
}

/// The header field at an index.
pub(super) fn header_at<'m>(context: &Context<'m>, index: Option<usize>) -> Option<Header<'m>> {
    context.message.headers().nth(index?)
}

/// Changes header lines at the one where the iterator stands.
pub(super) fn change_headers(
    context: &mut Context<'_>,
    index: Option<usize>,
    deed: Deed,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Some(header) = header_at(context, index) else { return Outcome::FALSE };
    let lines = arguments.get(1).map(Argument::text).unwrap_or_default();
    if deed != Deed::Remove && !lines.contains(&b':') {
        return outcome(context, "hf_iterator", Err("this is not a header line"));
    }
    let edits = &mut context.edits;
    let changed = match deed {
        Deed::Remove => edits.remove(&context.message, &header),
        Deed::Append => edits.add_lines_after(&context.message, &header, lines),
        Deed::Insert => edits.add_lines_before(&context.message, &header, lines),
    };
    outcome(context, "hf_iterator", changed)
}

/// Lines of the body, their line ends included.
pub(super) fn body_lines(body: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < body.len() {
        let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |at| start + at + 1);
        lines.push(start..end);
        start = end;
    }
    lines
}

/// Changes the body at the line where the iterator stands.
pub(super) fn change_body(
    context: &mut Context<'_>,
    index: Option<usize>,
    deed: Deed,
    arguments: &[Argument<'_>],
) -> Outcome {
    let lines = body_lines(context.message.body());
    let Some(line) = index.and_then(|index| lines.get(index)) else { return Outcome::FALSE };
    let body = context.message.body_start();
    let (span, text) = match deed {
        Deed::Remove => (body + line.start..body + line.end, &b""[..]),
        Deed::Append => (body + line.end..body + line.end, arguments[1].text()),
        Deed::Insert => (body + line.start..body + line.start, arguments[1].text()),
    };
    let changed = context.edits.replace(&context.message, span, text);
    outcome(context, "bl_iterator", changed)
}

/// `$blitval`: the line without its line end.
pub(super) fn read_line(
    context: &Context<'_>,
    index: Option<usize>,
    _: &Subject<'_>,
    out: &mut Vec<u8>,
) -> Reading {
    let body = context.message.body();
    match index.and_then(|index| body_lines(body).get(index).cloned()) {
        Some(line) => answer_text(body[line].trim_ascii_end(), out),
        None => Reading::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::TextOpsX;
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::ScriptHarness;

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<TextOpsX>()];
    const REQUEST: &str = "INFO sip:bob@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c1\r\nCSeq: 1 INFO\r\nX-Foo: 1\r\n\
        Content-Type: text/plain\r\nContent-Length: 10\r\n\r\na=1\r\nb=2\r\n";

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(MODULES, "loadmodule \"textopsx.so\"", statements, text, REQUEST)
    }

    #[test]
    fn iterators_go_over_their_elements_once() {
        let mut iterators = Iterators::default();
        assert!(!iterators.advance(1, b"i", 2), "it was not begun");
        assert!(iterators.start(1, b"i"));
        let steps: Vec<_> =
            (0..4).map(|_| (iterators.advance(1, b"i", 2), iterators.index(1, b"i"))).collect();
        assert_eq!(steps, [(true, Some(0)), (true, Some(1)), (false, Some(2)), (false, Some(2))]);
        assert_eq!(iterators.index(2, b"i"), None, "it belongs to the message");
        assert!(!iterators.advance(2, b"i", 2) && !iterators.end(2, b"i"));
        assert!(
            (0..ITERATORS_MAX).all(|number| iterators.start(2, &[number as u8]))
                && !iterators.start(2, b"more")
        );
    }

    #[test]
    fn header_fields_are_walked_over_and_changed() {
        let walk = "hf_iterator_start(\"i\"); $var(names) = \"\"; while (hf_iterator_next(\"i\")) { $var(names) = $var(names) + $hfitname(i) + \"=\" + $(hfitbody(i){s.len}) + \" \"; } hf_iterator_end(\"i\");";
        assert_eq!(
            after(walk, "$var(names)$hfitname(i)"),
            "Via=29 From=19 To=9 Call-ID=2 CSeq=6 X-Foo=1 Content-Type=10 Content-Length=2 <null>"
        );
        let at_foo = |deed: &str| {
            format!(
                "hf_iterator_start(\"i\"); while (hf_iterator_next(\"i\")) {{ if ($hfitname(i) == \"X-Foo\") {{ {deed} }} }} msg_apply_changes();"
            )
        };
        let rows = [
            ("hf_iterator_rm(\"i\");", "$hdr(X-Foo) $hdr(X-New)", "<null> <null>"),
            ("hf_iterator_append(\"i\", \"X-New: n\\r\\n\");", "$hdr(X-Foo) $hdr(X-New)", "1 n"),
            ("hf_iterator_insert(\"i\", \"X-New: n\\r\\n\");", "$hdr(X-Foo) $hdr(X-New)", "1 n"),
            ("$var(r) = hf_iterator_append(\"i\", \"no\");", "$var(r) $hdr(X-New)", "-1 <null>"),
        ];
        for (deed, text, expected) in rows {
            assert_eq!(after(&at_foo(deed), text), expected, "{deed}");
        }
    }

    #[test]
    fn lines_of_the_body_are_walked_over_and_changed() {
        let walk = "bl_iterator_start(\"b\"); $var(l) = \"\"; while (bl_iterator_next(\"b\")) { $var(l) = $var(l) + \"<\" + $blitval(b) + \">\"; }";
        assert_eq!(after(walk, "$var(l)"), "<a=1><b=2>");
        let at_b = |deed: &str| {
            format!(
                "bl_iterator_start(\"b\"); while (bl_iterator_next(\"b\")) {{ if ($blitval(b) == \"b=2\") {{ {deed} }} }} msg_apply_changes();"
            )
        };
        let rows = [
            ("bl_iterator_rm(\"b\");", "a=1\n"),
            ("bl_iterator_append(\"b\", \"c=3\\r\\n\");", "a=1\nb=2\nc=3\n"),
            ("bl_iterator_insert(\"b\", \"x\\r\\n\");", "a=1\nx\nb=2\n"),
        ];
        for (deed, expected) in rows {
            assert_eq!(after(&at_b(deed), "$rb"), expected, "{deed}");
        }
    }
}
