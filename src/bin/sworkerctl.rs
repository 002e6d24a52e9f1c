//! `sworkerctl`: runs a command on a running server.
//!
//! ```text
//!  sworkerctl [-s SOCKET | -Y RUNDIR] [-j | -r] COMMAND [ARGUMENT…]
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use sworker::control::client;

const HELP: &str = "\
usage: sworkerctl [options] COMMAND [ARGUMENT...]

  -s SOCKET     control socket of the server
  -Y DIRECTORY  run directory of the server, which holds its socket; default:
                /run/sworker for root, for others $XDG_RUNTIME_DIR/sworker or
                sworker-UID in the directory for temporary files
  -j            print the result as one line of JSON instead of many
  -r            print text bare, without the quotes of JSON
  -t SECONDS    time to wait for the answer (default 5)
  -h            print this and exit

Arguments that look like numbers are numbers; s:5 is text, i:5 a number.
Commands: sworkerctl help; what one does: sworkerctl help COMMAND
";

struct Order {
    socket: PathBuf,
    method: String,
    parameters: Vec<Value>,
    form: Form,
    patience: Duration,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    ManyLines,
    OneLine,
    BareText,
}

fn main() -> ExitCode {
    let order = match parse(std::env::args_os().skip(1)) {
        Ok(Some(order)) => order,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprint!("sworkerctl: {reason}\n{HELP}");
            return ExitCode::from(255);
        }
    };
    match client::call(&order.socket, &order.method, &order.parameters, order.patience) {
        Ok(result) => {
            println!("{}", shown(&result, order.form));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sworkerctl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Order>, String> {
    let (mut socket, mut form, mut patience) = (None, Form::ManyLines, Duration::from_secs(5));
    let mut command = Vec::new();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(None),
            lexopt::Arg::Short('s') => socket = Some(PathBuf::from(value(&mut parser)?)),
            lexopt::Arg::Short('Y') => socket = Some(client::socket_in(&PathBuf::from(value(&mut parser)?))),
            lexopt::Arg::Short('j') => form = Form::OneLine,
            lexopt::Arg::Short('r') => form = Form::BareText,
            lexopt::Arg::Short('t') => patience = seconds(&value(&mut parser)?)?,
            lexopt::Arg::Value(word) => {
                // From the command's name on nothing is an option any more: arguments may begin with a dash.
                command.push(word);
                command.extend(parser.raw_args().map_err(|error| error.to_string())?);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let mut words = command.into_iter().map(|word| word.to_string_lossy().into_owned());
    let method = words.next().ok_or("a command is needed")?;
    let parameters: Vec<Value> = words.map(|word| client::argument(&word)).collect();
    Ok(Some(Order {
        socket: socket.unwrap_or_else(client::default_socket),
        method: method_called(&method, parameters.len()).to_owned(),
        parameters,
        form,
        patience,
    }))
}

/// `help` is a word of the terminal, not of the server.
fn method_called(word: &str, argument_count: usize) -> &str {
    match (word, argument_count) {
        ("help", 0) => "system.listMethods",
        ("help", _) => "system.methodHelp",
        _ => word,
    }
}

fn value(parser: &mut lexopt::Parser) -> Result<OsString, String> {
    parser.value().map_err(|error| error.to_string())
}

fn seconds(text: &OsString) -> Result<Duration, String> {
    let seconds = text.to_string_lossy().parse::<f64>().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "-t needs a number of seconds".to_owned())
}

fn shown(result: &Value, form: Form) -> String {
    match (result, form) {
        (Value::String(text), Form::BareText) => text.clone(),
        (other, Form::OneLine) => other.to_string(),
        // Done, and there is nothing to tell.
        (Value::Null, _) => "ok".to_owned(),
        (other, _) => format!("{other:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(words: &str) -> Result<Option<Order>, String> {
        parse(words.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_begins_where_options_end() {
        let order = order("-s /a/s -j -t 0.5 stats.fetch -x 7 s:7").unwrap().unwrap();
        assert_eq!((order.socket, order.method.as_str()), (PathBuf::from("/a/s"), "stats.fetch"));
        assert_eq!(order.parameters, [json!("-x"), json!(7), json!("7")]);
        assert!(order.form == Form::OneLine && order.patience == Duration::from_millis(500));
    }

    #[test]
    fn help_asks_the_server() {
        let rows = [
            ("help", "system.listMethods", 0),
            ("help core.ps", "system.methodHelp", 1),
            ("core.echo help", "core.echo", 1),
        ];
        for (words, method, count) in rows {
            let order = order(words).unwrap().unwrap();
            assert_eq!((order.method.as_str(), order.parameters.len()), (method, count), "{words}");
        }
    }

    #[test]
    fn a_run_directory_names_its_socket() {
        assert_eq!(order("-Y run core.ps").unwrap().unwrap().socket, PathBuf::from("run/sworker.sock"));
    }

    #[test]
    fn mistakes_are_told() {
        for words in ["", "-j", "-s", "-z core.ps", "-t soon core.ps", "-t -1 core.ps"] {
            assert!(order(words).is_err(), "{words}");
        }
        assert!(order("-h").unwrap().is_none());
    }

    #[test]
    fn results_are_printed_in_three_forms() {
        let rows = [
            (json!("a"), Form::ManyLines, "\"a\""),
            (json!("a"), Form::OneLine, "\"a\""),
            (json!("a"), Form::BareText, "a"),
            (json!([1]), Form::ManyLines, "[\n  1\n]"),
            (json!([1]), Form::OneLine, "[1]"),
            (json!([1]), Form::BareText, "[\n  1\n]"),
            (json!(null), Form::ManyLines, "ok"),
            (json!(null), Form::OneLine, "null"),
            (json!(null), Form::BareText, "ok"),
        ];
        for (result, form, text) in rows {
            assert_eq!(shown(&result, form), text);
        }
    }
}
