//! Module `xlog`: writes formatted text to the log: `xlog("L_INFO", "from $fu\n")`, `xinfo("…")`, `xdbg("…")`, …
//!
//! A line ends where the script ends it: nothing is added to the text unless `auto_newline` says so.

use std::cell::Cell;

use crate::bindings::functions::general::{level_of, prepare_log_level};
use crate::bindings::module::{
    Argument, Diagnostic, Module, ModuleFunction, Outcome, Parameter, ParameterKind,
};
use crate::bindings::planning::Planning;
use crate::bindings::preparation::Preparation;
use crate::routing::context::Context;
use crate::state::value::Value;
use crate::telemetry::log::{Facility, Level};

/// Module `xlog`.
pub struct Xlog {
    label: Vec<u8>,
    is_label_evaluated: bool,
    /// The label with its variables, where they are evaluated.
    label_template: Option<u32>,
    is_file_told: bool,
    text_size_max: usize,
    facility: Option<Facility>,
    skipped_methods: i64,
    /// Where operators change them.
    skipped_methods_slot: u32,
    colours: Vec<(Level, Vec<u8>)>,
    is_newline_added: Cell<bool>,
}

type Row = ModuleFunction<Xlog>;

const TEXT: &[ParameterKind] = &[ParameterKind::Shown];
const LEVEL_TEXT: &[ParameterKind] = &[ParameterKind::Prepared, ParameterKind::Shown];
const FACILITY_LEVEL_TEXT: &[ParameterKind] =
    &[ParameterKind::Prepared, ParameterKind::Prepared, ParameterKind::Shown];

const TEXT_SIZE_DEFAULT: usize = 4096;

impl Module for Xlog {
    const NAME: &'static str = "xlog";
    const DOCUMENTATION: &'static str = "writes formatted text to the log";
    const PARAMETERS: &'static [Parameter<Self>] = &[
        Parameter::<Self>::integer(
            "buf_size",
            "maximum size of a text in bytes; longer ones are cut",
            |module, size| {
                module.text_size_max =
                    usize::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
                        Diagnostic::mistake(format!("buf_size cannot be {size}"))
                            .with_help("a number of bytes above 0")
                    })?;
                Ok(())
            },
        )
        .default("4096"),
        Parameter::<Self>::text("prefix", "prefix of the text", |module, prefix| {
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
            "bits of the methods for which xlogm writes nothing, -1 all; cfg.set_now_int changes it",
            |module, bits| {
                module.skipped_methods = bits;
                Ok(())
            },
        )
        .default("-1"),
        Parameter::<Self>::integer("auto_newline", "1 ends each text with a newline", |module, on| {
            module.is_newline_added.set(on != 0);
            Ok(())
        })
        .default("0"),
        Parameter::<Self>::integer(
            "prefix_mode",
            "1: variables in the prefix are evaluated",
            |module, mode| {
                module.is_label_evaluated = mode != 0;
                Ok(())
            },
        )
        .default("0"),
        Parameter::<Self>::integer(
            "long_format",
            "1: xlogl and xdbgl write the file name too",
            |module, on| {
                module.is_file_told = on != 0;
                Ok(())
            },
        )
        .default("0"),
        Parameter::text(
            "log_colors",
            "colours by level on a terminal, letters as in $C(xy): L_ERR=rx;L_WARN=yx",
            |module, written| {
                let parts = written.split(|&byte| byte == b';').filter(|part| !part.trim_ascii().is_empty());
                for part in parts {
                    module.colours.push(level_colour(part)?);
                }
                Ok(())
            },
        ),
        Parameter::ignored("force_color", "colours are written where the script uses them"),
    ];
    const FUNCTIONS: &'static [ModuleFunction<Self>] = &[
        Row::new("xlog", "writes text at level L_ERR", TEXT, |module, context, arguments| {
            module.write(context, Level::Error, None, &arguments[0])
        }),
        Row::new(
            "xlog",
            "writes text at a level: a word such as L_INFO or a number",
            LEVEL_TEXT,
            Self::at_level,
        )
        .prepare(Self::prepare_level),
        Row::new(
            "xlog",
            "writes text with a facility such as LOG_LOCAL0 and at a level",
            FACILITY_LEVEL_TEXT,
            Self::with_facility,
        )
        .prepare(Self::prepare_facility_level),
        Row::new(
            "xlogl",
            "as xlog, with the line number of the script before the text",
            TEXT,
            |module, context, arguments| {
                module.write_with_place(context, Some(Level::Error), None, &arguments[0], &arguments[1])
            },
        )
        .with_call_site(),
        Row::new(
            "xlogl",
            "as xlog, with the line number of the script before the text",
            LEVEL_TEXT,
            |module, context, arguments| {
                let level = known_level(context, &arguments[0]);
                module.write_with_place(context, level, None, &arguments[1], &arguments[2])
            },
        )
        .prepare(Self::prepare_level)
        .with_call_site(),
        Row::new(
            "xlogl",
            "as xlog, with the line number of the script before the text",
            FACILITY_LEVEL_TEXT,
            |module, context, arguments| {
                let Some(facility) = known_facility(context, &arguments[0]) else { return Outcome::FALSE };
                let level = known_level(context, &arguments[1]);
                module.write_with_place(context, level, Some(facility), &arguments[2], &arguments[3])
            },
        )
        .prepare(Self::prepare_facility_level)
        .with_call_site(),
        Row::new(
            "xlogm",
            "as xlog, but not for messages with a method of methods_filter",
            LEVEL_TEXT,
            |module, context, arguments| match module.is_method_skipped(context) {
                true => Outcome::TRUE,
                false => module.at_level(context, arguments),
            },
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
        }),
        Row::new(
            "xdbgl",
            "as xdbg, with the line number of the script before the text",
            TEXT,
            |module, context, arguments| {
                module.write_with_place(context, Some(Level::Debug), None, &arguments[0], &arguments[1])
            },
        )
        .with_call_site(),
    ];

    fn new() -> Self {
        Xlog {
            label: b"<script>: ".to_vec(),
            is_label_evaluated: false,
            label_template: None,
            is_file_told: false,
            text_size_max: TEXT_SIZE_DEFAULT,
            facility: None,
            skipped_methods: -1,
            skipped_methods_slot: 0,
            colours: Vec::new(),
            is_newline_added: Cell::new(false),
        }
    }

    fn plan(&mut self, planning: &mut Planning<'_>) -> Result<(), Diagnostic> {
        self.skipped_methods_slot = planning.add_live_setting(
            Self::NAME,
            "methods_filter",
            Value::Integer(self.skipped_methods),
            "bits of the methods for which xlogm writes nothing",
        )?;
        for (level, letters) in self.colours.drain(..) {
            planning.colour_level(level, &letters);
        }
        if self.is_label_evaluated {
            planning.about("prefix");
            self.label_template = Some(planning.template(&self.label)?);
        }
        Ok(())
    }
}

const fn shorthand(
    name: &'static str,
    documentation: &'static str,
    call: fn(&Xlog, &mut Context<'_>, &[Argument<'_>]) -> Outcome,
) -> ModuleFunction<Xlog> {
    Row::new(name, documentation, TEXT, call)
}

impl Xlog {
    fn prepare_level(
        &mut self,
        _: &mut Preparation<'_>,
        _: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
        prepare_log_level(literal).map(Some)
    }

    fn prepare_facility_level(
        &mut self,
        _: &mut Preparation<'_>,
        parameter: usize,
        literal: &[u8],
    ) -> Result<Option<u32>, Diagnostic> {
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
        let Some(facility) = known_facility(context, &arguments[0]) else { return Outcome::FALSE };
        match known_level(context, &arguments[1]) {
            Some(level) => self.write(context, level, Some(facility), &arguments[2]),
            None => Outcome::FALSE,
        }
    }

    fn write(
        &self,
        context: &mut Context<'_>,
        level: Level,
        facility: Option<Facility>,
        text: &Argument<'_>,
    ) -> Outcome {
        if !context.is_logged(level) {
            return Outcome::TRUE;
        }
        match self.label_template {
            None => self.write_labelled(context, level, facility, &self.label, text),
            Some(template) => {
                let mut label = Vec::new();
                context.append_template(template, &mut label);
                self.write_labelled(context, level, facility, &label, text)
            }
        }
    }

    /// The place follows the label: `<script>: 21:`, or with its file.
    fn write_with_place(
        &self,
        context: &mut Context<'_>,
        level: Option<Level>,
        facility: Option<Facility>,
        text: &Argument<'_>,
        place: &Argument<'_>,
    ) -> Outcome {
        let Some(level) = level else { return Outcome::FALSE };
        if !context.is_logged(level) {
            return Outcome::TRUE;
        }
        let mut label = Vec::new();
        match self.label_template {
            None => label.extend_from_slice(&self.label),
            Some(template) => context.append_template(template, &mut label),
        }
        if let Argument::Prepared(line, file) = place {
            if self.is_file_told {
                label.extend_from_slice(file);
                label.push(b':');
            }
            label.extend_from_slice(format!("{line}:").as_bytes());
        }
        self.write_labelled(context, level, facility, &label, text)
    }

    fn write_labelled(
        &self,
        context: &Context<'_>,
        level: Level,
        facility: Option<Facility>,
        label: &[u8],
        text: &Argument<'_>,
    ) -> Outcome {
        let text = self.cut(text.text());
        let facility = facility.or(self.facility);
        if self.is_newline_added.get() && !text.ends_with(b"\n") {
            context.log_script(level, facility, label, &[text, b"\n"].concat());
        } else {
            context.log_script(level, facility, label, text);
        }
        Outcome::TRUE
    }

    fn cut<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[..text.len().min(self.text_size_max)]
    }

    /// A method that has no bit is never skipped.
    fn is_method_skipped(&self, context: &Context<'_>) -> bool {
        let bit = context.message.method().ok().and_then(|method| method.bit());
        bit.is_some_and(|bit| context.shared_integer(self.skipped_methods_slot) & i64::from(bit) != 0)
    }
}

/// `L_ERR=rx`
fn level_colour(written: &[u8]) -> Result<(Level, Vec<u8>), Diagnostic> {
    let shape = || {
        Diagnostic::mistake(format!("\"{}\" is not level=colours", written.trim_ascii().escape_ascii()))
            .with_help("write such as \"L_ERR=rx\": a level, letters of foreground and background")
    };
    let at = memchr::memchr(b'=', written).ok_or_else(shape)?;
    let (name, letters) = (written[..at].trim_ascii(), written[at + 1..].trim_ascii());
    let level = std::str::from_utf8(name).ok().and_then(Level::parse).ok_or_else(shape)?;
    if letters.len() == 2 { Ok((level, letters.to_vec())) } else { Err(shape()) }
}

fn known_facility(context: &Context<'_>, argument: &Argument<'_>) -> Option<Facility> {
    match parse_facility(argument.text()) {
        Ok(facility) => Some(facility),
        Err(mistake) => {
            context.log(Level::Error, format_args!("xlog: {}", mistake.message));
            None
        }
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

fn parse_facility(name: &[u8]) -> Result<Facility, Diagnostic> {
    std::str::from_utf8(name).ok().and_then(Facility::parse).ok_or_else(|| {
        Diagnostic::mistake(format!("unknown log facility \"{}\"", name.escape_ascii()))
            .with_help("facilities are LOG_DAEMON, LOG_USER, LOG_LOCAL0 to LOG_LOCAL7, …")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{ScriptHarness, check_tables};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Xlog>()];
    const REQUEST: &str = "OPTIONS sip:bob@127.0.0.1:17060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:17070;branch=z9hG4bKa;rport\r\n\
        From: <sip:a@b.com>;tag=1\r\nTo: <sip:bob@c.com>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn logged(parameters: &str, statement: &str) -> String {
        let script = format!("loadmodule \"xlog.so\"\n{parameters}request_route {{ {statement}; }}");
        let mut stage = ScriptHarness::new(MODULES, &script);
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
            ("xlogl(\"x\")", "ERROR: <script>: 3:x"),
            ("\n  xlogl(\"L_INFO\", \"x\")", "INFO: <script>: 4:x"),
            ("xlogl(\"LOG_LOCAL3\", \"L_INFO\", \"$rm\")", "INFO: <script>: 3:OPTIONS"),
            ("xalert(\"x\")", "ALERT: <script>: x"),
            ("xbug(\"x\")", "BUG: <script>: x"),
            ("xcrit(\"x\")", "CRITICAL: <script>: x"),
            ("xerr(\"x\")", "ERROR: <script>: x"),
            ("xwarn(\"x\")", "WARNING: <script>: x"),
            ("xnotice(\"x\")", "NOTICE: <script>: x"),
            ("xinfo(\"x\")", "INFO: <script>: x"),
            ("xdbg(\"x\")", "DEBUG: <script>: x"),
            ("xdbgl(\"x\")", "DEBUG: <script>: 3:x"),
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
        let place = logged(&parameter("long_format", "1"), "xlogl(\"x\"); xinfo(\"y\")");
        assert!(place.contains("<script>: stage.cfg:4:x") && place.contains("<script>: y"), "{place}");
        let evaluated = parameter("prefix_mode", "1") + &parameter("prefix", "\"$rm $(ci{s.len})|\"");
        let log = logged(&evaluated, "xinfo(\"x\"); xlogl(\"y\")");
        assert!(log.contains("INFO: OPTIONS 2|x") && log.contains("ERROR: OPTIONS 2|5:y"), "{log}");
        let literal = logged(&parameter("prefix", "\"$rm|\""), "xinfo(\"x\")");
        assert!(literal.contains("INFO: $rm|x"), "{literal}");
        let lines = logged(&parameter("auto_newline", "1"), "xinfo(\"a\"); xinfo(\"b\\n\")");
        assert_eq!(lines.matches('\n').count(), 2, "{lines}");
    }

    #[test]
    fn xlogm_is_silent_about_the_methods_of_the_filter() {
        let filter = |bits: &str| format!("modparam(\"xlog\", \"methods_filter\", {bits})\n");
        let change = "$ccp(xlog.methods_filter) = 1; ";
        let rows = [
            ("", "", false),
            (&*filter("512"), "", false),
            (&*filter("1"), "", true),
            (&*filter("0"), "", true),
            ("", change, true),
        ];
        for (head, statement, is_written) in rows {
            let log = logged(head, &format!("{statement}xlogm(\"L_INFO\", \"a\"); xinfo(\"b\")"));
            assert_eq!(
                (log.contains("<script>: a"), log.contains("<script>: b")),
                (is_written, true),
                "{head}"
            );
        }
    }

    #[test]
    fn what_a_value_holds_is_shown_and_what_the_script_writes_is_meant() {
        let value = "$var(v) = $(hdr(X-V){s.unescape.user}); ";
        let parameter = |name: &str, value: &str| format!("modparam(\"xlog\", \"{name}\", {value})\n");
        let label = parameter("prefix_mode", "1") + &parameter("prefix", "\"$(hdr(X-V){s.unescape.user})|\"");
        let rows = [
            ("", "xlog(\"$var(v)\")", "<script>: a\\x0ab\\x1b[1mc\\x5cx0d\n"),
            ("", "xlog(\"<$var(v)>\\n\")", "<script>: <a\\x0ab\\x1b[1mc\\x5cx0d>\n"),
            ("", "xlog(\"1\\n2 $C(gx)3\")", "<script>: 1\n2 \u{1b}[0;32m3\n"),
            ("", "xlog(\"<\" + $var(v) + \">\\n\")", "<script>: <a\\x0ab\\x1b[1mc\\x5cx0d>\n"),
            ("", "$var(l) = \"x\\n\"; xlog(\"$var(l)\")", "<script>: x\n"),
            ("", "$var(l) = \"x\\n\"; xlog(\"$var(l)y\")", "<script>: x\\x0ay\n"),
            ("", "log(\"L_ERR\", \"<$var(v)>\\n\")", "<script>: <a\\x0ab\\x1b[1mc\\x5cx0d>\n"),
            (&label, "xlog(\"x\")", "ERROR: a\\x0ab\\x1b[1mc\\x5cx0d|x\n"),
        ];
        for (head, statement, expected) in rows {
            let script = format!("loadmodule \"xlog.so\"\n{head}request_route {{ {value}{statement}; }}");
            let mut stage = ScriptHarness::new(MODULES, &script);
            stage.receive(&REQUEST.replace("\r\n\r\n", "\r\nX-V: a%0ab%1b[1mc\\x0d\r\n\r\n"));
            let log = stage.log();
            assert!(log.ends_with(expected), "{statement}: {log:?}");
        }
    }

    #[test]
    fn levels_have_the_colours_the_script_gives_them() {
        type Colour = Option<(Level, &'static [u8])>;
        let rows: [(&[u8], Colour); 6] = [
            (b"L_ERR=cr", Some((Level::Error, b"cr"))),
            (b" L_WARN = px ", Some((Level::Warning, b"px"))),
            (b"L_ERR", None),
            (b"L_ERR=c", None),
            (b"L_LOUD=cr", None),
            (b"=cr", None),
        ];
        for (written, expected) in rows {
            let colour = level_colour(written).ok();
            assert_eq!(colour, expected.map(|(level, letters)| (level, letters.to_vec())));
        }
        let head = "modparam(\"xlog\", \"log_colors\", \"L_ERR=cr;L_WARN=px\")\n";
        let script = format!("loadmodule \"xlog.so\"\n{head}request_route {{ exit; }}");
        let stage = ScriptHarness::new(MODULES, &script);
        let expected = [(Level::Error, b"\x1b[0;36;41m".to_vec()), (Level::Warning, b"\x1b[0;35m".to_vec())];
        assert_eq!(stage.loaded().registry.level_colours(), expected);
    }

    #[test]
    fn mistakes_are_told() {
        let mistakes = |statement: &str| {
            ScriptHarness::mistakes(
                MODULES,
                &format!("loadmodule \"xlog.so\"\nrequest_route {{ {statement}; }}"),
            )
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
