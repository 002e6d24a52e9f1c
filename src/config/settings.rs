//! What a script's top level and the command line decide, typed.
//!
//! ```text
//!  name = value ─► table row ─► Draft ──(overrides of the command line, addresses resolved)──► Settings
//! ```

use std::net::{IpAddr, SocketAddr};

use crate::sip::Grammar;
use crate::sip::validate::Repeated;
use crate::telemetry::log::{Destination, Engine, Facility, Level};
use crate::transport::endpoint::Transport;

pub mod alias;
pub mod draft;
pub mod group;
pub mod listen;
pub mod overrides;
pub mod reading;
pub mod table;

pub use alias::Alias;
pub use draft::{DEFAULT_GROUP, Draft};
pub use overrides::{Overrides, Written};

/// One socket to listen on. Where a script names several (`listen=(a, b)`, an interface with two addresses), there
/// are several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSetting {
    /// How.
    pub transport: Transport,
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Host and port written into Via instead of the bound ones.
    pub advertise: Option<(String, Option<u16>)>,
    /// Name for `$Rn` and `$fsn`.
    pub name: Option<String>,
    /// Receivers for this socket, when it differs from `children`.
    pub receivers: Option<u32>,
}

/// One group of workers: `async_workers_group="name=reg;workers=4;queue=8192"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSetting {
    /// Name, case-sensitive.
    pub name: String,
    /// Number of workers, above 0.
    pub workers: u32,
    /// How many it may have when all are busy (`max_workers=`), at least as many.
    pub workers_max: u32,
    /// Records each ring holds (`queue=`), a power of two.
    pub queue: u32,
    /// A worker that works longer than this on one message is ended (`deadline_ms=`); 0 for never.
    pub deadline_ms: u32,
    /// Deliveries of a message that ends its workers, before it is set aside (`attempts=`).
    pub attempts: u32,
    /// What a full queue does (`full=`).
    pub full: FullPolicy,
    /// Messages that waited longer are not processed any more (`max_age_ms=`); 0 for no limit.
    pub max_age_ms: u32,
    /// Which messages are kept in order (`order=`).
    pub order: Order,
    /// Whether what belongs to something begun goes before what would begin something new (`priority=`).
    pub has_priority: bool,
    /// Whether neighbours are asked to send less when its queue fills (`oc=`, RFC 7339).
    pub tells_overload: bool,
}

/// What becomes of a message for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FullPolicy {
    /// `sworker_task` is false and the script decides.
    #[default]
    Return,
    /// The oldest message of this receiver's queue that no worker has taken makes room.
    DropOldest,
    /// The receiver answers a request with 503 and Retry-After, and the message has been dealt with.
    Reply,
}

/// Which messages of a group are processed one after another, in the order in which they were handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each for itself.
    #[default]
    None,
    /// Those with the same Call-ID.
    CallId,
    /// Those for which this variable has the same value: `$fu`.
    Variable(String),
}

impl GroupSetting {
    /// A group with nothing said about it but its size.
    pub fn new(name: &str, workers: u32, queue: u32) -> GroupSetting {
        GroupSetting {
            name: name.to_string(),
            workers,
            workers_max: workers,
            queue,
            deadline_ms: 30_000,
            attempts: 2,
            full: FullPolicy::default(),
            max_age_ms: 0,
            order: Order::default(),
            has_priority: false,
            tells_overload: false,
        }
    }
}

/// What the top level of a script and the command line decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Sockets to listen on.
    pub listeners: Vec<ListenerSetting>,
    /// Receivers per UDP socket.
    pub children: u32,
    /// Groups of workers.
    pub groups: Vec<GroupSetting>,
    /// Whether processes are forked at all (`fork`).
    pub is_forking: bool,
    /// User to run as.
    pub user: Option<String>,
    /// Group to run as.
    pub group: Option<String>,
    /// Directory to change root to.
    pub chroot: Option<String>,
    /// Working directory.
    pub workdir: String,
    /// Directory for sockets and files of the running server.
    pub rundir: String,
    /// Seconds a stop may take.
    pub exit_timeout_s: u32,
    /// A receiver, the timer or the control process that does not move for so long is ended; 0: never.
    pub process_deadline_ms: u32,
    /// Whether new requests are answered with 503 while the server stops.
    pub is_stop_told: bool,
    /// Whether a crash leaves no core file.
    pub is_core_dump_disabled: bool,
    /// Whether children give up the rights they do not need.
    pub is_sandboxed: bool,
    /// Most open files, when it is to be changed.
    pub open_files_limit: Option<u64>,
    /// `$server_id`.
    pub server_id: i64,
    /// Lines up to this level are written.
    pub debug: Level,
    /// Log to stderr instead of syslog.
    pub log_stderror: bool,
    /// Colour on stderr.
    pub log_color: bool,
    /// What lines become and where they go.
    pub log_engine: Engine,
    /// Path of the socket of syslog or the journal.
    pub log_engine_data: Option<String>,
    /// Syslog facility.
    pub log_facility: Facility,
    /// Name in syslog lines.
    pub log_name: Option<String>,
    /// Template that stands before every line written for a message.
    pub log_prefix: Vec<u8>,
    /// Whether that is evaluated before each function, not once for each message.
    pub is_log_prefix_renewed: bool,
    /// Level of lines about messages that are not SIP; `None` keeps silent.
    pub sip_parser_log: Option<Level>,
    /// Header that names this server in its own replies, with its name; empty for none.
    pub server_header: Vec<u8>,
    /// Whether that header is written.
    pub is_server_signature_on: bool,
    /// Header that names this server in its own requests.
    pub user_agent_header: Vec<u8>,
    /// Turns of one `while`.
    pub max_while_loops: u32,
    /// Depth of `route(X)` in each other.
    pub max_recursive_level: u32,
    /// Branches of a request.
    pub max_branches: u32,
    /// `return_mode`: raw values count in conditions.
    pub is_raw_return_mode: bool,
    /// Names that are this server, besides its listeners.
    pub aliases: Vec<Alias>,
    /// Named flags of messages.
    pub named_flags: Vec<(String, u32)>,
    /// Answer every request to the port it came from.
    pub force_rport: bool,
    /// Put `;rport` into our own Via.
    pub local_rport: bool,
    /// Host for Via, for listeners that have no own one.
    pub advertised_address: Option<String>,
    /// Port for Via, for listeners that have no own one.
    pub advertised_port: Option<u16>,
    /// Choose the listener by the kernel's route to the destination.
    pub mhomed: bool,
    /// Bind addresses that are not there (yet).
    pub is_free_bind: bool,
    /// Type of service of sent packets.
    pub tos: Option<u8>,
    /// Receive buffer of a socket, in bytes.
    pub receive_buffer_size_max: u32,
    /// Send buffer of a socket, in bytes.
    pub send_buffer_size_max: u32,
    /// Larger messages are not read.
    pub msg_recv_size_max: u32,
    /// Reply to the host in Via instead of to the sender.
    pub reply_to_via: bool,
    /// Run `onsend_route` on replies, too.
    pub is_reply_shown_on_send: bool,
    /// Accept only replies whose top Via is this server.
    pub check_via: bool,
    /// Answer requests that no script can be run on, instead of leaving them.
    pub answers_broken_requests: bool,
    /// By which messages and the texts of the script are read (`uri_host_extra_chars`, `hdr_name_extra_chars`).
    pub grammar: Grammar,
    /// How fields are treated that may be there once.
    pub repeated_fields: Repeated,
    /// Directories modules are looked for in; kept for what prints them.
    pub module_path: Vec<String>,
}

/// What stands in `Server` and `User-Agent` unless the script says otherwise.
const SIGNATURE: &str = concat!("sworker (", env!("CARGO_PKG_VERSION"), ")");
/// Records per ring unless a group says otherwise.
pub const QUEUE_DEFAULT: u32 = 1024;
/// Most receivers per socket, workers per group.
pub const PROCESSES_MAX: u32 = 1024;
/// Most groups.
pub const GROUPS_MAX: usize = 64;
/// Most sockets.
pub const LISTENERS_MAX: usize = 1024;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listeners: Vec::new(),
            children: 8,
            groups: Vec::new(),
            is_forking: true,
            user: None,
            group: None,
            chroot: None,
            workdir: "/".to_string(),
            rundir: "/var/run/sworker".to_string(),
            exit_timeout_s: 60,
            process_deadline_ms: 30_000,
            is_stop_told: true,
            is_core_dump_disabled: true,
            is_sandboxed: true,
            open_files_limit: None,
            server_id: 0,
            debug: Level::Warning,
            log_stderror: false,
            log_color: false,
            log_engine: Engine::Standard,
            log_engine_data: None,
            log_facility: Facility::DAEMON,
            log_name: None,
            log_prefix: Vec::new(),
            is_log_prefix_renewed: false,
            sip_parser_log: Some(Level::Error),
            server_header: format!("Server: {SIGNATURE}").into_bytes(),
            is_server_signature_on: true,
            user_agent_header: format!("User-Agent: {SIGNATURE}").into_bytes(),
            max_while_loops: 100,
            max_recursive_level: 256,
            max_branches: 12,
            is_raw_return_mode: false,
            aliases: Vec::new(),
            named_flags: Vec::new(),
            force_rport: false,
            local_rport: false,
            advertised_address: None,
            advertised_port: None,
            mhomed: false,
            is_free_bind: false,
            tos: None,
            receive_buffer_size_max: 262_144,
            send_buffer_size_max: 262_144,
            msg_recv_size_max: 32_767,
            reply_to_via: false,
            is_reply_shown_on_send: false,
            check_via: false,
            answers_broken_requests: false,
            grammar: Grammar::STRICT,
            repeated_fields: Repeated::Refused,
            module_path: Vec::new(),
        }
    }
}

impl Settings {
    /// Where lines go, as script and command line say together.
    pub fn log_destination(&self) -> Destination<'_> {
        Destination {
            engine: self.log_engine,
            data: self.log_engine_data.as_deref(),
            is_stderr_wanted: self.log_stderror,
            name: self.log_name.as_deref().unwrap_or("sworkerd"),
        }
    }

    /// The listener of this index.
    pub fn listener(&self, index: u16) -> Option<&ListenerSetting> {
        self.listeners.get(usize::from(index))
    }

    /// Host and port that stand in Via for this listener: its own advertised ones, the global ones, or the bound
    /// ones.
    pub fn advertised<'a>(&'a self, listener: &'a ListenerSetting) -> (AdvertisedHost<'a>, u16) {
        let bound_port = listener.address.port();
        match (&listener.advertise, &self.advertised_address) {
            (Some((host, port)), _) => (AdvertisedHost::Name(host), port.unwrap_or(bound_port)),
            (None, Some(host)) => (AdvertisedHost::Name(host), self.advertised_port.unwrap_or(bound_port)),
            (None, None) => {
                (AdvertisedHost::Address(listener.address.ip()), self.advertised_port.unwrap_or(bound_port))
            }
        }
    }

    /// Whether host and port name this server. Port 0 stands for any; hosts compare without regard to case.
    pub fn is_myself(&self, host: &[u8], port: u16) -> bool {
        let address = parse_address(host);
        let is_listener = |listener: &ListenerSetting| {
            let is_bound = address == Some(listener.address.ip());
            let advertised = listener.advertise.as_ref();
            let is_advertised =
                advertised.is_some_and(|(name, _)| name.as_bytes().eq_ignore_ascii_case(host));
            let advertised_port = advertised.and_then(|(_, port)| *port);
            let has_port = port == 0 || port == listener.address.port() || Some(port) == advertised_port;
            (is_bound || is_advertised) && has_port
        };
        self.listeners.iter().any(is_listener) || self.aliases.iter().any(|alias| alias.matches(host, port))
    }
}

/// What stands as host in Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvertisedHost<'a> {
    /// As the script wrote it.
    Name(&'a str),
    /// The bound address.
    Address(IpAddr),
}

impl std::fmt::Display for AdvertisedHost<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdvertisedHost::Name(name) => f.write_str(name),
            AdvertisedHost::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            AdvertisedHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// An address as SIP writes it: IPv4, IPv6 with or without brackets.
pub fn parse_address(host: &[u8]) -> Option<IpAddr> {
    crate::sip::uri::host_address(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let listener = |address: &str, advertise: Option<(&str, Option<u16>)>| ListenerSetting {
            transport: Transport::Udp,
            address: address.parse().unwrap(),
            advertise: advertise.map(|(host, port)| (host.to_string(), port)),
            name: None,
            receivers: None,
        };
        Settings {
            listeners: vec![
                listener("10.0.0.1:5060", None),
                listener("[2001:db8::1]:5070", None),
                listener("10.0.0.2:5060", Some(("sip.example.com", Some(5080)))),
            ],
            aliases: vec![
                Alias::parse("example.org").unwrap(),
                Alias::parse("udp:host.example:5090").unwrap(),
            ],
            ..Settings::default()
        }
    }

    #[test]
    fn the_server_knows_its_names() {
        let rows = [
            ("10.0.0.1", 5060, true),
            ("10.0.0.1", 0, true),
            ("10.0.0.1", 5061, false),
            ("[2001:DB8::1]", 5070, true),
            ("2001:db8:0::1", 5070, true),
            ("SIP.example.com", 5080, true),
            ("sip.example.com", 5060, true),
            ("sip.example.com", 5090, false),
            ("Example.ORG", 9, true),
            ("host.example", 5090, true),
            ("host.example", 0, true),
            ("host.example", 5060, false),
            ("other.example", 0, false),
            ("", 0, false),
        ];
        for (host, port, expected) in rows {
            assert_eq!(settings().is_myself(host.as_bytes(), port), expected, "{host}:{port}");
        }
    }

    #[test]
    fn what_is_advertised_stands_in_via() {
        let mut settings = settings();
        let shown = |settings: &Settings, index: u16| {
            let (host, port) = settings.advertised(settings.listener(index).unwrap());
            format!("{host}:{port}")
        };
        assert_eq!(shown(&settings, 0), "10.0.0.1:5060");
        assert_eq!(shown(&settings, 1), "[2001:db8::1]:5070");
        assert_eq!(shown(&settings, 2), "sip.example.com:5080");
        settings.advertised_address = Some("public.example".to_string());
        assert_eq!(shown(&settings, 1), "public.example:5070");
        assert_eq!(shown(&settings, 2), "sip.example.com:5080");
        settings.advertised_port = Some(9);
        assert_eq!(shown(&settings, 0), "public.example:9");
    }
}
