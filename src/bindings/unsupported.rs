//! Names that mean something in Kamailio and nothing here yet, so that a script that uses them is told so plainly
//! instead of being told about a typing mistake.
//!
//! The names stand in `unsupported.txt`, one module a line. They are looked at only when a name was not found here.

use crate::script::diagnostic::Diagnostic;

/// Module, functions, `$variables`.
const NAMES: &str = include_str!("unsupported.txt");

/// What stands in the list for the core itself, which is no module.
const CORE: &str = "core";

/// Events of Kamailio and its common modules that run a route there.
const EVENTS: &[&str] = &[
    "core:worker-one-init",
    "core:modinit-before",
    "core:msg-received",
    "core:receive-parse-error",
    "core:tkv",
    "corex:reply-out",
    "dialog:end",
    "dialog:failed",
    "dialog:start",
    "dialog:timeout",
    "dispatcher:dst-down",
    "dispatcher:dst-up",
    "htable:mod-init",
    "http_async_client:callback",
    "network:msg",
    "sl:local-response",
    "tcp:closed",
    "tcp:reset",
    "tcp:timeout",
    "tls:connection-out",
    "tm:continue",
    "tm:local-ack-sent",
    "tm:local-request",
    "tm:local-response",
    "uac:reply",
    "usrloc:contact-expired",
    "websocket:closed",
    "xhttp:request",
];

/// Whether an event of Kamailio is called so; branches of `tm` name their own.
pub fn is_event(name: &str) -> bool {
    EVENTS.contains(&name) || name.starts_with("tm:branch-failure:")
}

/// Whether Kamailio has a module of this name.
pub fn is_module(name: &str) -> bool {
    name != CORE && lines().any(|(module, _)| module == name)
}

/// The module of Kamailio that has this function.
pub fn module_of_function(name: &str) -> Option<&'static str> {
    lines().find(|(_, names)| names.split(' ').any(|known| known == name)).map(|(module, _)| module)
}

/// The module of Kamailio that has this variable.
pub fn module_of_variable(name: &str) -> Option<&'static str> {
    let is_it = |known: &str| known.strip_prefix('$') == Some(name);
    lines().find(|(_, names)| names.split(' ').any(is_it)).map(|(module, _)| module)
}

/// The mistake about a name that exists there and not here.
pub fn not_here_yet(what: &str) -> Diagnostic {
    Diagnostic::mistake(format!("{what} exists in Kamailio and is not here yet"))
}

/// Each module with its names.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap_or((line, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are() {
        assert!(is_module("tm") && is_module("gzcompress") && !is_module("tn") && !is_module("core"));
        assert_eq!(module_of_function("t_relay"), Some("tm"));
        assert_eq!(module_of_function("force_tcp_alias"), Some("core"));
        assert_eq!(module_of_function("t_really"), None);
        assert_eq!(module_of_variable("dlg_var"), Some("dialog"));
        assert_eq!(module_of_variable("t_relay"), None);
        assert_eq!(module_of_variable("nothing"), None);
        assert!(
            is_event("xhttp:request") && is_event("tm:branch-failure:x") && !is_event("core:pre-routing")
        );
    }

    #[test]
    fn every_line_is_a_module_with_names_that_can_be_written() {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
        };
        for (module, names) in lines() {
            assert!(is_name(module), "{module}");
            for name in names.split(' ').filter(|name| !name.is_empty()) {
                assert!(is_name(name.trim_start_matches('$')), "{module}: {name}");
            }
        }
    }
}
