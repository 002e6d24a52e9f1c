//! What the receivers read into, side by side in one piece of shared memory.

use std::ffi::CStr;
use std::io;
use std::ops::Deref;

use crate::shm::memory::part::{Part, Tended};
use crate::shm::memory::segment::{BytesPlace, Plan, Segment};
use crate::sys::receive::ReceiveMemory;

/// The memory of every receiver, by the number of its producer.
pub struct Inboxes(Vec<ReceiveMemory>);

/// What inboxes have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRoom {
    /// One for each receiver.
    pub receivers: u32,
    /// Datagrams that one call of the kernel reads at most.
    pub datagrams: usize,
    /// Bytes of a datagram.
    pub size: usize,
}

/// Where all inboxes are.
pub(crate) struct InboxesPlace {
    room: InboxRoom,
    places: Vec<BytesPlace>,
}

impl Inboxes {
    /// Inboxes without a message.
    pub fn create(room: InboxRoom) -> io::Result<Inboxes> {
        Self::make(&room)
    }
}

impl Part for Inboxes {
    const NAME: &'static CStr = c"sworker-inboxes";
    type Request = InboxRoom;
    type Place = InboxesPlace;
    type Error = io::Error;

    fn reserve(room: &InboxRoom, plan: &mut Plan) -> io::Result<InboxesPlace> {
        let size = ReceiveMemory::size_of(room.datagrams, room.size)?;
        let places = (0..room.receivers).map(|_| plan.reserve_bytes(size, size)).collect();
        Ok(InboxesPlace { room: *room, places })
    }

    fn claim(place: InboxesPlace, segment: &Segment) -> Inboxes {
        let InboxesPlace { room, places } = place;
        let inbox = |place: BytesPlace| {
            let range = segment.range_of(place);
            ReceiveMemory::inside(segment.mapping(), range.start, room.datagrams, room.size)
        };
        Inboxes(places.into_iter().map(inbox).collect())
    }
}

/// What a dead receiver had in hand is judged by the master, which knows how it died.
impl Tended for Inboxes {}

impl Deref for Inboxes {
    type Target = [ReceiveMemory];

    fn deref(&self) -> &[ReceiveMemory] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::receive::ReceiveBatch;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn each_receiver_reads_into_its_own() {
        let inboxes = Inboxes::create(InboxRoom { receivers: 3, datagrams: 2, size: 100 }).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut batches: Vec<_> = inboxes.iter().map(|memory| ReceiveBatch::attach(memory).0).collect();
        for (number, batch) in (0u8..).zip(&mut batches) {
            socket.send_to(&[number; 100], address).unwrap();
            batch.receive(socket.as_fd()).unwrap();
        }
        for (number, batch) in (0u8..).zip(&batches) {
            assert_eq!(batch.current().unwrap().bytes, [number; 100]);
        }
        assert_eq!(inboxes.iter().filter(|memory| memory.has_left()).count(), 3);
    }
}
