//! Changes of a script that become the message in hand: written with its edits, and parsed again.

use std::cell::OnceCell;
use std::fmt;

use crate::sip::write;

use super::context::{AddressDrafts, Context};

/// Texts that messages rewritten by [`Context::apply_changes`] stand on; as many as a message may be rewritten times.
pub type Rewrites = [OnceCell<Vec<u8>>];

/// How often a message may be rewritten.
pub const REWRITES_MAX: usize = 4;

/// Why changes could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangesRefused {
    /// The message was rewritten [`REWRITES_MAX`] times already.
    TooOften,
    /// The changed text is no message.
    Broken,
}

impl fmt::Display for ChangesRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangesRefused::TooOften => write!(f, "changes were applied {REWRITES_MAX} times already"),
            ChangesRefused::Broken => f.write_str("the changed message cannot be parsed"),
        }
    }
}

impl std::error::Error for ChangesRefused {}

impl<'m> Context<'m> {
    /// Writes the message with its edits and parses it again, so that variables show the changed one. The
    /// Request-URI as changed by the script is part of it.
    pub fn apply_changes(&mut self) -> Result<(), ChangesRefused> {
        if let Some(uri) = self.is_request_uri_changed.then(|| self.process.request_uri.clone()) {
            self.edits.set_request_uri(&self.message, &uri).map_err(|_| ChangesRefused::Broken)?;
        }
        let room = self.free_rewrite()?;
        let mut text = Vec::with_capacity(self.datagram.bytes.len() + 256);
        write::message(&self.message, &self.edits, &mut text).map_err(|_| ChangesRefused::Broken)?;
        let text = room.get_or_init(|| text);
        self.go_on_with(text)
    }

    /// Makes another text the message in hand, as if it had been received. Edits are forgotten.
    pub fn replace_message(&mut self, text: &[u8]) -> Result<(), ChangesRefused> {
        let room = self.free_rewrite()?;
        self.message.parse_alike(text).map_err(|_| ChangesRefused::Broken)?;
        let text = room.get_or_init(|| text.to_vec());
        self.go_on_with(text)
    }

    /// The text becomes the message in hand, and what was to be changed in the one before is forgotten.
    fn go_on_with(&mut self, text: &'m [u8]) -> Result<(), ChangesRefused> {
        self.message = self.message.parse_alike(text).map_err(|_| ChangesRefused::Broken)?;
        self.edits.clear();
        self.address_drafts = AddressDrafts::default();
        self.is_request_uri_changed = false;
        Ok(())
    }

    fn free_rewrite(&self) -> Result<&'m OnceCell<Vec<u8>>, ChangesRefused> {
        self.rewrites.iter().find(|room| room.get().is_none()).ok_or(ChangesRefused::TooOften)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::context::tests::{REQUEST, with_context_logging_to};
    use super::*;

    #[test]
    fn applied_changes_become_the_message() {
        with_context_logging_to(Rc::default(), |context| {
            context.set_request_uri(b"sip:eve@h");
            context.edits.remove_named(&context.message, b"X");
            assert_eq!(context.apply_changes(), Ok(()));
            assert_eq!(context.message.request_line().unwrap().uri, b"sip:eve@h");
            assert!(context.message.header_named(b"X", 0).is_none() && context.edits.is_empty());
            // What is delegated is what came from the network.
            assert_eq!(context.datagram.bytes, REQUEST);
            let applied = (0..REWRITES_MAX).map(|_| context.apply_changes()).collect::<Vec<_>>();
            assert_eq!(applied.last(), Some(&Err(ChangesRefused::TooOften)));
        });
    }
}
