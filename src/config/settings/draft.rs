//! The settings while a script is being read: values as they come, in the order they come.

use std::collections::HashSet;

use super::group::{parse_group, read_group};
use super::listen::{Resolver, loopback_of, resolve, split_address};
use super::overrides::Overrides;
use super::table::{GLOBALS, Kind, row_named};
use super::{Alias, GROUPS_MAX, GroupSetting, LISTENERS_MAX, ListenerSetting, QUEUE_DEFAULT, Settings};
use crate::script::ast::SocketLiteral;
use crate::script::catalog::{Constant, Subject};
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::suggestion;
use crate::transport::endpoint::Transport;

/// Name of the group that `async_workers` sizes.
pub const DEFAULT_GROUP: &str = "default";

/// Port of sockets that name none.
pub const PORT: u16 = 5060;
/// Port of tls sockets that name none.
pub const TLS_PORT: u16 = 5061;

/// Names of other servers for settings that have another name here.
const FOREIGN_NAMES: &[(&str, &str)] = &[
    ("log_level", "debug"),
    ("loglevel", "debug"),
    ("log_stderr", "log_stderror"),
    ("stderror_enabled", "log_stderror"),
    ("syslog_facility", "log_facility"),
    ("udp_workers", "children"),
    ("workers", "children"),
    ("processes", "children"),
    ("bind", "listen"),
    ("worker_group", "async_workers_group"),
    ("shutdown_timeout", "exit_timeout"),
];

/// Settings in the making.
pub struct Draft {
    /// What is decided already.
    pub settings: Settings,
    pub(super) port: u16,
    pub(super) tls_port: u16,
    /// `socket_workers`, for the next socket only.
    pub(super) next_receivers: Option<u32>,
    sockets: Vec<DraftSocket>,
    group_texts: Vec<(String, String)>,
    /// Names that were remarked upon: one notice each is enough.
    remarked: HashSet<&'static str>,
    resolver: Box<dyn Resolver>,
}

/// What is decided when the whole top level is known.
pub struct Finished {
    /// The settings.
    pub settings: Settings,
    /// Each group's name and the string that defines it.
    pub group_texts: Vec<(String, String)>,
    /// What is wrong or worth knowing, and about which statement.
    pub said: Vec<(Subject, Diagnostic)>,
}

fn last_listen() -> Subject {
    Subject::Global("listen".to_string())
}

struct DraftSocket {
    listener: ListenerSetting,
    has_port: bool,
}

impl Draft {
    /// Nothing decided yet.
    pub fn new(resolver: Box<dyn Resolver>) -> Draft {
        Draft {
            settings: Settings::default(),
            port: PORT,
            tls_port: TLS_PORT,
            next_receivers: None,
            sockets: Vec::new(),
            group_texts: Vec::new(),
            remarked: HashSet::new(),
            resolver,
        }
    }

    /// `name = value`.
    pub fn set(&mut self, name: &str, value: &Constant) -> Result<Option<Diagnostic>, Diagnostic> {
        let Some(row) = row_named(name) else {
            let names = GLOBALS.iter().flat_map(|row| row.names.iter().copied());
            let meant = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == name);
            return Err(Diagnostic {
                help: match meant {
                    Some((_, ours)) => Some(format!("did you mean \"{ours}\"?")),
                    None => suggestion(name, names),
                },
                ..Diagnostic::mistake(format!("unknown global parameter \"{name}\""))
            });
        };
        let remark = row.apply(self, value).map_err(|mistake| {
            let message = format!("{name}: {}", mistake.message);
            Diagnostic { message, ..mistake }
        })?;
        let is_ignored = matches!(row.kind, Kind::Ignored { .. });
        match remark {
            Some(_) if is_ignored && !self.remarked.insert(row.names[0]) => Ok(None),
            Some(text) => Ok(Some(Diagnostic::remark(format!("{name}: {text}")))),
            None => Ok(None),
        }
    }

    /// Adds what one socket literal stands for; a remark when it is not served.
    pub(super) fn listen(&mut self, literal: &SocketLiteral) -> Result<Option<String>, String> {
        let receivers = self.next_receivers.take();
        let text = split_address(&literal.bind)?;
        let default_port = if text.transport == Some(Transport::Tls) { self.tls_port } else { self.port };
        let has_port = text.port.is_some();
        let listeners = resolve(literal, receivers, default_port, self.resolver.as_ref())?;
        if listeners.iter().any(|one| one.transport != Transport::Udp) {
            let is_first = self.remarked.insert("streams");
            return Ok(is_first
                .then(|| "streams are not supported yet: tcp and tls sockets are not bound".to_string()));
        }
        if literal.is_virtual {
            return Err("virtual sockets are not supported here".to_string());
        }
        for listener in listeners {
            self.add_socket(listener, has_port)?;
        }
        Ok(None)
    }

    fn add_socket(&mut self, listener: ListenerSetting, has_port: bool) -> Result<(), String> {
        if self.sockets.len() == LISTENERS_MAX {
            return Err(format!("more than {LISTENERS_MAX} sockets"));
        }
        self.sockets.push(DraftSocket { listener, has_port });
        Ok(())
    }

    /// `async_workers_group`.
    pub(super) fn add_group(&mut self, text: &str) -> Result<Option<String>, String> {
        let group = parse_group(text)?;
        let name = &group.name;
        if self.settings.groups.iter().any(|group| group.name == *name) {
            return Err(format!("worker group \"{name}\" is defined twice"));
        }
        if self.settings.groups.len() == GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} worker groups"));
        }
        self.group_texts.push((name.clone(), text.to_string()));
        self.settings.groups.push(group);
        Ok(None)
    }

    /// A group with a mistake in it is refused, but its name is known from then on: calls that name it are right.
    pub fn keep_name_of_group(&mut self, parameter: &str, value: &Constant) {
        let ("async_workers_group", Constant::Text(text)) = (parameter, value) else { return };
        let text = String::from_utf8_lossy(text);
        let group = read_group(&text).group;
        let is_known = self.settings.groups.iter().any(|known| known.name == group.name);
        if !is_known && !group.name.is_empty() {
            self.group_texts.push((group.name.clone(), text.into_owned()));
            self.settings.groups.push(group);
        }
    }

    /// `async_workers`: the group `default`.
    pub(super) fn size_default_group(&mut self, workers: u32) -> Result<Option<String>, String> {
        let groups = &mut self.settings.groups;
        if let Some(known) = groups.iter().find(|group| group.name == DEFAULT_GROUP) {
            return Ok(Some(format!("no effect: group \"default\" has {} workers already", known.workers)));
        }
        if workers > 0 {
            groups.push(GroupSetting::new(DEFAULT_GROUP, workers, QUEUE_DEFAULT));
        }
        Ok(None)
    }

    pub(super) fn add_alias(&mut self, text: &str) -> Result<(), String> {
        for one in text.split_whitespace() {
            self.settings.aliases.push(Alias::parse(one)?);
        }
        Ok(())
    }

    /// The whole top level has been read: the command line has its say, and sockets get their ports.
    pub fn finish(mut self, overrides: &Overrides) -> Finished {
        let mut said = Vec::new();
        for written in &overrides.listen {
            match self.listen(&written.value) {
                Ok(notice) => said.extend(notice.map(|text| (written.argument(), Diagnostic::remark(text)))),
                Err(reason) => said.push((written.argument(), reason.into())),
            }
        }
        for written in &overrides.aliases {
            let wrong = self.add_alias(&written.value).err();
            said.extend(wrong.map(|reason| (written.argument(), reason.into())));
        }
        overrides.apply(&mut self.settings);
        self.place_sockets(overrides.is_trial, &mut said);
        Finished { settings: self.settings, group_texts: self.group_texts, said }
    }

    fn place_sockets(&mut self, is_trial: bool, said: &mut Vec<(Subject, Diagnostic)>) {
        if self.sockets.is_empty() && !self.remarked.contains("streams") {
            self.listen_everywhere();
        }
        let mut listeners: Vec<ListenerSetting> = Vec::new();
        for DraftSocket { mut listener, has_port } in self.sockets.drain(..) {
            if !has_port {
                listener.address.set_port(self.port);
            }
            let is_known =
                |known: &ListenerSetting| known.address == listener.address && known.address.port() != 0;
            if listeners.iter().any(is_known) {
                let text = format!("udp:{} is listed twice and bound once", listener.address);
                said.push((last_listen(), Diagnostic::remark(text)));
            } else {
                listeners.push(listener);
            }
        }
        if listeners.is_empty() {
            said.push((last_listen(), "there is nothing to listen on: no udp socket".into()));
        }
        if is_trial {
            listeners.iter_mut().for_each(|listener| listener.address = loopback_of(listener.address));
        }
        self.settings.listeners = listeners;
    }

    fn listen_everywhere(&mut self) {
        let addresses = self.resolver.every_interface();
        self.sockets.extend(addresses.into_iter().take(LISTENERS_MAX).map(|address| DraftSocket {
            listener: ListenerSetting {
                transport: Transport::Udp,
                address: (address, 0).into(),
                advertise: None,
                name: None,
                receivers: None,
            },
            has_port: false,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen::tests::TestMachine;
    use super::super::overrides::Written;
    use super::*;

    fn socket(bind: &str) -> Constant {
        Constant::Socket(SocketLiteral { bind: bind.to_string(), ..SocketLiteral::default() })
    }

    fn text(bytes: &str) -> Constant {
        Constant::Text(bytes.as_bytes().to_vec())
    }

    fn draft(values: &[(&str, Constant)]) -> Draft {
        let mut draft = Draft::new(Box::new(TestMachine));
        for (name, value) in values {
            draft.set(name, value).unwrap_or_else(|mistake| panic!("{name}: {mistake:?}"));
        }
        draft
    }

    fn sockets(values: &[(&str, Constant)], overrides: &Overrides) -> Vec<String> {
        let settings = draft(values).finish(overrides).settings;
        settings.listeners.iter().map(|one| one.address.to_string()).collect()
    }

    #[test]
    fn sockets_come_from_the_script_and_the_command_line() {
        let none = Overrides::default();
        assert_eq!(sockets(&[], &none), ["127.0.0.1:5060", "10.0.0.1:5060", "[2001:db8::1]:5060"]);
        assert_eq!(sockets(&[("port", Constant::Number(5070))], &none)[0], "127.0.0.1:5070");
        let script = [
            ("listen", socket("127.0.0.1")),
            ("listen", Constant::List(vec![socket("eth0:5080"), socket("127.0.0.1")])),
            ("port", Constant::Number(5070)),
        ];
        assert_eq!(sockets(&script, &none), ["127.0.0.1:5070", "10.0.0.1:5080", "[2001:db8::1]:5080"]);
        let literal = SocketLiteral { bind: "127.0.0.1:5099".to_string(), ..SocketLiteral::default() };
        let adds = Overrides { listen: vec![Written::new("-l", "x", literal)], ..Overrides::default() };
        assert_eq!(sockets(&script, &adds).last().unwrap(), "127.0.0.1:5099");
    }

    #[test]
    fn a_trial_listens_on_loopback_at_ports_the_kernel_chooses() {
        let trial = Overrides { is_trial: true, ..Overrides::default() };
        let script = [
            ("listen", socket("10.0.0.1:5060")),
            ("listen", socket("10.0.0.1:5060")),
            ("listen", socket("[2001:db8::1]:5060")),
            ("listen", socket("127.0.0.1:5080")),
            ("user", text("sip")),
        ];
        assert_eq!(sockets(&script, &trial), ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]);
        assert_eq!(draft(&script).finish(&trial).settings.user, None);
    }

    #[test]
    fn socket_workers_hold_for_the_next_socket_only() {
        let values = [
            ("socket_workers", Constant::Number(3)),
            ("listen", socket("127.0.0.1:1")),
            ("listen", socket("127.0.0.1:2")),
        ];
        let settings = draft(&values).finish(&Overrides::default()).settings;
        let receivers: Vec<_> = settings.listeners.iter().map(|one| one.receivers).collect();
        assert_eq!(receivers, [Some(3), None]);
    }

    #[test]
    fn a_structured_socket_is_read() {
        let fields = vec![
            ("bind".to_string(), Constant::Word("127.0.0.1:5066".to_string())),
            ("advertise".to_string(), text("public.example:5099")),
            ("name".to_string(), text("s1")),
            ("workers".to_string(), Constant::Number(2)),
        ];
        let settings = draft(&[("socket", Constant::Fields(fields))]).finish(&Overrides::default()).settings;
        let listener = &settings.listeners[0];
        assert_eq!(listener.address.to_string(), "127.0.0.1:5066");
        assert_eq!(listener.advertise, Some(("public.example".to_string(), Some(5099))));
        assert_eq!((listener.name.as_deref(), listener.receivers), (Some("s1"), Some(2)));
    }

    #[test]
    fn streams_are_accepted_with_one_notice_and_not_bound() {
        let mut draft = draft(&[("listen", socket("127.0.0.1:5060"))]);
        assert!(draft.set("listen", &socket("tcp:127.0.0.1:5060")).unwrap().is_some());
        assert!(draft.set("listen", &socket("tls:127.0.0.1:5061")).unwrap().is_none());
        let settings = draft.finish(&Overrides::default()).settings;
        assert_eq!(settings.listeners.len(), 1);
    }

    #[test]
    fn a_script_with_streams_only_has_nothing_to_listen_on() {
        let finished = draft(&[("listen", socket("tcp:127.0.0.1"))]).finish(&Overrides::default());
        let said: Vec<_> = finished.said.iter().map(|(_, one)| one.message.as_str()).collect();
        assert_eq!(said, ["there is nothing to listen on: no udp socket"]);
    }

    #[test]
    fn groups_are_defined_once() {
        let mut draft = draft(&[
            ("async_workers", Constant::Number(2)),
            ("async_workers_group", text("name=reg;workers=4;queue=64")),
        ]);
        let names: Vec<_> =
            draft.settings.groups.iter().map(|group| (group.name.as_str(), group.workers)).collect();
        assert_eq!(names, [("default", 2), ("reg", 4)]);
        let twice = draft.set("async_workers_group", &text("name=reg;workers=4")).unwrap_err();
        assert_eq!(twice.message, "async_workers_group: worker group \"reg\" is defined twice");
        assert!(draft.set("async_workers", &Constant::Number(9)).unwrap().is_some());
        assert!(draft.set("async_workers_group", &text("workers=4")).is_err());
    }

    #[test]
    fn a_parameter_without_effect_is_remarked_upon_once() {
        let mut draft = draft(&[]);
        let remark = draft.set("memlog", &Constant::Number(5)).unwrap().unwrap();
        assert!(remark.message.starts_with("memlog: no effect here: "), "{remark:?}");
        assert_eq!(draft.set("mem_log", &Constant::Number(5)), Ok(None));
        assert_eq!(draft.set("enable_sctp", &Constant::Number(0)), Ok(None));
        assert!(draft.set("enable_sctp", &Constant::Number(1)).unwrap().is_some());
    }

    #[test]
    fn mistakes_are_told_with_what_is_near() {
        let mut draft = draft(&[]);
        let mistake = draft.set("childern", &Constant::Number(1)).unwrap_err();
        assert_eq!(mistake.message, "unknown global parameter \"childern\"");
        assert_eq!(mistake.help.as_deref(), Some("did you mean \"children\"?"));
        for (foreign, ours) in FOREIGN_NAMES {
            assert!(row_named(ours).is_some() && row_named(foreign).is_none(), "{foreign} {ours}");
        }
        let mistake = draft.set("log_level", &Constant::Number(1)).unwrap_err();
        assert_eq!(mistake.help.as_deref(), Some("did you mean \"debug\"?"));
        let rows: [(&str, Constant, &str); 6] = [
            ("children", Constant::Number(0), "children: takes a number from 1 to 1024, not 0"),
            ("children", text("many"), "children: takes a number from 1 to 1024, not \"many\""),
            ("log_stderror", text("perhaps"), "log_stderror: takes yes or no, not \"perhaps\""),
            (
                "log_facility",
                Constant::Word("LOG_NOWHERE".to_string()),
                "log_facility: unknown facility \"LOG_NOWHERE\"",
            ),
            ("server_header", Constant::Number(1), "server_header: takes text, not 1"),
            ("port", Constant::Number(70_000), "port: takes a number from 1 to 65535, not 70000"),
        ];
        for (name, value, expected) in rows {
            assert_eq!(draft.set(name, &value).unwrap_err().message, expected);
        }
    }
}
