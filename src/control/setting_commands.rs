//! The commands `cfg.…`: settings that change while the server runs, at once or together.
//!
//! ```text
//!  cfg.set_now_int ──────────────────────────────► the setting, in every process
//!  cfg.set_delayed_int ─► waiting ─► cfg.commit ─►      "
//!                            └─────► cfg.rollback: forgotten
//! ```
//!
//! What waits is kept by the process that answers; it is gone with it.

use serde_json::{Value, json};

use super::commands::Server;
use super::protocol::CommandError;

/// A setting that can change.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingRow {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What it began with; a number or text, and so is every other value of it.
    pub initial: Value,
    /// What it is now.
    pub value: Value,
}

/// A change that waits for `cfg.commit`.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingChange {
    /// Group of the setting.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it is to become.
    pub value: Value,
}

/// Most changes that wait.
const WAITING_MAX: usize = 1000;

/// Without a name every setting of the group.
pub(super) fn get(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    if let [_] = given {
        let group = word(given, 0)?;
        let rows: Vec<_> = server.settings().into_iter().filter(|row| row.group == group).collect();
        if rows.is_empty() {
            return Err(CommandError::bad_parameters(&format!("there is no group of settings \"{group}\"")));
        }
        return Ok(Value::Object(rows.into_iter().map(|row| (row.name, row.value)).collect()));
    }
    named(server, given, 2).map(|row| row.value)
}

pub(super) fn list(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let group = given.first().map(|_| word(given, 0)).transpose()?;
    let rows = server.settings().into_iter();
    let rows = rows.filter(|row| group.is_none_or(|group| row.group == group));
    Ok(rows.map(|row| Value::from(format!("{}: {}", row.group, row.name))).collect())
}

/// What it is, and of which kind.
pub(super) fn help(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let row = named(server, given, 2)?;
    let kind = if row.initial.is_number() { "integer" } else { "string" };
    Ok(json!([row.description, format!("(parameter type is {kind})")]))
}

pub(super) fn set(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let change = change(server, given)?;
    apply(server, &change)
}

pub(super) fn set_delayed(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let change = change(server, given)?;
    let mut waiting = server.waiting_changes().borrow_mut();
    if waiting.len() >= WAITING_MAX {
        return Err(CommandError::failed("too many delayed changes: commit them or roll them back"));
    }
    waiting.push(change);
    Ok(Value::Null)
}

/// A change that fails does not prevent the others; the first failure is reported.
pub(super) fn commit(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let waiting = server.waiting_changes().take();
    let faults: Vec<CommandError> = waiting.iter().filter_map(|change| apply(server, change).err()).collect();
    faults.into_iter().next().map_or(Ok(Value::Null), Err)
}

pub(super) fn rollback(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    server.waiting_changes().take();
    Ok(Value::Null)
}

/// What waits, beside what it would replace.
pub(super) fn diff(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let rows = server.settings();
    let shown = |change: &PendingChange| {
        let row = rows.iter().find(|row| (&row.group, &row.name) == (&change.group, &change.name));
        json!({"group name": change.group, "variable name": change.name,
               "old value": row.map(|row| &row.value), "new value": change.value})
    };
    Ok(server.waiting_changes().borrow().iter().map(shown).collect())
}

/// The settings of a group, or one of them, as they began.
pub(super) fn reset(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let rows = match given {
        [_] => {
            let group = word(given, 0)?;
            server.settings().into_iter().filter(|row| row.group == group).collect()
        }
        _ => vec![named(server, given, 2)?],
    };
    if rows.is_empty() {
        return Err(CommandError::bad_parameters("there is no group of settings of this name"));
    }
    for SettingRow { group, name, initial, .. } in rows {
        apply(server, &PendingChange { group, name, value: initial })?;
    }
    Ok(Value::Null)
}

fn apply(server: &dyn Server, change: &PendingChange) -> Result<Value, CommandError> {
    let changed = server.change_setting(&change.group, &change.name, &change.value);
    changed.map(|()| Value::Null).map_err(|reason| CommandError::bad_parameters(&reason))
}

/// The change that group, name and value describe. A number for text, or text that is a number, becomes the kind of
/// the setting.
fn change(server: &dyn Server, given: &[Value]) -> Result<PendingChange, CommandError> {
    let row = named(server, given, 3)?;
    let wrong = || {
        let (group, name) = (&row.group, &row.name);
        let kind = if row.initial.is_number() { "an integer" } else { "text" };
        CommandError::bad_parameters(&format!("{group}.{name} takes {kind}"))
    };
    let value = match (&given[2], row.initial.is_number()) {
        (Value::Number(number), true) if number.is_i64() => given[2].clone(),
        (Value::String(text), true) => text.trim().parse::<i64>().map_err(|_| wrong())?.into(),
        (Value::Number(number), false) => number.to_string().into(),
        (Value::String(_), false) => given[2].clone(),
        _ => return Err(wrong()),
    };
    Ok(PendingChange { group: row.group, name: row.name, value })
}

/// The setting named by the first two of `count` arguments.
fn named(server: &dyn Server, given: &[Value], count: usize) -> Result<SettingRow, CommandError> {
    if given.len() != count {
        let value = if count == 3 { " and a value" } else { "" };
        return Err(CommandError::bad_parameters(&format!(
            "the group and the name of a setting{value} are needed"
        )));
    }
    let (group, name) = (word(given, 0)?, word(given, 1)?);
    let found = server.settings().into_iter().find(|row| row.group == group && row.name == name);
    found.ok_or_else(|| {
        CommandError::bad_parameters(&format!("no runtime setting {group}.{name}; cfg.list shows all"))
    })
}

fn word(given: &[Value], index: usize) -> Result<&str, CommandError> {
    given
        .get(index)
        .and_then(Value::as_str)
        .ok_or_else(|| CommandError::bad_parameters("the name of a group of settings is needed"))
}

#[cfg(test)]
mod tests {
    use super::super::commands::tests::{Still, ask_of};
    use super::*;

    /// One server, asked one thing after the other.
    fn check(rows: &[(&str, Value, Result<Value, i64>)]) {
        let server = Still::default();
        for (method, parameters, expected) in rows {
            let answer = ask_of(&server, method, parameters.clone()).map_err(|fault| fault.code);
            assert_eq!(&answer, expected, "{method} {parameters}");
        }
    }

    #[test]
    fn settings_are_listed_read_and_changed_at_once() {
        check(&[
            ("cfg.list", json!([]), Ok(json!(["core: debug", "my: limit", "my: note"]))),
            ("cfg.list", json!(["my"]), Ok(json!(["my: limit", "my: note"]))),
            ("cfg.get", json!(["my"]), Ok(json!({"limit": 5, "note": "few"}))),
            ("cfg.help", json!(["my", "note"]), Ok(json!(["what is noted", "(parameter type is string)"]))),
            ("cfg.set_now_int", json!(["my", "limit", 7]), Ok(Value::Null)),
            ("cfg.get", json!(["my", "limit"]), Ok(json!(7))),
            ("cfg.set_now_string", json!(["my", "limit", "8"]), Ok(Value::Null)),
            ("cfg.get", json!(["my", "limit"]), Ok(json!(8))),
            ("cfg.seti", json!(["my", "note", 9]), Ok(Value::Null)),
            ("cfg.get", json!(["my", "note"]), Ok(json!("9"))),
            ("cfg.reset", json!(["my", "note"]), Ok(Value::Null)),
            ("cfg.get", json!(["my"]), Ok(json!({"limit": 8, "note": "few"}))),
            ("cfg.reset", json!(["my"]), Ok(Value::Null)),
            ("cfg.get", json!(["my"]), Ok(json!({"limit": 5, "note": "few"}))),
        ]);
    }

    #[test]
    fn changes_wait_until_they_are_committed_or_forgotten() {
        let difference = |new: i64| {
            Ok(json!([{"group name": "my", "variable name": "limit", "old value": 5, "new value": new}]))
        };
        check(&[
            ("cfg.set_delayed_int", json!(["my", "limit", 7]), Ok(Value::Null)),
            ("cfg.get", json!(["my", "limit"]), Ok(json!(5))),
            ("cfg.diff", json!([]), difference(7)),
            ("cfg.rollback", json!([]), Ok(Value::Null)),
            ("cfg.diff", json!([]), Ok(json!([]))),
            ("cfg.commit", json!([]), Ok(Value::Null)),
            ("cfg.get", json!(["my", "limit"]), Ok(json!(5))),
            ("cfg.set_delayed_int", json!(["my", "limit", 8]), Ok(Value::Null)),
            ("cfg.set_delayed_string", json!(["my", "note", "many"]), Ok(Value::Null)),
            ("cfg.commit", json!([]), Ok(Value::Null)),
            ("cfg.get", json!(["my"]), Ok(json!({"limit": 8, "note": "many"}))),
            ("cfg.set_delayed_int", json!(["core", "debug", 10]), Ok(Value::Null)),
            ("cfg.set_delayed_int", json!(["my", "limit", 9]), Ok(Value::Null)),
            ("cfg.commit", json!([]), Err(-32602)),
            ("cfg.get", json!(["my", "limit"]), Ok(json!(9))),
        ]);
    }

    #[test]
    fn what_is_no_setting_or_does_not_fit_is_refused() {
        check(&[
            ("cfg.get", json!(["none"]), Err(-32602)),
            ("cfg.get", json!([]), Err(-32602)),
            ("cfg.get", json!(["my", "none"]), Err(-32602)),
            ("cfg.get", json!(["my", 5]), Err(-32602)),
            ("cfg.set_now_int", json!(["my", "limit"]), Err(-32602)),
            ("cfg.set_now_int", json!(["my", "limit", "x"]), Err(-32602)),
            ("cfg.set_now_int", json!(["my", "limit", 1.5]), Err(-32602)),
            ("cfg.set_now_string", json!(["my", "note", null]), Err(-32602)),
            ("cfg.set_delayed_int", json!(["my", "limit", "x"]), Err(-32602)),
            ("cfg.diff", json!([]), Ok(json!([]))),
            ("cfg.reset", json!(["none"]), Err(-32602)),
            ("cfg.help", json!(["my"]), Err(-32602)),
            ("cfg.get", json!(["my"]), Ok(json!({"limit": 5, "note": "few"}))),
        ]);
    }
}
