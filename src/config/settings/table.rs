//! THE table of global parameters: every name a script may set, what it takes and what it does.
//!
//! Names that mean nothing here are accepted with a notice that says why; a name that is not in the table is a
//! mistake. Manuals and help come from these rows.

use super::draft::{Draft, PORT, TLS_PORT};
use super::group::QUEUE_MAX;
use super::reading::{
    engine, facility, flag, header, level, number, port, quoted, shown, text, type_of_service,
};
use super::{PROCESSES_MAX, Settings};
use crate::script::ast::SocketLiteral;
use crate::script::catalog::Constant;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::{listed, suggestion};
use crate::sip::grammar::Octets;
use crate::sip::validate::Repeated;
use crate::telemetry::log::Level;

/// One row.
pub struct GlobalRow {
    /// The name and its aliases.
    pub names: &'static [&'static str],
    /// What it decides, one line; for those without effect the reason.
    pub documentation: &'static str,
    /// What it takes and what it does.
    pub kind: Kind,
    /// The default of a special one, as a script would write it.
    default: Option<fn(&Settings) -> Option<String>>,
}

/// What a parameter takes and where it goes.
pub enum Kind {
    /// Yes or no.
    Flag(fn(&mut Settings) -> &mut bool),
    /// A number in bounds.
    Number {
        /// Least.
        least: u32,
        /// Most.
        most: u32,
        /// Its field.
        field: fn(&mut Settings) -> &mut u32,
    },
    /// Text or a word; a number counts as its text.
    Text(fn(&mut Settings) -> &mut Option<String>),
    /// A level of lines.
    Level(fn(&mut Settings) -> &mut Level),
    /// Anything else; it may remark.
    Special(fn(&mut Draft, &Constant) -> Result<Option<String>, Diagnostic>),
    /// Accepted without effect; silent when it is set to what holds here anyway.
    Ignored {
        /// What it takes elsewhere.
        takes: Takes,
        /// What holds here anyway.
        silent_when: Option<i64>,
    },
}

/// What a parameter without effect takes, so that a mistake in it is one here too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A number, or yes and no.
    Number,
    /// Text in quotes.
    Text,
    /// Whatever is written.
    Anything,
}

/// The row of a name.
pub fn row_named(name: &str) -> Option<&'static GlobalRow> {
    GLOBALS.iter().find(|row| row.names.contains(&name))
}

impl GlobalRow {
    /// The default value, as a script would write it; empty without one.
    pub fn default_value(&self) -> Option<String> {
        let mut settings = Settings::default();
        match &self.kind {
            Kind::Flag(field) => Some(if *field(&mut settings) { "yes" } else { "no" }.to_string()),
            Kind::Number { field, .. } => Some(field(&mut settings).to_string()),
            Kind::Text(field) => field(&mut settings).as_deref().map(quoted),
            Kind::Level(field) => Some(field(&mut settings).number().to_string()),
            Kind::Special(_) => self.default.and_then(|default| default(&settings)),
            Kind::Ignored { .. } => None,
        }
    }

    const fn default(mut self, default: fn(&Settings) -> Option<String>) -> GlobalRow {
        self.default = Some(default);
        self
    }

    /// Checks a value and puts it where it belongs.
    pub(super) fn apply(&self, draft: &mut Draft, value: &Constant) -> Result<Option<String>, Diagnostic> {
        let settings = &mut draft.settings;
        match &self.kind {
            Kind::Flag(field) => *field(settings) = flag(value)?,
            Kind::Number { least, most, field } => *field(settings) = number(value, *least, *most)?,
            Kind::Text(field) => *field(settings) = Some(text(value)?),
            Kind::Level(field) => *field(settings) = level(value)?,
            Kind::Special(set) => return set(draft, value),
            Kind::Ignored { takes, silent_when } => {
                takes.check(value)?;
                let is_silent =
                    matches!((value, silent_when), (Constant::Number(n), Some(silent)) if n == silent);
                return Ok((!is_silent).then(|| format!("no effect here: {}", self.documentation)));
            }
        }
        Ok(None)
    }
}

const fn flag_row(
    names: &'static [&'static str],
    documentation: &'static str,
    field: fn(&mut Settings) -> &mut bool,
) -> GlobalRow {
    GlobalRow { names, documentation, kind: Kind::Flag(field), default: None }
}

const fn number_row(
    names: &'static [&'static str],
    documentation: &'static str,
    (least, most): (u32, u32),
    field: fn(&mut Settings) -> &mut u32,
) -> GlobalRow {
    GlobalRow { names, documentation, kind: Kind::Number { least, most, field }, default: None }
}

const fn text_row(
    names: &'static [&'static str],
    documentation: &'static str,
    field: fn(&mut Settings) -> &mut Option<String>,
) -> GlobalRow {
    GlobalRow { names, documentation, kind: Kind::Text(field), default: None }
}

const fn special(
    names: &'static [&'static str],
    documentation: &'static str,
    set: fn(&mut Draft, &Constant) -> Result<Option<String>, Diagnostic>,
) -> GlobalRow {
    GlobalRow { names, documentation, kind: Kind::Special(set), default: None }
}

const fn ignored(names: &'static [&'static str], why: &'static str) -> GlobalRow {
    ignored_kind(names, Takes::Number, why)
}

const fn ignored_text(names: &'static [&'static str], why: &'static str) -> GlobalRow {
    ignored_kind(names, Takes::Text, why)
}

const fn ignored_anything(names: &'static [&'static str], why: &'static str) -> GlobalRow {
    ignored_kind(names, Takes::Anything, why)
}

const fn ignored_kind(names: &'static [&'static str], takes: Takes, why: &'static str) -> GlobalRow {
    GlobalRow { names, documentation: why, kind: Kind::Ignored { takes, silent_when: None }, default: None }
}

const fn silent_when(value: i64, names: &'static [&'static str], why: &'static str) -> GlobalRow {
    let kind = Kind::Ignored { takes: Takes::Number, silent_when: Some(value) };
    GlobalRow { names, documentation: why, kind, default: None }
}

const MEMORY: &str = "memory comes from the system, there are no pools to tune";
const STREAMS: &str = "streams are not supported yet";
const TLS: &str = "tls is not supported yet";
const SCTP: &str = "sctp is not supported";
const DNS: &str = "names are resolved by the system";
const BLOCKLIST: &str = "there is no list of blocked destinations";
const LATENCY: &str = "actions are not timed yet";
const MULTICAST: &str = "multicast is not served";
const SCHEDULING: &str = "scheduling is left to the system (systemd: CPUSchedulingPolicy=)";
const VIA_XAVP: &str = "via parameters from xavps are not written yet";
const RPC: &str = "commands are not throttled";
const THREADS: &str = "receivers are processes, not threads";
const WAITING: &str = "no process waits for another one's start";
const TASKS: &str = "groups carry messages only";
const CACHE: &str = "there is no cache of variables to tune";

/// Every global parameter.
pub static GLOBALS: &[GlobalRow] = &[
    // Processes and groups.
    number_row(&["children"], "receivers per udp socket", (1, PROCESSES_MAX), |s| &mut s.children),
    special(&["socket_workers"], "receivers of the next listen socket only", |draft, value| {
        draft.next_receivers = Some(number(value, 1, PROCESSES_MAX)?);
        Ok(None)
    }),
    flag_row(&["fork"], "no: one process, for debugging", |s| &mut s.is_forking),
    special(&["async_workers"], "workers of the group default", |draft, value| {
        Ok(draft.size_default_group(number(value, 0, PROCESSES_MAX)?)?)
    }),
    special(
        &["async_workers_group"],
        "defines a group of workers: name=reg;workers=4;queue=8192 (keys: -x groups)",
        |draft, value| Ok(draft.add_group(&text(value)?)?),
    ),
    ignored(&["async_nonblock"], "a full queue is always answered at once"),
    silent_when(0, &["async_usleep"], "workers are woken, they do not poll"),
    ignored_text(&["async_tkv_gname"], TASKS),
    ignored_text(&["async_tkv_evcb"], TASKS),
    silent_when(0, &["udp_receiver_mode"], THREADS),
    silent_when(0, &["route_locks_size"], "messages of a call are not serialised yet"),
    ignored(&["fork_delay"], WAITING),
    ignored(&["modinit_delay"], WAITING),
    silent_when(0, &["wait_worker1_mode"], WAITING),
    ignored(&["wait_worker1_time"], WAITING),
    ignored(&["wait_worker1_usleep"], WAITING),
    // Sockets.
    special(&["listen"], "where to listen: [proto:]addr[:port] [advertise addr[:port]] [name \"x\"]", listen),
    special(&["socket"], "where to listen, field by field", socket),
    special(&["port"], "port of listen sockets without one", |draft, value| {
        draft.port = port(value)?;
        Ok(None)
    })
    .default(|_| Some(PORT.to_string())),
    special(&["tls_port_no"], "port of tls listen sockets without one", |draft, value| {
        draft.tls_port = port(value)?;
        Ok(None)
    })
    .default(|_| Some(TLS_PORT.to_string())),
    special(&["alias", "domain"], "host names of this server", |draft, value| {
        each(value, &mut |one| Ok(draft.add_alias(&text(one)?).map(|()| None)?))
    }),
    silent_when(
        0,
        &["auto_aliases", "auto_domains"],
        "addresses are not looked up in reverse; name them with alias=",
    ),
    text_row(&["advertised_address"], "host written into Via instead of the bound one", |s| {
        &mut s.advertised_address
    }),
    special(&["advertised_port"], "port written into Via instead of the bound one", |draft, value| {
        draft.settings.advertised_port = Some(port(value)?);
        Ok(None)
    }),
    flag_row(&["mhomed"], "choose the socket by the kernel's route", |s| &mut s.mhomed),
    flag_row(
        &["ip_free_bind", "ipfreebind", "ip_nonlocal_bind"],
        "bind addresses that do not exist yet",
        |s| &mut s.is_free_bind,
    ),
    silent_when(0, &["auto_bind_ipv6"], "without listen= every IPv6 address is bound anyway"),
    silent_when(0, &["bind_ipv6_link_local"], "link-local addresses are not bound"),
    ignored_anything(&["ipv6_hex_style"], "IPv6 addresses are written as RFC 5952 says"),
    ignored_text(&["mcast"], MULTICAST),
    ignored(&["mcast_loopback"], MULTICAST),
    ignored(&["mcast_ttl"], MULTICAST),
    special(&["tos"], "type of service (TOS) of sent packets", |draft, value| {
        draft.settings.tos = Some(type_of_service(value)?);
        Ok(None)
    }),
    silent_when(0, &["pmtu_discovery"], "the system's default is used"),
    number_row(&["maxbuffer"], "receive buffer of a socket in bytes", (1024, 1 << 30), |s| {
        &mut s.receive_buffer_size_max
    }),
    number_row(&["maxsndbuffer"], "send buffer of a socket in bytes", (1024, 1 << 30), |s| {
        &mut s.send_buffer_size_max
    }),
    silent_when(0, &["udp_mtu"], STREAMS),
    ignored_anything(&["udp_mtu_try_proto"], STREAMS),
    silent_when(0, &["udp4_raw"], "raw sockets are not used"),
    ignored(&["udp4_raw_mtu"], "raw sockets are not used"),
    ignored(&["udp4_raw_ttl"], "raw sockets are not used"),
    silent_when(0, &["udp_accept_proxy"], "the proxy protocol is not read"),
    // Log.
    Kind::Level(|s| &mut s.debug).row(&["debug"], "lines up to this level are written: -5 alert … 3 debug"),
    flag_row(&["log_stderror"], "log to stderr instead of syslog", |s| &mut s.log_stderror),
    flag_row(&["log_color"], "colour on stderr", |s| &mut s.log_color),
    special(&["log_facility"], "syslog facility", |draft, value| {
        draft.settings.log_facility = facility(value)?;
        Ok(None)
    })
    .default(|s| Some(s.log_facility.name())),
    text_row(&["log_name"], "name in syslog lines", |s| &mut s.log_name),
    special(
        &["log_prefix"],
        "prefix of every log line about a message; may contain variables",
        |draft, value| {
            draft.settings.log_prefix = text(value)?.into_bytes();
            Ok(None)
        },
    ),
    flag_row(
        &["log_prefix_mode"],
        "1: the prefix is evaluated before each function, 0: once per message",
        |s| &mut s.is_log_prefix_renewed,
    ),
    special(
        &["log_engine_type"],
        "format and destination of log lines: standard, stderr, syslog, journald or json",
        |draft, value| {
            draft.settings.log_engine = engine(value)?;
            Ok(None)
        },
    )
    .default(|_| Some(quoted("standard"))),
    text_row(&["log_engine_data"], "path of the socket of syslog or the journal", |s| &mut s.log_engine_data),
    ignored(&["corelog", "core_log"], "lines of the core have their own levels"),
    special(&["sip_parser_log"], "level of lines about messages that are not SIP", |draft, value| {
        draft.settings.sip_parser_log = Some(level(value)?);
        Ok(None)
    })
    .default(|s| s.sip_parser_log.map(|level| level.number().to_string())),
    ignored(&["sip_parser_log_oneline"], "a broken message is always logged in one line"),
    special(
        &["sip_parser_mode"],
        "1: a message with two From, To, Call-ID or CSeq is refused; 0: the first one counts",
        |draft, value| {
            draft.settings.repeated_fields = match number(value, 0, 255)? & 1 {
                0 => Repeated::Ignored,
                _ => Repeated::Refused,
            };
            Ok(None)
        },
    ),
    ignored(&["latency_log"], LATENCY),
    ignored(&["latency_cfg_log"], LATENCY),
    silent_when(0, &["latency_limit_db"], LATENCY),
    silent_when(0, &["latency_limit_action"], LATENCY),
    silent_when(0, &["latency_limit_cfg"], LATENCY),
    ignored(&["memdbg", "mem_dbg"], MEMORY),
    ignored(&["memlog", "mem_log"], MEMORY),
    ignored(&["mem_summary"], MEMORY),
    ignored(&["mem_safety"], MEMORY),
    ignored(&["mem_join"], MEMORY),
    ignored(&["mem_status_mode"], MEMORY),
    ignored(&["mem_add_size"], MEMORY),
    silent_when(0, &["verbose_startup"], "the start needs no tuning"),
    silent_when(1, &["msg_time"], "the time of receipt is always recorded"),
    // Limits and the engine of scripts.
    number_row(
        &["max_while_loops"],
        "maximum iterations of one while loop; 0 for no separate limit",
        (0, 100_000_000),
        |s| &mut s.max_while_loops,
    ),
    number_row(&["max_recursive_level"], "maximum nesting depth of route() calls", (1, 10_000), |s| {
        &mut s.max_recursive_level
    }),
    number_row(&["max_branches"], "maximum number of branches of a request", (1, 32), |s| {
        &mut s.max_branches
    }),
    flag_row(&["return_mode"], "1: conditions test the raw return value of functions", |s| {
        &mut s.is_raw_return_mode
    }),
    number_row(
        &["msg_recv_max_size"],
        "maximum size of a message; larger ones are discarded",
        (32, 65_535),
        |s| &mut s.msg_recv_size_max,
    ),
    ignored(&["msg_clone_extra_size"], MEMORY),
    ignored(&["msg_apply_changes_mode"], "changes are applied in one way"),
    ignored(&["pv_buffer_size"], CACHE),
    ignored(&["pv_buffer_slots"], CACHE),
    ignored(&["pv_cache_limit"], CACHE),
    ignored(&["pv_cache_action"], CACHE),
    silent_when(0, &["received_route_mode"], "event_route[core:msg-received] is not run yet"),
    flag_row(&["onsend_route_reply"], "run onsend_route for forwarded replies too", |s| {
        &mut s.is_reply_shown_on_send
    }),
    silent_when(0, &["http_reply_parse", "http_reply_hack"], "http is not supported yet"),
    flag_row(
        &["reply_to_via"],
        "reply to the address in Via, if it has one, instead of to the sender",
        |s| &mut s.reply_to_via,
    ),
    flag_row(&["check_via"], "accept only replies with a topmost Via of this server", |s| &mut s.check_via),
    flag_row(
        &["answer_broken_requests"],
        "answer requests that no script can be run on, such as one without Call-ID, with an error instead \
         of discarding them",
        |s| &mut s.answers_broken_requests,
    ),
    ignored(&["phone2tel"], "tel URIs are left as they are"),
    silent_when(0, &["sip_warning"], "no Warning header is added to replies"),
    flag_row(&["server_signature"], "name this server in its own replies", |s| &mut s.is_server_signature_on),
    special(&["server_header"], "that header field, with its name", |draft, value| {
        draft.settings.server_header = header(value)?;
        Ok(None)
    })
    .default(|s| Some(quoted(&String::from_utf8_lossy(&s.server_header)))),
    special(
        &["user_agent_header"],
        "the header field that names this server in its own requests, with its name",
        |d, v| {
            d.settings.user_agent_header = header(v)?;
            Ok(None)
        },
    )
    .default(|s| Some(quoted(&String::from_utf8_lossy(&s.user_agent_header)))),
    flag_row(&["force_rport", "add_rport"], "send every reply to the source port of its request", |s| {
        &mut s.force_rport
    }),
    flag_row(&["local_rport"], "put ;rport into our own Via", |s| &mut s.local_rport),
    ignored_text(&["xavp_via_params"], VIA_XAVP),
    ignored_text(&["xavp_via_fields"], VIA_XAVP),
    ignored_text(&["xavp_via_reply_params"], VIA_XAVP),
    special(
        &["uri_host_extra_chars"],
        "characters that hosts of URIs may have beside letters, digits, ., - and _",
        |draft, value| {
            draft.settings.grammar.in_hosts = octets(value, Octets::beside_a_host, "a host")?;
            Ok(None)
        },
    ),
    special(
        &["hdr_name_extra_chars"],
        "characters that names of header fields may have beside those of a token",
        |draft, value| {
            let octets = octets(value, Octets::beside_a_header_name, "the name of a header field")?;
            draft.settings.grammar.in_header_names = octets;
            Ok(None)
        },
    ),
    special(&["flags"], "named flags of messages: flags a:1, b:2", |draft, value| {
        each(value, &mut |one| name_flag(draft, &text(one)?).map(|()| None))
    }),
    ignored_anything(&["avpflags"], "avps have no flags"),
    ignored_anything(&["coreparam"], "it has no counterpart for tuning"),
    special(&["cfgengine"], "language of the routes; only native", |_, value| match text(value)?.as_str() {
        "native" | "default" => Ok(None),
        other => Err(Diagnostic::mistake(format!("routes in \"{other}\" are not run here"))
            .with_help("only native ones are: write cfgengine \"native\"")),
    })
    .default(|_| Some(quoted("native"))),
    // Streams.
    silent_when(1, &["disable_tcp"], STREAMS),
    silent_when(0, &["enable_tls", "tls_enable"], TLS),
    silent_when(1, &["disable_tls", "tls_disable"], TLS),
    ignored(&["tcp_children"], STREAMS),
    ignored(&["tcp_connection_lifetime"], STREAMS),
    ignored(&["tcp_max_connections"], STREAMS),
    ignored(&["tls_max_connections"], TLS),
    ignored(&["tcp_accept_no_cl"], STREAMS),
    ignored(&["tcp_connect_timeout"], STREAMS),
    ignored(&["tcp_send_timeout"], STREAMS),
    ignored(&["tcp_rd_buf_size"], STREAMS),
    ignored(&["tcp_msg_read_timeout"], STREAMS),
    ignored(&["tcp_msg_data_timeout"], STREAMS),
    ignored(&["tcp_check_timer"], STREAMS),
    ignored(&["tcp_accept_iplimit"], STREAMS),
    ignored(&["tcp_main_threads"], THREADS),
    ignored(&["tcp_buf_write", "tcp_async"], STREAMS),
    ignored(&["tcp_conn_wq_max"], STREAMS),
    ignored(&["tcp_wq_max"], STREAMS),
    ignored(&["tcp_wq_blk_size"], STREAMS),
    ignored(&["tcp_keepalive"], STREAMS),
    ignored(&["tcp_keepidle"], STREAMS),
    ignored(&["tcp_keepintvl"], STREAMS),
    ignored(&["tcp_keepcnt"], STREAMS),
    ignored(&["tcp_crlf_ping"], STREAMS),
    ignored(&["tcp_delayed_ack"], STREAMS),
    ignored(&["tcp_defer_accept"], STREAMS),
    ignored(&["tcp_linger2"], STREAMS),
    ignored(&["tcp_syncnt"], STREAMS),
    ignored(&["tcp_listen_backlog"], STREAMS),
    ignored(&["tcp_accept_aliases"], STREAMS),
    ignored(&["tcp_accept_unique"], STREAMS),
    ignored(&["tcp_connection_match"], STREAMS),
    ignored(&["tcp_reuse_port"], STREAMS),
    ignored(&["tcp_no_connect"], STREAMS),
    ignored_anything(&["tcp_source_ipv4"], STREAMS),
    ignored_anything(&["tcp_source_ipv6"], STREAMS),
    ignored(&["tcp_script_mode"], STREAMS),
    ignored(&["tcp_close_rst"], STREAMS),
    ignored(&["tcp_clone_rcvbuf"], STREAMS),
    ignored(&["tcp_wait_data"], STREAMS),
    ignored(&["tcp_fd_cache"], STREAMS),
    ignored_anything(&["tcp_poll_method"], STREAMS),
    ignored_text(&["tcp_accept_protocols", "tcp_accept_protos"], STREAMS),
    ignored(&["tcp_accept_hep3"], STREAMS),
    ignored(&["tcp_accept_haproxy"], STREAMS),
    ignored_anything(&["tls_method"], TLS),
    ignored(&["tls_verify"], TLS),
    ignored(&["tls_require_certificate"], TLS),
    ignored_text(&["tls_certificate"], TLS),
    ignored_text(&["tls_private_key"], TLS),
    ignored_text(&["tls_ca_list"], TLS),
    ignored(&["tls_handshake_timeout"], TLS),
    ignored(&["tls_send_timeout"], TLS),
    ignored(&["tlslog", "tls_log"], TLS),
    ignored(&["tls_threads_mode"], THREADS),
    ignored(&["tls_connection_match_domain"], TLS),
    silent_when(0, &["enable_sctp"], SCTP),
    silent_when(1, &["disable_sctp"], SCTP),
    ignored(&["sctp_children"], SCTP),
    // Names.
    silent_when(0, &["dns"], DNS),
    silent_when(0, &["rev_dns", "dns_rev_via"], DNS),
    ignored(&["dns_try_ipv6"], DNS),
    silent_when(0, &["dns_try_naptr"], DNS),
    silent_when(0, &["dns_srv_lb", "dns_srv_loadbalancing"], DNS),
    ignored(&["dns_udp_pref", "dns_udp_preference"], DNS),
    ignored(&["dns_tcp_pref", "dns_tcp_preference"], DNS),
    ignored(&["dns_tls_pref", "dns_tls_preference"], DNS),
    ignored(&["dns_sctp_pref", "dns_sctp_preference"], DNS),
    ignored(&["dns_retr_time"], DNS),
    ignored(&["dns_retr_no"], DNS),
    ignored(&["dns_slow_query_ms"], DNS),
    ignored(&["dns_servers_no"], DNS),
    ignored(&["dns_use_search_list"], DNS),
    ignored(&["dns_search_full_match"], DNS),
    ignored(&["dns_naptr_ignore_rfc"], DNS),
    ignored(&["dns_cache_init"], DNS),
    silent_when(0, &["use_dns_cache", "dns_use_cache"], DNS),
    silent_when(0, &["use_dns_failover", "dns_use_failover"], DNS),
    ignored(&["dns_cache_flags"], DNS),
    ignored(&["dns_cache_negative_ttl"], DNS),
    ignored(&["dns_cache_max_ttl"], DNS),
    ignored(&["dns_cache_min_ttl"], DNS),
    ignored(&["dns_cache_mem"], DNS),
    ignored(&["dns_cache_gc_interval"], DNS),
    ignored(&["dns_cache_del_nonexp", "dns_cache_delete_nonexpired"], DNS),
    ignored(&["dns_cache_rec_pref"], DNS),
    silent_when(0, &["dst_blocklist_init"], BLOCKLIST),
    silent_when(0, &["use_dst_blocklist"], BLOCKLIST),
    ignored(&["dst_blocklist_mem"], BLOCKLIST),
    ignored(&["dst_blocklist_expire", "dst_blocklist_ttl"], BLOCKLIST),
    ignored(&["dst_blocklist_gc_interval"], BLOCKLIST),
    ignored(&["dst_blocklist_udp_imask"], BLOCKLIST),
    ignored(&["dst_blocklist_tcp_imask"], BLOCKLIST),
    ignored(&["dst_blocklist_tls_imask"], BLOCKLIST),
    ignored(&["dst_blocklist_sctp_imask"], BLOCKLIST),
    // The process and its surroundings.
    text_row(&["user", "uid"], "user to run as", |s| &mut s.user),
    text_row(&["group", "gid"], "group to run as", |s| &mut s.group),
    text_row(&["chroot"], "root directory of all processes (chroot)", |s| &mut s.chroot),
    special(&["loadpath", "mpath"], "directory of modules; accepted, modules are built in", |_, value| {
        text(value).map(|_| None)
    }),
    special(&["workdir", "wdir"], "working directory", |draft, value| {
        draft.settings.workdir = text(value)?;
        Ok(None)
    })
    .default(|s| Some(quoted(&s.workdir))),
    special(
        &["rundir", "run_dir"],
        "directory for sockets and files of the running server",
        |draft, value| {
            draft.settings.rundir = text(value)?;
            Ok(None)
        },
    )
    .default(|s| Some(quoted(&s.rundir))),
    special(&["server_id"], "number of this server among others", |draft, value| match value {
        Constant::Number(number) => {
            draft.settings.server_id = *number;
            Ok(None)
        }
        _ => Err("takes a number".into()),
    })
    .default(|s| Some(s.server_id.to_string())),
    number_row(&["exit_timeout", "ser_kill_timeout"], "maximum seconds for a stop", (1, 86_400), |s| {
        &mut s.exit_timeout_s
    }),
    number_row(
        &["process_deadline_ms"],
        "a receiver, timer or control process without a heartbeat for this time is killed and replaced; \
         0: never",
        (0, 86_400_000),
        |s| &mut s.process_deadline_ms,
    ),
    flag_row(&["stop_reply"], "no: new requests are not answered with 503 while the server stops", |s| {
        &mut s.is_stop_told
    }),
    special(&["open_files_limit"], "maximum number of open files", |draft, value| {
        draft.settings.open_files_limit = Some(u64::from(number(value, 64, u32::MAX)?));
        Ok(None)
    }),
    flag_row(&["disable_core_dump"], "no: a crash may leave a core file", |s| &mut s.is_core_dump_disabled),
    flag_row(&["sandbox"], "no: child processes are not confined, for debugging", |s| &mut s.is_sandboxed),
    ignored(&["shm", "shm_mem", "shm_mem_size"], "shared memory is sized by the groups (queue=)"),
    ignored(&["shm_force_alloc"], "shared memory is sized by the groups (queue=)"),
    ignored(&["mlock_pages"], MEMORY),
    silent_when(0, &["real_time"], SCHEDULING),
    ignored(&["rt_prio"], SCHEDULING),
    ignored(&["rt_policy"], SCHEDULING),
    ignored(&["rt_timer1_prio", "rt_fast_timer_prio", "rt_ftimer_prio"], SCHEDULING),
    ignored(&["rt_timer1_policy", "rt_ftimer_policy"], SCHEDULING),
    ignored(&["rt_timer2_prio", "rt_stimer_prio"], SCHEDULING),
    ignored(&["rt_timer2_policy", "rt_stimer_policy"], SCHEDULING),
    silent_when(0, &["rpc_exec_delta"], RPC),
    ignored(&["rpc_exec_locks"], RPC),
    ignored(&["rpc_exec_locks_mode"], RPC),
    ignored_text(&["version_table"], "no database is used yet"),
    ignored(&["sql_buffer_size"], "no database is used yet"),
    ignored_text(&["stats_name_separator"], "names of counters are written with dots"),
];

impl Takes {
    fn check(self, value: &Constant) -> Result<(), Diagnostic> {
        match (self, value) {
            (Takes::Anything, _)
            | (Takes::Number, Constant::Number(_))
            | (Takes::Text, Constant::Text(_)) => Ok(()),
            (Takes::Number, other) => Err(format!("takes a number, not {}", shown(other)).into()),
            (Takes::Text, other) => Err(format!("takes text in quotes, not {}", shown(other)).into()),
        }
    }
}

impl Kind {
    const fn row(self, names: &'static [&'static str], documentation: &'static str) -> GlobalRow {
        GlobalRow { names, documentation, kind: self, default: None }
    }
}

fn listen(draft: &mut Draft, value: &Constant) -> Result<Option<String>, Diagnostic> {
    each(value, &mut |one| match one {
        Constant::Socket(literal) => Ok(draft.listen(literal)?),
        other => Ok(draft.listen(&SocketLiteral { bind: text(other)?, ..SocketLiteral::default() })?),
    })
}

fn socket(draft: &mut Draft, value: &Constant) -> Result<Option<String>, Diagnostic> {
    let Constant::Fields(fields) = value else { return listen(draft, value) };
    let mut literal = SocketLiteral::default();
    let mut remark = None;
    for (name, value) in fields {
        match name.as_str() {
            "bind" => literal.bind = socket_text(value)?,
            "advertise" => literal.advertise = Some(socket_text(value)?),
            "name" => literal.name = Some(text(value)?),
            "workers" => draft.next_receivers = Some(number(value, 1, PROCESSES_MAX)?),
            "virtual" => literal.is_virtual = flag(value)?,
            "agname" | "vrf" => remark = Some(format!("{name} has no effect here")),
            _ => {
                let fields = ["bind", "advertise", "name", "workers", "virtual", "agname", "vrf"];
                return Err(Diagnostic::mistake(format!("unknown field \"{name}\"")).with_help(
                    suggestion(name, fields).unwrap_or_else(|| format!("fields are {}", listed(fields))),
                ));
            }
        }
    }
    Ok(draft.listen(&literal)?.or(remark))
}

fn socket_text(value: &Constant) -> Result<String, Diagnostic> {
    match value {
        Constant::Socket(literal) => Ok(literal.bind.clone()),
        other => text(other),
    }
}

fn octets(
    value: &Constant,
    beside: impl Fn(&[u8]) -> Result<Octets, u8>,
    what: &str,
) -> Result<Octets, Diagnostic> {
    let Constant::Text(text) = value else {
        let reason = format!("takes text, not {}", shown(value));
        return Err(Diagnostic::mistake(reason).with_help("write it in quotes"));
    };
    beside(text).map_err(|octet| {
        Diagnostic::mistake(format!("{what} cannot have \"{}\" in it", octet.escape_ascii()))
            .with_help("write characters without a meaning there, such as \"$~\"")
    })
}

fn name_flag(draft: &mut Draft, text: &str) -> Result<(), Diagnostic> {
    let flags = &mut draft.settings.named_flags;
    let (name, number) = match text.split_once(':') {
        Some((name, number)) => {
            let number = number.trim().parse().ok().filter(|number| *number < 32);
            (name.trim(), number.ok_or_else(|| format!("flag \"{name}\" takes a number from 0 to 31"))?)
        }
        None => {
            let is_free = |number: &u32| flags.iter().all(|(_, taken)| taken != number);
            (text.trim(), (0..32).rev().find(is_free).ok_or("every flag has a name already")?)
        }
    };
    if flags.iter().any(|(known, _)| known == name) {
        return Err(format!("flag \"{name}\" is named twice").into());
    }
    flags.push((name.to_string(), number));
    Ok(())
}

/// Applies `set` to each of several values, or to the one; the last remark is kept.
fn each(
    value: &Constant,
    set: &mut dyn FnMut(&Constant) -> Result<Option<String>, Diagnostic>,
) -> Result<Option<String>, Diagnostic> {
    let values = match value {
        Constant::List(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut remark = None;
    for value in values {
        remark = set(value)?.or(remark);
    }
    Ok(remark)
}

// A ring must be able to hold what a group may ask for.
const _: () = assert!(QUEUE_MAX.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_stands_once_and_is_documented() {
        let mut seen = HashSet::new();
        for row in GLOBALS {
            assert!(!row.documentation.is_empty(), "{:?}", row.names);
            for name in row.names {
                assert!(seen.insert(name), "{name} stands twice");
            }
        }
    }

    #[test]
    fn a_parameter_without_effect_takes_what_it_takes_elsewhere() {
        let mut draft = Draft::new(Box::new(crate::config::settings::listen::SystemResolver));
        let text = |text: &str| Constant::Text(text.as_bytes().to_vec());
        let rows = [
            ("memlog", Constant::Number(5), ""),
            ("memlog", text("5"), "memlog: takes a number, not \"5\""),
            ("auto_aliases", Constant::Word("maybe".into()), "auto_aliases: takes a number, not maybe"),
            ("version_table", text("version"), ""),
            (
                "version_table",
                Constant::Word("version".into()),
                "version_table: takes text in quotes, not version",
            ),
            ("tls_method", Constant::Word("TLSv1".into()), ""),
            ("tls_method", text("TLSv1"), ""),
        ];
        for (name, value, expected) in rows {
            let said = draft.set(name, &value).err().map(|mistake| mistake.message).unwrap_or_default();
            assert_eq!(said, expected, "{name} {value:?}");
        }
    }

    #[test]
    fn flags_are_named_with_and_without_numbers() {
        let mut draft = Draft::new(Box::new(crate::config::settings::listen::SystemResolver));
        let flags = Constant::List(vec![Constant::Word("a:1".into()), Constant::Word("b".into())]);
        draft.set("flags", &flags).unwrap();
        assert_eq!(draft.settings.named_flags, [("a".to_string(), 1), ("b".to_string(), 31)]);
        assert!(draft.set("flags", &Constant::Word("a:2".into())).is_err());
        assert!(draft.set("flags", &Constant::Word("c:32".into())).is_err());
    }
}
