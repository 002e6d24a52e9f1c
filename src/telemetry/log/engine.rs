//! Log engines: where lines go and in which form, as `log_engine_type` and `--log-engine` name them.

use std::path::PathBuf;

use super::Sink;
use crate::script::suggest;

/// An engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Text on stderr or to syslog, as `log_stderror` says.
    #[default]
    Standard,
    /// Text on stderr.
    Stderr,
    /// Text to syslog; data: path of its socket, by default `/dev/log`.
    Syslog,
    /// Fields to the journal; data: path of its socket, by default `/run/systemd/journal/socket`.
    Journal,
    /// A JSON object a line, on stderr or to syslog, as `log_stderror` says.
    Json,
}

/// Every engine, with its name and aliases.
const ENGINES: &[(&[&str], Engine)] = &[
    (&["standard", "default", ""], Engine::Standard),
    (&["stderr"], Engine::Stderr),
    (&["syslog"], Engine::Syslog),
    (&["journald", "systemd"], Engine::Journal),
    (&["json"], Engine::Json),
];

impl Engine {
    /// The name of every engine.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ENGINES.iter().map(|(names, _)| names[0])
    }

    /// The engine of a name; the reason names those there are.
    pub fn parse(name: &str) -> Result<Engine, String> {
        let row = ENGINES.iter().find(|(names, _)| names.contains(&name));
        row.map(|(_, engine)| *engine).ok_or_else(|| {
            format!("unknown log engine \"{name}\"; engines are {}", suggest::listed(Engine::names()))
        })
    }
}

/// An engine and all that decides where its lines go.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Which one.
    pub engine: Engine,
    /// `log_engine_data`.
    pub data: Option<&'a str>,
    /// `log_stderror`.
    pub is_stderr_wanted: bool,
    /// Name of the program in lines.
    pub name: &'a str,
}

impl Destination<'_> {
    /// Whether lines go to stderr.
    pub fn is_stderr(&self) -> bool {
        match self.engine {
            Engine::Standard | Engine::Json => self.is_stderr_wanted,
            Engine::Stderr => true,
            Engine::Syslog | Engine::Journal => false,
        }
    }

    /// The sink. What listens elsewhere is looked for at once, while its path can still be seen.
    pub fn open(&self) -> Sink {
        let path = |usual: &str| PathBuf::from(self.data.filter(|data| !data.is_empty()).unwrap_or(usual));
        match self.engine {
            Engine::Journal => Sink::journal(path("/run/systemd/journal/socket"), self.name),
            Engine::Syslog => Sink::syslog(path("/dev/log"), self.name),
            _ if self.is_stderr() => Sink::Stderr,
            _ => Sink::syslog(PathBuf::from("/dev/log"), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_names_and_the_rest_is_refused() {
        let rows = [
            ("", Engine::Standard),
            ("stderr", Engine::Stderr),
            ("syslog", Engine::Syslog),
            ("journald", Engine::Journal),
            ("systemd", Engine::Journal),
            ("json", Engine::Json),
        ];
        for (name, engine) in rows {
            assert_eq!(Engine::parse(name), Ok(engine));
        }
        let refused = Engine::parse("udp").unwrap_err();
        assert!(refused.starts_with("unknown log engine \"udp\"; engines are "), "{refused}");
    }

    #[test]
    fn stderr_is_where_it_is_asked_for() {
        let rows = [
            (Engine::Standard, false, false),
            (Engine::Standard, true, true),
            (Engine::Json, true, true),
            (Engine::Json, false, false),
            (Engine::Stderr, false, true),
            (Engine::Syslog, true, false),
            (Engine::Journal, true, false),
        ];
        for (engine, is_stderr_wanted, expected) in rows {
            let destination = Destination { engine, data: None, is_stderr_wanted, name: "sworkerd" };
            assert_eq!(destination.is_stderr(), expected, "{engine:?}");
            assert_eq!(matches!(destination.open(), Sink::Stderr), expected, "{engine:?}");
        }
    }
}
