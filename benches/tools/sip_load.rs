//! `sip_load`: asks a SIP server over UDP as fast as it answers, or at a set rate, and matches every answer.
//!
//! ```text
//!  sip_load HOST PORT TOTAL WINDOW [TEMPLATE] [--rate PER_SECOND] [--patience SECONDS]
//!
//!  sent 100000 received 100000 lost 0 dup 0 seconds 1.234 rps 81037 p50_us 310 p99_us 802 p999_us 1430
//! ```
//!
//! Keeps WINDOW requests under way until TOTAL are answered; sends nothing twice; gives up after `--patience` seconds
//! (2) without an answer. Each `%NNNNNNNN%` of the template becomes the number of the request, ten digits, so the
//! template has the same length as what is sent. The Call-ID must begin with it: answers are told apart by it.
//! Ends with 1 when a request was lost.

use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt};

const USAGE: &str =
    "usage: sip_load HOST PORT TOTAL WINDOW [TEMPLATE] [--rate PER_SECOND] [--patience SECONDS]";

const BATCH_COUNT: usize = 32;
const ANSWER_SIZE_MAX: usize = 4096;
const SOCKET_BUFFER_SIZE: usize = 8 << 20;
const MARK: &[u8] = b"%NNNNNNNN%";

/// What is sent when no file is named: about as long as what telephones send.
const TEMPLATE: &str = "\
OPTIONS sip:bench@127.0.0.1:5060 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:15999;branch=z9hG4bK-524287-1-%NNNNNNNN%;rport
Max-Forwards: 70
From: \"Bench\" <sip:bench@127.0.0.1:15999>;tag=%NNNNNNNN%
To: <sip:bench@127.0.0.1:5060>
Call-ID: %NNNNNNNN%@127.0.0.1
CSeq: 1 OPTIONS
Contact: <sip:bench@127.0.0.1:15999>
Accept: application/sdp
User-Agent: sip_load
Content-Length: 0

";

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(book) => {
            println!("{}", book.report());
            ExitCode::from(u8::from(book.received() < book.sent()))
        }
        Err(error) => {
            eprintln!("sip_load: {error}");
            ExitCode::from(2)
        }
    }
}

/// What the command line says.
#[derive(Debug, PartialEq)]
struct Options {
    host: String,
    port: u16,
    total: usize,
    window: usize,
    template: Option<String>,
    rate: Option<f64>,
    patience: Duration,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut plain, mut rate, mut patience) = (Vec::new(), None, 2.0);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rate" => rate = Some(number(&arguments.next().ok_or(USAGE)?)?),
                "--patience" => patience = number(&arguments.next().ok_or(USAGE)?)?,
                _ => plain.push(argument),
            }
        }
        if !(4..=5).contains(&plain.len()) {
            return Err(USAGE.into());
        }
        Ok(Options {
            host: plain[0].clone(),
            port: number(&plain[1])?,
            total: number(&plain[2])?,
            window: number(&plain[3])?,
            template: plain.get(4).cloned(),
            rate,
            patience: Duration::from_secs_f64(patience),
        })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

/// The request, with the places where its number goes.
#[derive(Clone)]
struct Template {
    bytes: Vec<u8>,
    marks: Vec<usize>,
}

impl Template {
    fn new(text: &str) -> Template {
        let bytes = text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
        let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK);
        Template { marks: marks.map(|(at, _)| at).collect(), bytes }
    }

    fn set_number(&mut self, number: usize) {
        let digits = format!("{number:010}");
        for at in &self.marks {
            self.bytes[*at..*at + MARK.len()].copy_from_slice(digits.as_bytes());
        }
    }
}

/// Which requests are under way and which are answered.
struct Book {
    started_at: Instant,
    last_answer_at: Instant,
    /// Time of sending, `None` again once it is answered.
    sent_at: Vec<Option<Instant>>,
    latencies: Vec<Duration>,
    duplicates: usize,
}

impl Book {
    fn new(total: usize) -> Book {
        let now = Instant::now();
        Book {
            started_at: now,
            last_answer_at: now,
            sent_at: Vec::with_capacity(total),
            latencies: Vec::with_capacity(total),
            duplicates: 0,
        }
    }

    fn sent(&self) -> usize {
        self.sent_at.len()
    }

    fn received(&self) -> usize {
        self.latencies.len()
    }

    fn under_way(&self) -> usize {
        self.sent() - self.received()
    }

    /// Books an answer; provisional ones and what is no answer do not count.
    fn book(&mut self, answer: &[u8], now: Instant) {
        let Some(number) = final_answer_number(answer) else { return };
        match self.sent_at.get_mut(number).map(Option::take) {
            Some(Some(sent_at)) => {
                self.latencies.push(now - sent_at);
                self.last_answer_at = now;
            }
            Some(None) => self.duplicates += 1,
            None => {}
        }
    }

    fn report(&self) -> String {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let part = |part: f64| {
            let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(index).map_or(0, Duration::as_micros)
        };
        let seconds = (self.last_answer_at - self.started_at).as_secs_f64();
        let rate = if seconds > 0.0 { self.received() as f64 / seconds } else { 0.0 };
        format!(
            "sent {} received {} lost {} dup {} seconds {seconds:.3} rps {rate:.0} p50_us {} p99_us {} p999_us {}",
            self.sent(),
            self.received(),
            self.under_way(),
            self.duplicates,
            part(0.5),
            part(0.99),
            part(0.999),
        )
    }
}

/// The number in a final answer's Call-ID.
fn final_answer_number(answer: &[u8]) -> Option<usize> {
    let code = answer.strip_prefix(b"SIP/2.0 ")?.first()?;
    if *code == b'1' {
        return None;
    }
    let at = memchr::memmem::find(answer, b"\nCall-ID: ")? + b"\nCall-ID: ".len();
    let digits = answer.get(at..at + MARK.len())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn run(options: &Options) -> Result<Book, String> {
    let template = match &options.template {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("could not read {path}: {error}"))?
        }
        None => TEMPLATE.to_string(),
    };
    let template = Template::new(&template);
    if template.marks.is_empty() {
        return Err(format!("the template has no {}", String::from_utf8_lossy(MARK)));
    }
    let socket = connect(&options.host, options.port)?;
    let mut outgoing = vec![template; BATCH_COUNT];
    let mut incoming = vec![vec![0; ANSWER_SIZE_MAX]; BATCH_COUNT];
    let mut book = Book::new(options.total);
    while book.received() < options.total {
        while send_some(&socket, options, &mut outgoing, &mut book)? {}
        wait_for_answer(&socket, options);
        receive_some(&socket, &mut incoming, &mut book)?;
        let waited = Instant::now() - book.last_answer_at;
        if book.under_way() > 0 && waited > options.patience {
            break;
        }
    }
    Ok(book)
}

fn connect(host: &str, port: u16) -> Result<UdpSocket, String> {
    let told = |error: std::io::Error| format!("could not use udp {host}:{port}: {error}");
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(told)?;
    enlarge_buffer(&socket).map_err(told)?;
    socket.connect((host, port)).map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    Ok(socket)
}

/// Room for many answers; only root may go beyond the system's limit.
fn enlarge_buffer(socket: &UdpSocket) -> std::io::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER_SIZE)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER_SIZE))?;
    Ok(())
}

/// Sends what may be sent now, at most one batch; true when there may be more to send at once.
fn send_some(
    socket: &UdpSocket,
    options: &Options,
    outgoing: &mut [Template],
    book: &mut Book,
) -> Result<bool, String> {
    let now = Instant::now();
    let due = match options.rate {
        Some(rate) => ((now - book.started_at).as_secs_f64() * rate) as usize + 1,
        None => options.total,
    };
    let allowed = due.min(options.total).min(book.received() + options.window).saturating_sub(book.sent());
    let count = allowed.min(outgoing.len());
    if count == 0 {
        return Ok(false);
    }
    for (index, request) in outgoing[..count].iter_mut().enumerate() {
        request.set_number(book.sent() + index);
    }
    let slices: Vec<[IoSlice<'_>; 1]> =
        outgoing[..count].iter().map(|request| [IoSlice::new(&request.bytes)]).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(count, None);
    let addresses = vec![None; count];
    let result = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty());
    let sent_count = match result {
        Ok(results) => results.count(),
        Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ECONNREFUSED) => 0,
        Err(error) => return Err(format!("could not send: {error}")),
    };
    if book.under_way() == 0 {
        book.last_answer_at = now;
    }
    book.sent_at.extend(std::iter::repeat_n(Some(now), sent_count));
    Ok(sent_count == count && count == outgoing.len())
}

fn wait_for_answer(socket: &UdpSocket, options: &Options) {
    let timeout_ms: u16 = if options.rate.is_some() { 1 } else { 100 };
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    // An interrupted wait is as good as one that is over: the caller looks again.
    let _ = poll(&mut sockets, PollTimeout::from(timeout_ms));
}

fn receive_some(socket: &UdpSocket, incoming: &mut [Vec<u8>], book: &mut Book) -> Result<(), String> {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(incoming.len(), None);
    let sizes: Vec<usize> = {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            incoming.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(results) => results.map(|result| result.bytes).collect(),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => vec![],
            Err(error) => return Err(format!("could not receive: {error}")),
        }
    };
    let now = Instant::now();
    for (buffer, size) in incoming.iter().zip(sizes) {
        book.book(&buffer[..size], now);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn the_command_line_is_read() {
        let read = options("127.0.0.1 5060 1000 64 a.sip --rate 2000 --patience 0.5").unwrap();
        assert_eq!((read.port, read.total, read.window), (5060, 1000, 64));
        assert_eq!((read.template.as_deref(), read.rate), (Some("a.sip"), Some(2000.0)));
        assert_eq!(read.patience, Duration::from_millis(500));
        for wrong in
            ["", "127.0.0.1 5060 1000", "127.0.0.1 port 1000 64", "127.0.0.1 5060 1 1 a b", "h 1 1 1 --rate"]
        {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_number_goes_wherever_it_is_marked() {
        let mut template = Template::new("A %NNNNNNNN%\nB: %NNNNNNNN%\r\n\n");
        template.set_number(42);
        assert_eq!(template.bytes, b"A 0000000042\r\nB: 0000000042\r\n\r\n");
    }

    #[test]
    fn only_final_answers_have_a_number() {
        let rows: [(&str, Option<usize>); 5] = [
            ("SIP/2.0 200 OK\r\nCall-ID: 0000000007@x\r\n\r\n", Some(7)),
            ("SIP/2.0 503 No\r\nVia: x\r\nCall-ID: 0000000123@x\r\n\r\n", Some(123)),
            ("SIP/2.0 100 Trying\r\nCall-ID: 0000000007@x\r\n\r\n", None),
            ("OPTIONS sip:a SIP/2.0\r\nCall-ID: 0000000007@x\r\n\r\n", None),
            ("SIP/2.0 200 OK\r\nCall-ID: short", None),
        ];
        for (answer, expected) in rows {
            assert_eq!(final_answer_number(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn lost_and_double_answers_are_told_apart() {
        let mut book = Book::new(3);
        let now = Instant::now();
        book.sent_at = vec![Some(now); 3];
        let answer = |number: usize| format!("SIP/2.0 200 OK\r\nCall-ID: {number:010}@x\r\n\r\n");
        for number in [0, 2, 2, 99] {
            book.book(answer(number).as_bytes(), now + Duration::from_micros(10));
        }
        assert_eq!((book.received(), book.under_way(), book.duplicates), (2, 1, 1));
        assert!(book.report().starts_with("sent 3 received 2 lost 1 dup 1 "), "{}", book.report());
        assert!(book.report().ends_with("p50_us 10 p99_us 10 p999_us 10"), "{}", book.report());
    }
}
