//! Receiving datagrams, many per kernel call, into memory that outlives the process that reads them.
//!
//! ```text
//!  ReceiveMemory   progress      handled, begun, fatal
//!  (shared)        headers[i] ──► vectors ──► bytes[i * size ..]
//!                             ──► sources        sender's address
//!                             ──► controls       address it was sent to (where asked for)
//! ```
//!
//! One call waits for the first message and takes what else is there already (`MSG_WAITFORONE`). From that moment the
//! kernel has forgotten the messages, so they must not be forgotten here: they lie in shared memory, the kernel itself
//! writes the length of each into its header the moment it has copied it, and `handled` counts those that are done
//! with. A reader killed at any instruction leaves behind exactly what its successor needs to go on: all messages from
//! `handled` on whose header has a length. The one in hand at that moment is handled twice at worst; if it ends its
//! reader a second time it is passed over.
//!
//! **Invariants**
//! - A header without a message has the length [`NO_MESSAGE`]. Lengths are taken away before `handled` goes back to 0,
//!   so that no message is ever found that was handled already.
//! - The pointers in the headers are for the kernel alone: each reader writes its own before its first call, and nobody
//!   reads them back.

use std::ffi::CStr;
use std::io;
use std::mem::{align_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::SharedMapping;

/// Length in a header that the kernel has not filled: longer than any datagram.
const NO_MESSAGE: u32 = u32::MAX;

/// Control messages want the alignment of their header: words. Room for one `in6_pktinfo`, with some to spare.
const CONTROL_WORDS: usize = 8;
const CONTROL_SIZE: usize = CONTROL_WORDS * size_of::<u64>();
const SOURCE_SIZE: usize = size_of::<libc::sockaddr_storage>();

/// Room for datagrams, made before the fork. One reader at a time may be attached to it.
pub struct ReceiveMemory {
    mapping: SharedMapping,
    count: usize,
    size: usize,
}

/// How far the reader is.
#[repr(C, align(64))]
struct Progress {
    /// Messages of the present batch that are done with.
    handled: AtomicU32,
    /// 1 + index of the message the reader has in hand; 0 without.
    begun: AtomicU32,
    /// 1 + index of the message that a reader died with; 0 without. If another one does, it is passed over.
    fatal: AtomicU32,
}

/// What a header points at besides the bytes.
#[repr(C, align(64))]
struct Envelope {
    vector: libc::iovec,
    source: libc::sockaddr_storage,
    control: [u64; CONTROL_WORDS],
}

impl ReceiveMemory {
    /// Room for `count` datagrams of at most `size` bytes.
    pub fn create(name: &CStr, count: usize, size: usize) -> io::Result<ReceiveMemory> {
        let total = size
            .checked_mul(count)
            .and_then(|bytes| bytes.checked_add(bytes_start(count)))
            .ok_or_else(|| io::Error::other("room for datagrams is larger than memory can be"))?;
        let memory = ReceiveMemory { mapping: SharedMapping::create(name, total)?, count, size };
        for index in 0..count {
            memory.length(index).store(NO_MESSAGE, Ordering::Release);
        }
        Ok(memory)
    }

    /// Whether a reader that is dead left messages that nobody handled.
    pub fn has_left(&self) -> bool {
        let handled = self.progress().handled.load(Ordering::Acquire) as usize;
        handled < self.count && self.length(handled).load(Ordering::Acquire) != NO_MESSAGE
    }

    fn progress(&self) -> &Progress {
        // SAFETY: the mapping begins with a `Progress`: it is page-aligned, large enough, and every byte of it is
        // part of an atomic integer.
        unsafe { &*self.mapping.start().cast::<Progress>() }
    }

    /// The headers, side by side as the kernel wants them.
    fn header(&self, index: usize) -> *mut libc::mmsghdr {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` headers behind the progress.
        unsafe { self.mapping.start().add(HEADERS_START).cast::<libc::mmsghdr>().add(index) }
    }

    fn envelope(&self, index: usize) -> *mut Envelope {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` envelopes behind the headers, at a multiple of their alignment.
        unsafe { self.mapping.start().add(envelopes_start(self.count)).cast::<Envelope>().add(index) }
    }

    fn bytes(&self, index: usize) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` times `size` bytes behind the envelopes.
        unsafe { self.mapping.start().add(bytes_start(self.count) + index * self.size) }
    }

    /// The length in a header, as the kernel writes it.
    fn length(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the field lies inside the mapping and is aligned for an integer of its size; it is only ever used
        // as an atomic, here and (in effect) by the kernel.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.header(index)).msg_len) }
    }
}

const HEADERS_START: usize = size_of::<Progress>();

const fn envelopes_start(count: usize) -> usize {
    (HEADERS_START + count * size_of::<libc::mmsghdr>()).next_multiple_of(align_of::<Envelope>())
}

const fn bytes_start(count: usize) -> usize {
    envelopes_start(count) + count * size_of::<Envelope>()
}

const _: () = assert!(HEADERS_START.is_multiple_of(align_of::<libc::mmsghdr>()));

/// The one reader of a [`ReceiveMemory`].
pub struct ReceiveBatch<'m> {
    memory: &'m ReceiveMemory,
    handled: usize,
    received: usize,
}

/// One datagram in a [`ReceiveBatch`].
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Who sent it; `None` when the kernel gave something that is no internet address.
    pub source: Option<SocketAddr>,
    /// The address it was sent to, when the socket was asked to tell.
    pub destination: Option<IpAddr>,
    /// Whether it was longer than the room for it.
    pub is_cut: bool,
}

/// What a reader found when it attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inheritance {
    /// Messages that its predecessor had read and not handled.
    pub left: usize,
    /// The first of them was in hand when its reader died: what was to be done with it may have been done.
    pub is_first_begun: bool,
    /// A message was passed over because it was in hand when two readers died.
    pub is_one_given_up: bool,
}

/// The message that a dead reader had in hand.
enum InHand {
    /// It had none.
    Nothing,
    /// It is the next to be handled.
    Begun,
    /// It is passed over.
    GivenUp,
}

impl<'m> ReceiveBatch<'m> {
    /// Takes the memory over, with what a dead predecessor had read and not handled.
    ///
    /// There must be no other reader: a place is given to a new process only when the old one was reaped.
    pub fn attach(memory: &'m ReceiveMemory) -> (ReceiveBatch<'m>, Inheritance) {
        let mut batch = ReceiveBatch { memory, handled: 0, received: 0 };
        for index in 0..memory.count {
            batch.point(index);
        }
        let progress = memory.progress();
        batch.handled = (progress.handled.load(Ordering::Acquire) as usize).min(memory.count);
        batch.received = batch.handled;
        while batch.received < memory.count
            && memory.length(batch.received).load(Ordering::Acquire) != NO_MESSAGE
        {
            batch.received += 1;
        }
        let (is_first_begun, is_one_given_up) = match batch.judge_the_death() {
            InHand::Nothing => (false, false),
            InHand::Begun => (true, false),
            InHand::GivenUp => (false, true),
        };
        let left = batch.received - batch.handled;
        (batch, Inheritance { left, is_first_begun, is_one_given_up })
    }

    /// What becomes of the message in hand at the death of the former reader. Only a message that was begun counts:
    /// readers that are killed at random must not take messages with them that nobody looked at.
    fn judge_the_death(&mut self) -> InHand {
        let progress = self.memory.progress();
        let this = self.handled as u32 + 1;
        let is_in_hand = progress.begun.load(Ordering::Acquire) == this && self.handled < self.received;
        // First this: a reader killed between the two leaves a death forgotten, and none counted twice.
        progress.begun.store(0, Ordering::Release);
        if !is_in_hand {
            return InHand::Nothing;
        }
        if progress.fatal.load(Ordering::Acquire) == this {
            self.advance();
            return InHand::GivenUp;
        }
        progress.fatal.store(this, Ordering::Release);
        InHand::Begun
    }

    /// Lets the header point at its parts, for the kernel.
    fn point(&mut self, index: usize) {
        let envelope = self.memory.envelope(index);
        // SAFETY: the envelope lies inside the mapping; this reader alone and the kernel, inside `receive`, write
        // there. Pointers to fields are made without references.
        unsafe {
            (*envelope).vector.iov_base = self.memory.bytes(index).cast();
            (*envelope).vector.iov_len = self.memory.size;
            let header = &raw mut (*self.memory.header(index)).msg_hdr;
            (*header).msg_name = (&raw mut (*envelope).source).cast();
            (*header).msg_iov = &raw mut (*envelope).vector;
            (*header).msg_iovlen = 1;
            (*header).msg_control = (&raw mut (*envelope).control).cast();
        }
    }

    /// Restores what the kernel overwrites, and takes the message away.
    fn put_in_order(&mut self, index: usize) {
        self.memory.length(index).store(NO_MESSAGE, Ordering::Release);
        // SAFETY: as in `point`.
        unsafe {
            let header = &raw mut (*self.memory.header(index)).msg_hdr;
            (*header).msg_namelen = SOURCE_SIZE as libc::socklen_t;
            (*header).msg_controllen = CONTROL_SIZE as _;
            (*header).msg_flags = 0;
        }
    }

    /// Waits for a datagram and takes all that are there, at most as many as there is room for. A caught signal ends
    /// the wait with [`io::ErrorKind::Interrupted`]. While messages are left to handle, asks the kernel nothing.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.read(socket, libc::MSG_WAITFORONE)
    }

    /// The same without waiting: [`io::ErrorKind::WouldBlock`] when nothing is there.
    pub fn receive_waiting(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.read(socket, libc::MSG_DONTWAIT)
    }

    fn read(&mut self, socket: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
        if self.current().is_some() {
            return Ok(());
        }
        for index in 0..self.memory.count {
            self.put_in_order(index);
        }
        let progress = self.memory.progress();
        progress.begun.store(0, Ordering::Release);
        progress.fatal.store(0, Ordering::Release);
        // Release, and after the lengths: who finds 0 here finds only messages of the call that follows.
        progress.handled.store(0, Ordering::Release);
        (self.handled, self.received) = (0, 0);
        // SAFETY: `count` headers stand side by side, and each points at its own name, vector, control and byte room of
        // the stated lengths, all inside the mapping, to which nobody holds a reference now; no time-out is allowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.memory.header(0),
                self.memory.count as libc::c_uint,
                flags,
                std::ptr::null_mut(),
            )
        };
        self.received = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(())
    }

    /// The next message to handle; none when the batch is done with.
    pub fn current(&self) -> Option<Received<'_>> {
        (self.handled < self.received).then(|| self.received(self.handled))
    }

    /// The current message is in hand from now on: if this process dies, it may be the reason.
    pub fn begin(&self) {
        self.memory.progress().begun.store(self.handled as u32 + 1, Ordering::Release);
    }

    /// The current message is done with: whoever comes after this process will not see it again.
    pub fn advance(&mut self) {
        self.handled += 1;
        // Release: what was done with the message (a push, a send) was done before.
        self.memory.progress().handled.store(self.handled as u32, Ordering::Release);
    }

    fn received(&self, index: usize) -> Received<'_> {
        let length = (self.memory.length(index).load(Ordering::Acquire) as usize).min(self.memory.size);
        // SAFETY: the range lies inside the mapping; the kernel and this reader write there only inside `receive`,
        // which needs the batch mutably, and there is no other reader: the bytes stand still as long as this borrow
        // lives. The same holds for header and envelope, which are plain C structures.
        let (bytes, header, envelope) = unsafe {
            (
                std::slice::from_raw_parts(self.memory.bytes(index), length),
                &(*self.memory.header(index)).msg_hdr,
                &*self.memory.envelope(index),
            )
        };
        Received {
            bytes,
            source: read_address(&envelope.source, header.msg_namelen),
            destination: destination(header),
            is_cut: header.msg_flags & libc::MSG_TRUNC != 0,
        }
    }
}

fn read_address(storage: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let start: *const libc::sockaddr_storage = storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family and the length say that a `sockaddr_in` stands here, and the storage is aligned for it.
            let address = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port))))
        }
        libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the same for a `sockaddr_in6`.
            let address = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id)))
        }
        _ => None,
    }
}

/// The address in the packet information, if the kernel added it.
fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    // A predecessor's header is read here too: a length that no call can have left is no length.
    if header.msg_controllen == 0 || header.msg_controllen > CONTROL_SIZE {
        return None;
    }
    // SAFETY: the kernel filled `msg_control` with `msg_controllen` bytes of well-formed control messages; the macros
    // stay inside them, and the type of each message says which structure its bytes are.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let found = libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(u32::from_be(found.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let found = libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(found.ipi6_addr.s6_addr).into());
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{send, tell_destinations};
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    const NOTHING: Inheritance = Inheritance { left: 0, is_first_begun: false, is_one_given_up: false };

    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        (bind(), bind())
    }

    /// Datagrams over loopback are there when `send_to` returns.
    fn send_texts(sender: &UdpSocket, receiver: &UdpSocket, texts: &[&str]) {
        for text in texts {
            sender.send_to(text.as_bytes(), receiver.local_addr().unwrap()).unwrap();
        }
    }

    fn memory(count: usize) -> ReceiveMemory {
        ReceiveMemory::create(c"sworker-test", count, 100).unwrap()
    }

    /// Handles at most `limit` messages and gives their texts.
    fn handle(batch: &mut ReceiveBatch<'_>, limit: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < limit
            && let Some(received) = batch.current()
        {
            texts.push(String::from_utf8_lossy(received.bytes).into_owned());
            batch.advance();
        }
        texts
    }

    #[test]
    fn one_call_takes_all_that_is_there_and_rooms_are_used_again() {
        let (sender, receiver) = pair();
        let memory = memory(3);
        let (mut batch, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, NOTHING);

        for _ in 0..3 {
            send_texts(&sender, &receiver, &["a", "b", "c", "d"]);
            batch.receive(receiver.as_fd()).unwrap();
            assert_eq!(batch.current().unwrap().source, Some(sender.local_addr().unwrap()));
            assert_eq!(handle(&mut batch, 9), ["a", "b", "c"]);
            batch.receive(receiver.as_fd()).unwrap();
            assert_eq!(handle(&mut batch, 9), ["d"]);
        }
    }

    #[test]
    fn what_a_reader_left_is_handled_by_its_successor() {
        for handled in 0..=4 {
            let (sender, receiver) = pair();
            let memory = memory(4);
            let (mut batch, _) = ReceiveBatch::attach(&memory);
            send_texts(&sender, &receiver, &["a", "", "c", "d", "e"]);
            batch.receive(receiver.as_fd()).unwrap();
            handle(&mut batch, handled);

            // The reader dies here: nothing of it but the memory is left.
            let (mut successor, inheritance) = ReceiveBatch::attach(&memory);

            assert_eq!(inheritance, Inheritance { left: 4 - handled, ..NOTHING });
            assert_eq!(handle(&mut successor, 9), ["a", "", "c", "d"][handled..]);
            successor.receive(receiver.as_fd()).unwrap();
            assert_eq!(handle(&mut successor, 9), ["e"]);
            assert_eq!(ReceiveBatch::attach(&memory).1, NOTHING);
        }
    }

    #[test]
    fn leftovers_come_before_the_network() {
        let (sender, receiver) = pair();
        let memory = memory(2);
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["a", "b"]);
        batch.receive(receiver.as_fd()).unwrap();

        let (mut successor, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["c"]);
        successor.receive(receiver.as_fd()).unwrap();

        assert_eq!(handle(&mut successor, 9), ["a", "b"]);
        successor.receive(receiver.as_fd()).unwrap();
        assert_eq!(handle(&mut successor, 9), ["c"]);
    }

    #[test]
    fn a_message_that_ended_two_readers_is_passed_over_and_the_next_one_is_not() {
        let (sender, receiver) = pair();
        let memory = memory(4);
        let (mut first, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["a", "poison", "c"]);
        first.receive(receiver.as_fd()).unwrap();
        handle(&mut first, 1);
        first.begin();

        let (second, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, Inheritance { left: 2, is_first_begun: true, ..NOTHING });
        second.begin();
        let (third, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, Inheritance { left: 1, is_one_given_up: true, ..NOTHING });
        third.begin();
        let (mut fourth, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, Inheritance { left: 1, is_first_begun: true, ..NOTHING });

        assert_eq!(handle(&mut fourth, 9), ["c"]);
        assert_eq!(ReceiveBatch::attach(&memory).1, NOTHING);
    }

    #[test]
    fn readers_killed_before_they_began_take_nothing_with_them() {
        let (sender, receiver) = pair();
        let memory = memory(4);
        let (mut first, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["a", "b"]);
        first.receive(receiver.as_fd()).unwrap();
        assert!(memory.has_left());
        for _ in 0..5 {
            let expected = Inheritance { left: 2, ..NOTHING };
            assert_eq!(ReceiveBatch::attach(&memory).1, expected);
        }
        let (mut last, _) = ReceiveBatch::attach(&memory);
        assert_eq!(handle(&mut last, 9), ["a", "b"]);
        assert!(!memory.has_left());
    }

    #[test]
    fn a_reader_killed_while_it_makes_room_leaves_nothing() {
        let (sender, receiver) = pair();
        let memory = memory(2);
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["a", "b"]);
        batch.receive(receiver.as_fd()).unwrap();
        handle(&mut batch, 2);
        for index in 0..2 {
            batch.put_in_order(index);
            assert_eq!(ReceiveBatch::attach(&memory).1, NOTHING);
        }
    }

    #[test]
    fn empty_and_too_long_ones_are_told() {
        let (sender, receiver) = pair();
        let memory = memory(4);
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        for length in [0, 100, 101] {
            sender.send_to(&vec![b'x'; length], receiver.local_addr().unwrap()).unwrap();
        }

        batch.receive(receiver.as_fd()).unwrap();

        for expected in [(0, false), (100, false), (100, true)] {
            let received = batch.current().unwrap();
            assert_eq!((received.bytes.len(), received.is_cut), expected);
            batch.advance();
        }
        assert!(batch.current().is_none());
    }

    #[test]
    fn destinations_are_told_on_sockets_for_all_addresses() {
        for (all, one) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let Ok(receiver) = UdpSocket::bind(all) else { continue };
            let one: IpAddr = one.parse().unwrap();
            tell_destinations(receiver.as_fd(), one.is_ipv6()).unwrap();
            let to = SocketAddr::new(one, receiver.local_addr().unwrap().port());
            let sender = UdpSocket::bind(all).unwrap();
            let memory = memory(2);
            let (mut batch, _) = ReceiveBatch::attach(&memory);

            for _ in 0..3 {
                send(sender.as_fd(), to, b"hello", Duration::ZERO).unwrap();
                batch.receive(receiver.as_fd()).unwrap();
                let received = batch.current().unwrap();
                assert_eq!((received.bytes, received.destination), (&b"hello"[..], Some(one)));
                assert_eq!(received.source.unwrap().port(), sender.local_addr().unwrap().port());
                batch.advance();
            }
        }
    }
}
