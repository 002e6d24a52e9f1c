//! Giving the message in hand to a group of workers, as it came: which group, where in its queue, and what becomes of
//! the message when the queue is full.

use crate::config::settings::{FullPolicy, GroupSetting, Order};
use crate::script::host::{Argument, Reading};
use crate::shm::Placement;

use super::context::{Context, Phase};
use super::delegation::{Delegation, GroupIndex, Xdata, is_urgent};

/// For a sender whose request found a full queue: what waits is done within a few seconds or not at all (RFC 3261
/// 21.5.4).
const RETRY_AFTER: &[u8] = b"Retry-After: 2\r\n";

impl Context<'_> {
    /// Index of the group of this name.
    fn group_named(&self, name: &[u8]) -> Option<GroupIndex> {
        let groups = &self.settings().groups;
        groups.iter().position(|group| group.name.as_bytes() == name).map(|index| GroupIndex(index as u16))
    }

    /// The group an argument names: looked up when the script was loaded, or now.
    pub fn group_of(&self, argument: &Argument<'_>) -> Option<GroupIndex> {
        match argument {
            Argument::Prepared(index, _) => u16::try_from(*index).ok().map(GroupIndex),
            computed => self.group_named(computed.text()),
        }
    }

    /// Hands the message to a group: the bytes as received, their envelope and `xdata`. When the queue is full and
    /// the group says `full=reply`, a request is answered with 503 instead.
    pub fn delegate(&mut self, group: GroupIndex, xdata: Xdata<'_>) -> Delegation {
        let delegation = self.hand_over(group, xdata);
        self.refuse_if_full(group, delegation)
    }

    /// What a group with `full=reply` makes of a full queue.
    pub(crate) fn refuse_if_full(&mut self, group: GroupIndex, delegation: Delegation) -> Delegation {
        let policy = self.settings().groups.get(usize::from(group.0)).map(|group| group.full);
        if delegation != Delegation::Full || policy != Some(FullPolicy::Reply) {
            return delegation;
        }
        // What cannot be answered (an ACK, a reply) is the script's to decide about.
        // Retry-After would stop the sender altogether (RFC 3261 21.5.4): not where it is told how much to keep back.
        let is_told =
            self.message.via(0).is_ok_and(|via| self.process.ports.shared.overload.due(&via).is_some());
        if self.reply(503, b"", if is_told { b"" } else { RETRY_AFTER }).is_err() {
            return Delegation::Full;
        }
        if let Some(delegate) = &mut self.process.ports.delegate {
            delegate.count_refused(group);
        }
        Delegation::Refused
    }

    fn hand_over(&mut self, group: GroupIndex, xdata: Xdata<'_>) -> Delegation {
        self.flush_own();
        let placement = self.placement(group);
        let process = &mut *self.process;
        match &mut process.ports.delegate {
            Some(delegate) if self.phase == Phase::PreRouting && !process.identity.is_worker() => {
                process.xdata.clear();
                xdata.encode(&mut process.xdata);
                delegate.delegate(group, placement, &self.datagram, &process.xdata)
            }
            _ => Delegation::NotHere,
        }
    }

    /// Where the message waits: by its key in a group that keeps order, first in one that has priority.
    pub(crate) fn placement(&mut self, group: GroupIndex) -> Placement {
        match self.settings().groups.get(usize::from(group.0)) {
            Some(setting) if setting.order != Order::None => {
                let mut key = std::mem::take(&mut self.process.order_key);
                key.clear();
                self.read_order_key(group, setting, &mut key);
                let placement = Placement::Keyed(self.process.secret.hash(&key));
                self.process.order_key = key;
                placement
            }
            Some(setting) if setting.has_priority && is_urgent(&self.message) => Placement::Urgent,
            _ => Placement::Usual,
        }
    }

    /// Messages without a key are all of one key.
    fn read_order_key(&self, group: GroupIndex, setting: &GroupSetting, key: &mut Vec<u8>) {
        if setting.order == Order::CallId {
            key.extend_from_slice(self.message.call_id().unwrap_or_default());
        }
        let places = &self.script().services().order_keys;
        if let Some(Some(place)) = places.get(usize::from(group.0))
            && let Reading::Integer(number) = self.read(place.place(), key)
        {
            key.extend_from_slice(&number.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::routing::context::tests::with_context_logging_to;

    #[test]
    fn nothing_is_delegated_where_nobody_takes_it() {
        with_context_logging_to(Rc::default(), |context| {
            assert_eq!(context.delegate(GroupIndex(0), Xdata::Absent), Delegation::NotHere);
            assert_eq!(context.group_named(b"calls"), None);
        });
    }
}
