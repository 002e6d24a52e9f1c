//! Receiving datagrams, many per kernel call, into memory that outlives the process that reads them.
//!
//! ```text
//!  ReceiveMemory   progress      handled, begun, suspect
//!  (shared)        headers[i] ──► vectors ──► bytes[i * size ..]
//!                             ──► sources        sender's address
//!                             ──► controls       address it was sent to (where asked for)
//! ```
//!
//! One call waits for the first message and takes what else is there already (`MSG_WAITFORONE`). From that moment the
//! kernel has forgotten the messages, so they must not be forgotten here: they lie in shared memory, the kernel itself
//! writes the length of each into its header the moment it has copied it, and `handled` counts those that are done
//! with. A reader killed at any instruction leaves exactly what its successor needs to continue: all messages from
//! `handled` on whose header has a length. The process that reaps the reader judges the one in hand at that moment
//! ([`ReceiveMemory::after_death`]): it is handled once more, or passed over when too many readers ended over it.
//!
//! **Invariants**
//! - A header without a message has the length [`NO_MESSAGE`]. Lengths are taken away before `handled` goes back to 0,
//!   so that no message is ever found that was handled already.
//! - The pointers in the headers are for the kernel alone: each reader writes its own before its first call, and so
//!   does the process that looks at what a dead one left.

use std::io;
use std::mem::{align_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
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
    mapping: Arc<SharedMapping>,
    offset: usize,
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
    /// 1 + index of the message that a reader died with; 0 without.
    suspect: AtomicU32,
    /// How many readers died with the suspect in hand ...
    deaths: AtomicU32,
    /// ... and how many of them because of it.
    blamed: AtomicU32,
}

/// What a dead reader had in hand, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub enum InHand<'a> {
    /// It had nothing in hand.
    Nothing,
    /// The next reader begins with it.
    Again {
        /// The message.
        message: Received<'a>,
        /// So many readers ended with it in hand.
        deaths: u32,
    },
    /// It has ended as many readers as may be: the next one does not see it.
    PassedOver {
        /// The message. It stands here until the next reader begins.
        message: Received<'a>,
        /// So many readers ended with it in hand.
        deaths: u32,
    },
}

/// What a header points at besides the bytes.
#[repr(C, align(64))]
struct Envelope {
    vector: libc::iovec,
    source: libc::sockaddr_storage,
    control: [u64; CONTROL_WORDS],
}

impl ReceiveMemory {
    /// Bytes of memory that `count` datagrams of at most `size` bytes need.
    pub fn size_of(count: usize, size: usize) -> io::Result<usize> {
        size.checked_mul(count)
            .and_then(|bytes| bytes.checked_add(bytes_start(count)))
            .ok_or_else(|| io::Error::other("room for datagrams is larger than memory can be"))
    }

    /// Room for `count` datagrams of at most `size` bytes in memory of their own.
    #[cfg(test)]
    pub(crate) fn create(name: &std::ffi::CStr, count: usize, size: usize) -> io::Result<ReceiveMemory> {
        let mapping = SharedMapping::create(name, Self::size_of(count, size)?)?;
        Ok(Self::inside(Arc::new(mapping), 0, count, size))
    }

    /// Room for `count` datagrams of at most `size` bytes in a part of a mapping that has no other use, from `offset` on.
    ///
    /// # Panics
    /// When it does not lie in the mapping, or `offset` is no multiple of two cache lines.
    pub fn inside(mapping: Arc<SharedMapping>, offset: usize, count: usize, size: usize) -> ReceiveMemory {
        let end = Self::size_of(count, size).ok().and_then(|bytes| bytes.checked_add(offset));
        assert!(end.is_some_and(|end| end <= mapping.size()) && offset.is_multiple_of(128));
        let memory = ReceiveMemory { mapping, offset, count, size };
        for index in 0..count {
            memory.length(index).store(NO_MESSAGE, Ordering::Release);
        }
        memory
    }

    /// Whether a dead reader left messages that were not handled.
    pub fn has_left(&self) -> bool {
        let handled = self.progress().handled.load(Ordering::Acquire) as usize;
        handled < self.count && self.length(handled).load(Ordering::Acquire) != NO_MESSAGE
    }

    /// How many readers ended with the message in hand that the one that died just now had in hand.
    pub fn earlier_deaths(&self) -> u32 {
        let progress = self.progress();
        match progress.begun.load(Ordering::Acquire) {
            0 => 0,
            begun if progress.suspect.load(Ordering::Acquire) == begun => {
                progress.deaths.load(Ordering::Acquire)
            }
            _ => 0,
        }
    }

    /// After the death of a reader, before there is another one: judges what it had in hand. Only a message that was
    /// begun counts: readers that are killed at random must not take messages with them that were never looked at.
    pub fn after_death(&self, is_blamed: bool, blamed_max: u32) -> InHand<'_> {
        let progress = self.progress();
        let handled = progress.handled.load(Ordering::Acquire);
        let (index, this) = (handled as usize, handled.saturating_add(1));
        if progress.begun.swap(0, Ordering::AcqRel) != this || !self.has_left() {
            return InHand::Nothing;
        }
        if progress.suspect.swap(this, Ordering::AcqRel) != this {
            progress.deaths.store(0, Ordering::Release);
            progress.blamed.store(0, Ordering::Release);
        }
        let deaths = progress.deaths.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let blame = u32::from(is_blamed);
        let blamed = progress.blamed.fetch_add(blame, Ordering::AcqRel).saturating_add(blame);
        // What it left may point anywhere.
        self.point(index);
        let message = self.received(index);
        if blamed < blamed_max {
            return InHand::Again { message, deaths };
        }
        progress.handled.store(this, Ordering::Release);
        InHand::PassedOver { message, deaths }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: `inside` has checked that the offset lies in the mapping.
        unsafe { self.mapping.start().add(self.offset) }
    }

    fn progress(&self) -> &Progress {
        // SAFETY: the memory begins with a `Progress`: it is aligned, large enough, and every byte of it is
        // part of an atomic integer.
        unsafe { &*self.start().cast::<Progress>() }
    }

    /// The headers, side by side as the kernel wants them.
    fn header(&self, index: usize) -> *mut libc::mmsghdr {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` headers after the progress.
        unsafe { self.start().add(HEADERS_START).cast::<libc::mmsghdr>().add(index) }
    }

    fn envelope(&self, index: usize) -> *mut Envelope {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` envelopes after the headers, at a multiple of their alignment.
        unsafe { self.start().add(envelopes_start(self.count)).cast::<Envelope>().add(index) }
    }

    fn bytes(&self, index: usize) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: `create` made room for `count` times `size` bytes after the envelopes.
        unsafe { self.start().add(bytes_start(self.count) + index * self.size) }
    }

    /// The length in a header, as the kernel writes it.
    fn length(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the field lies inside the mapping and is aligned for an integer of its size; it is only ever used
        // as an atomic, here and (in effect) by the kernel.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.header(index)).msg_len) }
    }

    /// Lets the header point at its parts, for the kernel.
    fn point(&self, index: usize) {
        let envelope = self.envelope(index);
        // SAFETY: the envelope lies inside the mapping; the one reader and the kernel, inside `receive`, write there,
        // or the process that reaps a reader while there is none. Pointers to fields are made without references.
        unsafe {
            (*envelope).vector.iov_base = self.bytes(index).cast();
            (*envelope).vector.iov_len = self.size;
            let header = &raw mut (*self.header(index)).msg_hdr;
            (*header).msg_name = (&raw mut (*envelope).source).cast();
            (*header).msg_iov = &raw mut (*envelope).vector;
            (*header).msg_iovlen = 1;
            (*header).msg_control = (&raw mut (*envelope).control).cast();
        }
    }

    fn received(&self, index: usize) -> Received<'_> {
        let length = (self.length(index).load(Ordering::Acquire) as usize).min(self.size);
        // SAFETY: the range lies inside the mapping; the kernel and this reader write there only inside `receive`,
        // which needs the batch mutably, and there is no other reader: the bytes stand still as long as this borrow
        // lives. The same holds for header and envelope, which are plain C structures.
        let (bytes, header, envelope) = unsafe {
            (
                std::slice::from_raw_parts(self.bytes(index), length),
                &(*self.header(index)).msg_hdr,
                &*self.envelope(index),
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
    /// The sender; `None` when the kernel gave something other than an internet address.
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
}

impl<'m> ReceiveBatch<'m> {
    /// Takes the memory over, with what a dead predecessor had read and not handled.
    ///
    /// There must be no other reader: a place is given to a new process only when the old one was reaped.
    pub fn attach(memory: &'m ReceiveMemory) -> (ReceiveBatch<'m>, Inheritance) {
        let mut batch = ReceiveBatch { memory, handled: 0, received: 0 };
        for index in 0..memory.count {
            memory.point(index);
        }
        let progress = memory.progress();
        batch.handled = (progress.handled.load(Ordering::Acquire) as usize).min(memory.count);
        batch.received = batch.handled;
        while batch.received < memory.count
            && memory.length(batch.received).load(Ordering::Acquire) != NO_MESSAGE
        {
            batch.received += 1;
        }
        let this = batch.handled as u32 + 1;
        let is_first_begun =
            batch.handled < batch.received && progress.suspect.load(Ordering::Acquire) == this;
        let left = batch.received - batch.handled;
        (batch, Inheritance { left, is_first_begun })
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
        progress.suspect.store(0, Ordering::Release);
        // Release, and after the lengths: a reader that finds 0 here finds only messages of the call that follows.
        progress.handled.store(0, Ordering::Release);
        (self.handled, self.received) = (0, 0);
        // SAFETY: `count` headers stand side by side, and each points at its own name, vector, control and byte room of
        // the stated lengths, all inside the mapping, to which no reference exists now; no time-out is allowed.
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
        (self.handled < self.received).then(|| self.memory.received(self.handled))
    }

    /// Whether another message waits behind the current one.
    pub fn is_followed(&self) -> bool {
        self.handled + 1 < self.received
    }

    /// The current message is in hand from now on: if this process dies, it may be the reason.
    pub fn begin(&self) {
        self.memory.progress().begun.store(self.handled as u32 + 1, Ordering::Release);
    }

    /// The current message is done: a successor of this process will not see it again.
    pub fn advance(&mut self) {
        self.handled += 1;
        // Release: what was done with the message (a push, a send) was done before.
        self.memory.progress().handled.store(self.handled as u32, Ordering::Release);
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
    // SAFETY: `msg_control` points at the controls of an envelope, which has room for one structure after the last
    // message that can begin there; the macros stay inside of `msg_controllen` as long as no length is longer than
    // that, and the type of each message says which structure its bytes are.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                // The kernel writes none such; damaged memory may hold one.
                _ if (*message).cmsg_len > header.msg_controllen => return None,
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

    const NOTHING: Inheritance = Inheritance { left: 0, is_first_begun: false };

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

    /// The text and the deaths of what a dead reader had in hand, and whether it is passed over.
    fn judged(memory: &ReceiveMemory, is_blamed: bool) -> Option<(String, u32, bool)> {
        let text = |message: Received<'_>| String::from_utf8_lossy(message.bytes).into_owned();
        match memory.after_death(is_blamed, 2) {
            InHand::Nothing => None,
            InHand::Again { message, deaths } => Some((text(message), deaths, false)),
            InHand::PassedOver { message, deaths } => Some((text(message), deaths, true)),
        }
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
        let begun = |left| Inheritance { left, is_first_begun: true };

        assert_eq!((memory.earlier_deaths(), judged(&memory, true)), (0, Some(("poison".into(), 1, false))));
        let (second, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, begun(2));
        second.begin();
        // A death that is not blamed on the message is reported, and does not count.
        assert_eq!((memory.earlier_deaths(), judged(&memory, false)), (1, Some(("poison".into(), 2, false))));
        let (third, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, begun(2));
        third.begin();
        assert_eq!((memory.earlier_deaths(), judged(&memory, true)), (2, Some(("poison".into(), 3, true))));
        let (fourth, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, Inheritance { left: 1, ..NOTHING });
        fourth.begin();
        assert_eq!((memory.earlier_deaths(), judged(&memory, true)), (0, Some(("c".into(), 1, false))));
        let (mut fifth, inheritance) = ReceiveBatch::attach(&memory);
        assert_eq!(inheritance, begun(1));

        assert_eq!(handle(&mut fifth, 9), ["c"]);
        assert_eq!(judged(&memory, true), None);
        assert_eq!(ReceiveBatch::attach(&memory).1, NOTHING);
    }

    #[test]
    fn what_a_dead_reader_had_in_hand_is_whole_whatever_it_left_in_the_pointers() {
        let (sender, receiver) = pair();
        let memory = memory(2);
        let (mut batch, _) = ReceiveBatch::attach(&memory);
        send_texts(&sender, &receiver, &["a", "b"]);
        batch.receive(receiver.as_fd()).unwrap();
        batch.begin();
        // SAFETY: header and envelope lie inside the mapping, and no other process looks at them.
        unsafe {
            (*memory.header(0)).msg_hdr.msg_control = std::ptr::dangling_mut();
            (*memory.header(0)).msg_hdr.msg_controllen = CONTROL_SIZE as _;
            (*memory.envelope(0)).control = [u64::MAX; CONTROL_WORDS];
        }

        let InHand::PassedOver { message, .. } = memory.after_death(true, 1) else {
            panic!("not passed over")
        };

        assert_eq!((message.bytes, message.source), (&b"a"[..], sender.local_addr().ok()));
        assert_eq!(message.destination, None);
        assert_eq!(handle(&mut ReceiveBatch::attach(&memory).0, 9), ["b"]);
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
            assert_eq!(judged(&memory, true), None);
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
