//! Module `xlog`: writes formatted text to the log: `xlog("L_INFO", "from $fu\n")`, `xinfo("…")`, `xdbg("…")`, …
//!
//! A line ends where the script ends it: nothing is added to the text unless `auto_newline` says so.

use std::cell::Cell;

use crate::core::context::Context;
use crate::core::functions::general::{level_of, prepare_log_level};
use crate::core::log::{Facility, Level};
use crate::core::module::{Argument, Complaint, Module, ModuleFunction, Outcome, Parameter, ParameterKind};
use crate::core::preparation::Preparation;

/// Module `xlog`.
pub struct Xlog {
    label: Vec<u8>,
    text_size_max: usize,
    facility: Option<Facility>,
    methods: i64,
    is_newline_added: Cell<bool>,
}

const TEXT: &[ParameterKind] = &[ParameterKind::Text];
const LEVEL_TEXT: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Text];
const FACILITY_LEVEL_TEXT: &[ParameterKind] =
    &[ParameterKind::Prepared, ParameterKind::Prepared, ParameterKind::Text];

const TEXT_SIZE_DEFAULT: usize = 4096;

impl Module for Xlog {
    const NAME: &'static str = "xlog";
    const DOCUMENTATION: &'static str = "writes formatted text to the log";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::integer(
            "buf_size",
            "longest text in bytes; what is longer is cut",
            |module, size| {
                module.text_size_max =
                    usize::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| Complaint {
                        message: format!("buf_size cannot be {size}"),
                        help: Some("a number of bytes above 0".to_string()),
                    })?;
                Ok(())
            },
        )
        .default("4096"),
        Parameter::<Self>::text("prefix", "what stands before the text", |module, prefix| {
            module.label = prefix.to_vec();
            Ok(())
        })
        .default("\"<script>: \""),
        Parameter::text("log_facility", "facility of syslog for all lines of the script", |module, name| {
            module.facility = Some(parse_facility(name)?);
            Ok(())
        }),
        Parameter::<Self>::integer(
            "methods_filter",
            "bits of the methods that are logged, -1 all",
            |module, bits| {
                module.methods = bits;
                Ok(())
            },
        )
        .default("-1"),
        Parameter::<Self>::integer("auto_newline", "1 ends each text with a newline", |module, on| {
            module.is_newline_added.set(on != 0);
            Ok(())
        })
        .default("0"),
        Parameter::ignored(
            "prefix_mode",
            "the prefix is taken as it stands; variables belong into log_prefix",
        ),
        Parameter::ignored("force_color", "colours are written where the script asks for them"),
        Parameter::ignored("long_format", "the place in the script is not written"),
        Parameter::ignored("log_colors", "colours by level are chosen by log_color"),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        ModuleFunction::new("xlog", "writes text at level L_ERR", TEXT, |module, context, arguments| {
            module.write(context, Level::Error, None, &arguments[0])
        }),
        ModuleFunction::new(
            "xlog",
            "writes text at a level: a word such as L_INFO or a number",
            LEVEL_TEXT,
            Self::at_level,
        )
        .prepare(Self::prepare_level),
        ModuleFunction::new(
            "xlog",
            "writes text with a facility such as LOG_LOCAL0 and at a level",
            FACILITY_LEVEL_TEXT,
            Self::with_facility,
        )
        .prepare(Self::prepare_facility_level),
        ModuleFunction::new(
            "xlogl",
            "as xlog; the place in the script is not written",
            TEXT,
            |module, context, arguments| module.write(context, Level::Error, None, &arguments[0]),
        ),
        ModuleFunction::new(
            "xlogl",
            "as xlog; the place in the script is not written",
            LEVEL_TEXT,
            Self::at_level,
        )
        .prepare(Self::prepare_level),
        ModuleFunction::new(
            "xlogm",
            "as xlog, a line of the log for each line of the text",
            LEVEL_TEXT,
            Self::lines,
        )
        .prepare(Self::prepare_level),
        shorthand("xalert", "writes text at level L_ALERT", |module, context, arguments| {
            module.write(context, Level::Alert, None, &arguments[0])
        }),
        shorthand("xbug", "writes text at level L_BUG", |module, context, arguments| {
            module.write(context, Level::Bug, None, &arguments[0])
        }),
        shorthand("xcrit", "writes text at level L_CRIT", |module, context, arguments| {
            module.write(context, Level::Critical, None, &arguments[0])
        }),
        shorthand("xerr", "writes text at level L_ERR", |module, context, arguments| {
            module.write(context, Level::Error, None, &arguments[0])
        }),
        shorthand("xwarn", "writes text at level L_WARN", |module, context, arguments| {
            module.write(context, Level::Warning, None, &arguments[0])
        }),
        shorthand("xnotice", "writes text at level L_NOTICE", |module, context, arguments| {
            module.write(context, Level::Notice, None, &arguments[0])
        }),
        shorthand("xinfo", "writes text at level L_INFO", |module, context, arguments| {
            module.write(context, Level::Info, None, &arguments[0])
        }),
        shorthand("xdbg", "writes text at level L_DBG", |module, context, arguments| {
            module.write(context, Level::Debug, None, &arguments[0])
        })
        .alias(&["xdbgl"]),
    ];

    fn new() -> Self {
        Xlog {
            label: b"<script>: ".to_vec(),
            text_size_max: TEXT_SIZE_DEFAULT,
            facility: None,
            methods: -1,
            is_newline_added: Cell::new(false),
        }
    }
}

const fn shorthand(
    name: &'static str,
    documentation: &'static str,
    call: fn(&Xlog, &mut Context<'_>, &[Argument<'_>]) -> Outcome,
) -> ModuleFunction<Xlog> {
    ModuleFunction::new(name, documentation, TEXT, call)
}

impl Xlog {
    fn prepare_level(
        &mut self,
        _: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Complaint> {
        prepare_log_level(literal).map(Some)
    }

    fn prepare_facility_level(
        &mut self,
        _: &mut Preparation<'_>,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Complaint> {
        if parameter == 0 {
            return parse_facility(literal).map(|_| None);
        }
        prepare_log_level(literal).map(Some)
    }

    fn at_level(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        match known_level(context, &arguments[0]) {
            Some(level) => self.write(context, level, None, &arguments[1]),
            None => Outcome::FALSE,
        }
    }

    fn with_facility(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let facility = match parse_facility(arguments[0].text()) {
            Ok(facility) => facility,
            Err(complaint) => {
                context.log(Level::Error, format_args!("xlog: {}", complaint.message));
                return Outcome::FALSE;
            }
        };
        match known_level(context, &arguments[1]) {
            Some(level) => self.write(context, level, Some(facility), &arguments[2]),
            None => Outcome::FALSE,
        }
    }

    fn lines(&self, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
        let Some(level) = known_level(context, &arguments[0]) else { return Outcome::FALSE };
        if self.is_method_logged(context) {
            let text = self.cut(arguments[1].text());
            for line in text.split_inclusive(|&byte| byte == b'\n') {
                context.log_script(level, self.facility, &self.label, line);
            }
        }
        Outcome::TRUE
    }

    fn write(
        &self,
        context: &mut Context<'_>,
        level: Level,
        facility: Option<Facility>,
        text: &Argument<'_>,
    ) -> Outcome {
        if !context.is_logged(level) || !self.is_method_logged(context) {
            return Outcome::TRUE;
        }
        let text = self.cut(text.text());
        let facility = facility.or(self.facility);
        if self.is_newline_added.get() && !text.ends_with(b"\n") {
            context.log_script(level, facility, &self.label, &[text, b"\n"].concat());
        } else {
            context.log_script(level, facility, &self.label, text);
        }
        Outcome::TRUE
    }

    fn cut<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[..text.len().min(self.text_size_max)]
    }

    /// A method that has no bit is always logged.
    fn is_method_logged(&self, context: &Context<'_>) -> bool {
        let bit = context.message.method().ok().and_then(|method| method.bit());
        bit.is_none_or(|bit| self.methods & i64::from(bit) != 0)
    }
}

fn known_level(context: &Context<'_>, argument: &Argument<'_>) -> Option<Level> {
    let level = level_of(argument);
    if level.is_none() {
        let written = argument.text().escape_ascii();
        context.log(Level::Error, format_args!("xlog: unknown log level \"{written}\""));
    }
    level
}

fn parse_facility(name: &[u8]) -> Result<Facility, Complaint> {
    std::str::from_utf8(name).ok().and_then(Facility::parse).ok_or_else(|| Complaint {
        message: format!("unknown log facility \"{}\"", name.escape_ascii()),
        help: Some("facilities are LOG_DAEMON, LOG_USER, LOG_LOCAL0 to LOG_LOCAL7, …".to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::module::ModuleEntry;
    use crate::core::stage::{Stage, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Xlog>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn logged(parameters: &str, statement: &str) -> String {
        let script = format!("loadmodule \"xlog.so\"\n{parameters}request_route {{ {statement}; }}");
        let mut stage = Stage::new(MODULES, &script);
        stage.receive(REQUEST);
        stage.log()
    }

    #[test]
    fn every_function_writes_at_its_level() {
        let rows = [
            ("xlog(\"x\")", "ERROR: <script>: x"),
            ("xlog(\"L_INFO\", \"x\")", "INFO: <script>: x"),
            ("xlog(\"L_WARN\", \"x\")", "WARNING: <script>: x"),
            ("xlog(\"-1\", \"x\")", "ERROR: <script>: x"),
            ("xlog(\"2\", \"x\")", "INFO: <script>: x"),
            ("$var(l) = 1; xlog(\"$var(l)\", \"x\")", "NOTICE: <script>: x"),
            ("$var(l) = \"L_DBG\"; xlog(\"$var(l)\", \"x\")", "DEBUG: <script>: x"),
            ("xlog(\"LOG_LOCAL3\", \"L_INFO\", \"x\")", "INFO: <script>: x"),
            ("xlogl(\"L_INFO\", \"x\")", "INFO: <script>: x"),
            ("xalert(\"x\")", "ALERT: <script>: x"),
            ("xbug(\"x\")", "BUG: <script>: x"),
            ("xcrit(\"x\")", "CRITICAL: <script>: x"),
            ("xerr(\"x\")", "ERROR: <script>: x"),
            ("xwarn(\"x\")", "WARNING: <script>: x"),
            ("xnotice(\"x\")", "NOTICE: <script>: x"),
            ("xinfo(\"x\")", "INFO: <script>: x"),
            ("xdbg(\"x\")", "DEBUG: <script>: x"),
            ("xdbgl(\"x\")", "DEBUG: <script>: x"),
            ("xinfo(\"$rm [$si:$sp] $avp(no) $$\")", "INFO: <script>: OPTIONS [127.0.0.1:17070] <null> $"),
        ];
        for (statement, expected) in rows {
            let log = logged("", statement);
            assert!(log.contains(expected), "{statement}: {log}");
        }
    }

    #[test]
    fn parameters_change_the_line() {
        let parameter = |name: &str, value: &str| format!("modparam(\"xlog\", \"{name}\", {value})\n");
        assert!(logged(&parameter("prefix", "\"me: \""), "xinfo(\"x\")").contains("INFO: me: x"));
        let cut = logged(&parameter("buf_size", "3"), "xinfo(\"abcdef\")");
        assert!(cut.contains(": abc") && !cut.contains("abcd"), "{cut}");
        assert!(!logged(&parameter("methods_filter", "1"), "xinfo(\"x\")").contains("<script>"));
        assert!(logged(&parameter("methods_filter", "512"), "xinfo(\"x\")").contains("<script>"));
        let lines = logged(&parameter("auto_newline", "1"), "xinfo(\"a\"); xinfo(\"b\\n\")");
        assert_eq!(lines.matches('\n').count(), 2, "{lines}");
    }

    #[test]
    fn many_lines_can_be_written_one_by_one() {
        let log = logged("", "xlogm(\"L_INFO\", \"a\\nb\\n\")");
        assert!(log.contains("<script>: a\n") && log.contains("<script>: b\n"), "{log}");
    }

    #[test]
    fn mistakes_are_told() {
        let mistakes = |statement: &str| {
            Stage::mistakes(MODULES, &format!("loadmodule \"xlog.so\"\nrequest_route {{ {statement}; }}"))
        };
        assert!(mistakes("xlog(\"L_LOUD\", \"x\")").contains("unknown log level \"L_LOUD\""));
        assert!(
            mistakes("xlog(\"LOG_HERE\", \"L_INFO\", \"x\")").contains("unknown log facility \"LOG_HERE\"")
        );
        assert!(mistakes("xinfo(\"$nothing_here\")").contains("unknown variable $nothing_here"));
        let log = logged("", "xlog(\"$ci\", \"x\")");
        assert!(log.contains("unknown log level \"c1\""), "{log}");
    }

    #[test]
    fn the_tables_are_in_order() {
        check_tables::<Xlog>();
    }
}
