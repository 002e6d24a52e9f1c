//! What the value of a global parameter is taken for, and what is said about one that does not fit.

use crate::script::catalog::Constant;
use crate::script::diagnostic::Diagnostic;
use crate::script::suggest::{listed, suggestion};
use crate::telemetry::log::{Engine, Facility, Level};

/// What is near a name, and which there are.
fn near_or_all(word: &str, names: &[&str], what: &str) -> String {
    let all = format!("{what} are {}", listed(names.iter().copied()));
    match suggestion(word, names.iter().copied()) {
        Some(near) => format!("{near} {all}"),
        None => all,
    }
}

/// The value as it was written, for a message.
pub fn shown(value: &Constant) -> String {
    match value {
        Constant::Number(number) => number.to_string(),
        Constant::Text(bytes) => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        Constant::Word(word) => word.clone(),
        Constant::Socket(socket) => socket.bind.clone(),
        Constant::List(_) => "a list".to_string(),
        Constant::Fields(_) => "a block".to_string(),
    }
}

/// Yes or no.
pub fn flag(value: &Constant) -> Result<bool, Diagnostic> {
    match value {
        Constant::Number(number) => Ok(*number != 0),
        Constant::Text(bytes) if matches!(bytes.as_slice(), b"yes" | b"on" | b"true" | b"enable" | b"1") => {
            Ok(true)
        }
        Constant::Text(bytes)
            if matches!(bytes.as_slice(), b"no" | b"off" | b"false" | b"disable" | b"0") =>
        {
            Ok(false)
        }
        other => Err(Diagnostic::mistake(format!("takes yes or no, not {}", shown(other)))
            .with_help("write yes, on, true, enable or 1, or their opposites no, off, false, disable, 0")),
    }
}

/// A number in bounds.
pub fn number(value: &Constant, least: u32, most: u32) -> Result<u32, Diagnostic> {
    let wrong = || format!("takes a number from {least} to {most}, not {}", shown(value));
    match value {
        Constant::Number(number) => match u32::try_from(*number) {
            Ok(fits) if (least..=most).contains(&fits) => Ok(fits),
            _ => Err(wrong().into()),
        },
        Constant::Text(bytes) if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) => {
            Err(Diagnostic::mistake(wrong()).with_help("write the number without quotes"))
        }
        _ => Err(wrong().into()),
    }
}

/// A port.
pub fn port(value: &Constant) -> Result<u16, Diagnostic> {
    number(value, 1, 65_535).map(|port| port as u16)
}

/// Text or a word; a number counts as its text.
pub fn text(value: &Constant) -> Result<String, Diagnostic> {
    match value {
        Constant::Text(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Constant::Word(word) => Ok(word.clone()),
        Constant::Number(number) => Ok(number.to_string()),
        other => Err(format!("takes text, not {}", shown(other)).into()),
    }
}

/// A level of lines: a number or its name.
pub fn level(value: &Constant) -> Result<Level, Diagnostic> {
    let word = match value {
        Constant::Number(number) => return Ok(Level::from_number(*number)),
        Constant::Word(name) => match Level::parse(name) {
            Some(level) => return Ok(level),
            None => name.as_str(),
        },
        _ => "",
    };
    let near = suggestion(word, LEVELS.iter().copied()).map_or(String::new(), |near| format!("{near} "));
    Err(Diagnostic::mistake(format!("takes a level from -5 to 3, not {}", shown(value))).with_help(format!(
        "{near}levels are -5 L_ALERT, -4 L_BUG, -2 L_CRIT, -1 L_ERR, 0 L_WARN, 1 L_NOTICE, 2 L_INFO, 3 L_DBG"
    )))
}

const LEVELS: &[&str] = &[
    "L_ALERT", "L_BUG", "L_CRIT", "L_ERR", "L_WARN", "L_NOTICE", "L_INFO", "L_DBG", "alert", "bug",
    "critical", "error", "warning", "notice", "info", "debug",
];

/// A type of service: a number or one of its names.
pub fn type_of_service(value: &Constant) -> Result<u8, Diagnostic> {
    let Constant::Word(word) = value else { return number(value, 0, 255).map(|number| number as u8) };
    let row = TYPES_OF_SERVICE.iter().find(|(name, _)| name == word);
    row.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<&str> = TYPES_OF_SERVICE.iter().map(|(name, _)| *name).collect();
        Diagnostic::mistake(format!("takes a number from 0 to 255 or its name, not {word}"))
            .with_help(near_or_all(word, &names, "names"))
    })
}

/// The names of RFC 1349, as the C library spells them.
const TYPES_OF_SERVICE: &[(&str, u8)] = &[
    ("IPTOS_LOWDELAY", 0x10),
    ("IPTOS_THROUGHPUT", 0x08),
    ("IPTOS_RELIABILITY", 0x04),
    ("IPTOS_MINCOST", 0x02),
];

/// A facility of syslog.
pub fn facility(value: &Constant) -> Result<Facility, Diagnostic> {
    let name = text(value)?;
    Facility::parse(&name).ok_or_else(|| {
        let names: Vec<String> = Facility::names().map(|name| format!("LOG_{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Diagnostic::mistake(format!("unknown facility \"{name}\"")).with_help(near_or_all(
            &name,
            &names,
            "facilities",
        ))
    })
}

/// What lines of the log become.
pub fn engine(value: &Constant) -> Result<Engine, Diagnostic> {
    let name = text(value)?;
    Engine::parse(&name).map_err(|_| {
        let names: Vec<&str> = Engine::names().collect();
        Diagnostic::mistake(format!("unknown log engine \"{name}\""))
            .with_help(near_or_all(&name, &names, "engines"))
    })
}

/// A whole header, name and all; or nothing.
pub fn header(value: &Constant) -> Result<Vec<u8>, Diagnostic> {
    let example = "write all of it: \"Server: name\"";
    let Constant::Text(bytes) = value else {
        return Err(Diagnostic::mistake(format!("takes text, not {}", shown(value))).with_help(example));
    };
    if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err("a header is one line".into());
    }
    if !bytes.is_empty() && !bytes.contains(&b':') {
        return Err(Diagnostic::mistake("takes a whole header, with its name").with_help(example));
    }
    Ok(bytes.clone())
}

/// Text as a script writes it.
pub fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Constant {
        Constant::Word(text.to_string())
    }

    fn quoted(text: &str) -> Constant {
        Constant::Text(text.as_bytes().to_vec())
    }

    #[track_caller]
    fn check<T: std::fmt::Debug>(read: Result<T, Diagnostic>, reason: &str, help: &str) {
        let unfit = read.expect_err(reason);
        assert_eq!(unfit.message, reason);
        let said = unfit.help.unwrap_or_default();
        assert!(said.contains(help) && (!help.is_empty() || said.is_empty()), "{reason}: {said}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        check(flag(&word("perhaps")), "takes yes or no, not perhaps", "on, true");
        check(number(&Constant::Number(0), 1, 9), "takes a number from 1 to 9, not 0", "");
        check(number(&quoted("4"), 1, 9), "takes a number from 1 to 9, not \"4\"", "without quotes");
        check(number(&word("many"), 1, 9), "takes a number from 1 to 9, not many", "");
        check(port(&Constant::Number(70_000)), "takes a number from 1 to 65535, not 70000", "");
        check(text(&Constant::List(vec![])), "takes text, not a list", "");
        check(level(&word("high")), "takes a level from -5 to 3, not high", "levels are -5 L_ALERT");
        check(
            level(&word("L_INF")),
            "takes a level from -5 to 3, not L_INF",
            "did you mean \"L_INFO\"? levels",
        );
        check(level(&quoted("2")), "takes a level from -5 to 3, not \"2\"", "levels are");
        check(facility(&word("LOG_LOCAL9")), "unknown facility \"LOG_LOCAL9\"", "did you mean \"LOG_LOCAL");
        check(facility(&word("NOWHERE")), "unknown facility \"NOWHERE\"", "facilities are \"LOG_KERN\"");
        check(engine(&quoted("jsn")), "unknown log engine \"jsn\"", "did you mean \"json\"? engines are");
        check(
            type_of_service(&word("IPTOS_LOWDELY")),
            "takes a number from 0 to 255 or its name, not IPTOS_LOWDELY",
            "\"IPTOS_LOWDELAY\"? names",
        );
        check(type_of_service(&Constant::Number(256)), "takes a number from 0 to 255, not 256", "");
        check(header(&Constant::Number(1)), "takes text, not 1", "\"Server: name\"");
    }

    #[test]
    fn what_fits_is_taken() {
        assert_eq!(flag(&quoted("on")), Ok(true));
        assert_eq!(flag(&Constant::Number(0)), Ok(false));
        assert_eq!(number(&Constant::Number(9), 1, 9), Ok(9));
        assert_eq!(level(&word("info")), Ok(Level::Info));
        assert_eq!(facility(&word("local7")).map(Facility::number), Ok(23));
        assert_eq!(engine(&quoted("json")), Ok(Engine::Json));
        assert_eq!(type_of_service(&word("IPTOS_LOWDELAY")), Ok(16));
        assert_eq!(type_of_service(&Constant::Number(184)), Ok(184));
    }

    #[test]
    fn headers_are_whole_lines() {
        let rows = [("Server: x", true), ("", true), ("Server", false), ("Server: x\r\nEvil: y", false)];
        for (written, is_taken) in rows {
            assert_eq!(header(&quoted(written)).is_ok(), is_taken, "{written}");
        }
    }
}
