//! JSON-RPC 2.0, one object per line.
//!
//! ```text
//!  {"jsonrpc":"2.0","method":"core.echo","params":["hello"],"id":1}
//!  {"jsonrpc":"2.0","result":["hello"],"id":1}
//!  {"jsonrpc":"2.0","error":{"code":-32601,"message":"…"},"id":1}
//! ```

use serde_json::{Map, Value, json};

pub use crate::bindings::command::CommandError;

/// A request as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What to answer with; nothing when no answer is wanted.
    pub id: Option<Value>,
    /// Name of the command.
    pub method: String,
    /// Its arguments, in order. Arguments by name are not used by any command.
    pub parameters: Vec<Value>,
}

impl CommandError {
    /// The line is no JSON.
    pub fn unreadable(reason: &str) -> CommandError {
        CommandError { code: -32700, message: format!("could not read the request: {reason}") }
    }

    /// The line is JSON and no request.
    pub fn no_request(reason: &str) -> CommandError {
        CommandError { code: -32600, message: format!("invalid request: {reason}") }
    }

    /// There is no such command. The first words are those that operators' tools look for.
    pub fn unknown_method(method: &str, near: Option<&str>) -> CommandError {
        let hint = near.map_or(String::new(), |near| format!("did you mean \"{near}\"? "));
        let message = format!("Method Not Found: \"{method}\"; {hint}system.listMethods shows all");
        CommandError { code: -32601, message }
    }
}

/// Reads one line. A fault comes with the id to answer it by.
pub fn read_request(line: &[u8]) -> Result<Request, (Value, CommandError)> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| (Value::Null, CommandError::unreadable(&error.to_string())))?;
    let Value::Object(mut object) = value else {
        return Err((Value::Null, CommandError::no_request("an object is needed")));
    };
    let id = take_id(&mut object)?;
    let answer_to = id.clone().unwrap_or(Value::Null);
    let refuse = |reason: &str| (answer_to.clone(), CommandError::no_request(reason));
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(refuse("\"jsonrpc\":\"2.0\" is missing"));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(refuse("\"method\" is missing"));
    };
    match object.remove("params") {
        None | Some(Value::Null) => Ok(Request { id, method, parameters: Vec::new() }),
        Some(Value::Array(parameters)) => Ok(Request { id, method, parameters }),
        Some(_) => Err(refuse("\"params\" must be a list")),
    }
}

fn take_id(object: &mut Map<String, Value>) -> Result<Option<Value>, (Value, CommandError)> {
    match object.remove("id") {
        Some(id @ (Value::String(_) | Value::Number(_) | Value::Null)) => Ok(Some(id)),
        Some(_) => Err((Value::Null, CommandError::no_request("\"id\" must be text or a number"))),
        None => Ok(None),
    }
}

/// The line that asks for a command.
pub fn write_request(method: &str, parameters: &[Value]) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}))
}

/// The line that answers.
pub fn write_answer(id: &Value, answer: &Result<Value, CommandError>) -> Vec<u8> {
    line(&match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": id}),
        Err(fault) => {
            json!({"jsonrpc": "2.0", "error": {"code": fault.code, "message": fault.message}, "id": id})
        }
    })
}

/// Reads the line that answers.
pub fn read_answer(line: &[u8]) -> Result<Value, CommandError> {
    let mut value: Value =
        serde_json::from_slice(line).map_err(|error| CommandError::unreadable(&error.to_string()))?;
    if let Some(error) = value.get("error") {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Err(CommandError { code, message });
    }
    match value.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(CommandError::unreadable("it holds neither a result nor an error")),
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let request =
            |id: Option<Value>, parameters: Vec<Value>| Request { id, method: "m".to_owned(), parameters };
        let rows = [
            (r#"{"jsonrpc":"2.0","method":"m","id":1}"#, request(Some(json!(1)), vec![])),
            (r#"{"jsonrpc":"2.0","method":"m","id":null,"params":null}"#, request(Some(Value::Null), vec![])),
            (
                r#" {"jsonrpc":"2.0","method":"m","params":[1,"a"]} "#,
                request(None, vec![json!(1), json!("a")]),
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(read_request(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_the_code_of_the_standard_and_the_id_if_it_is_known() {
        let rows = [
            ("", -32700, json!(null)),
            ("{", -32700, json!(null)),
            ("\u{0}", -32700, json!(null)),
            ("[]", -32600, json!(null)),
            ("7", -32600, json!(null)),
            ("{}", -32600, json!(null)),
            (r#"{"jsonrpc":"1.0","method":"m","id":3}"#, -32600, json!(3)),
            (r#"{"jsonrpc":"2.0","id":3}"#, -32600, json!(3)),
            (r#"{"jsonrpc":"2.0","method":5,"id":3}"#, -32600, json!(3)),
            (r#"{"jsonrpc":"2.0","method":"m","id":[]}"#, -32600, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":"x"}"#, -32600, json!("x")),
        ];
        for (line, code, id) in rows {
            let (answer_to, fault) = read_request(line.as_bytes()).unwrap_err();
            assert_eq!((fault.code, answer_to), (code, id), "{line}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let line = [vec![b'['; 60_000], vec![b']'; 60_000]].concat();
        assert_eq!(read_request(&line).unwrap_err().1.code, -32700);
    }

    #[test]
    fn answers_come_back_as_they_were_given() {
        for answer in
            [Ok(json!({"a": [1, "x\n"]})), Ok(Value::Null), Err(CommandError::unknown_method("x", Some("y")))]
        {
            let line = write_answer(&json!(1), &answer);
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(read_answer(&line), answer);
        }
        assert!(read_answer(b"{}").is_err());
    }
}
