//! The commands `stats.…` and `cnt.…`: counters by name, by room, and begun again.
//!
//! A counter is `room.thing_past`; for `cnt.…` the room is its group.

use serde_json::Value;

use super::commands::Server;
use super::protocol::CommandError;

pub(super) fn fetch(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let rows = chosen(server, given)?.into_iter().map(|(name, value)| (name, Value::from(value)));
    Ok(Value::Object(rows.collect()))
}

pub(super) fn get_statistics(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let line = |(name, value): (String, u64)| match name.split_once('.') {
        Some((room, rest)) => format!("{room}:{rest} = {value}"),
        None => format!("{name} = {value}"),
    };
    Ok(chosen(server, given)?.into_iter().map(line).collect())
}

/// Begins the counters that the arguments name at 0; without arguments there is nothing to begin again.
pub(super) fn reset(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    if given.is_empty() {
        return Err(CommandError::bad_parameters("names of counters, rooms or \"all\" are needed"));
    }
    for (name, _) in chosen(server, given)? {
        server.reset_counter(&name);
    }
    Ok(Value::Null)
}

/// The counters that the arguments name; all of them without arguments.
fn chosen(server: &dyn Server, given: &[Value]) -> Result<Vec<(String, u64)>, CommandError> {
    let mut rows = server.counters();
    let mut wanted = Vec::new();
    for argument in given {
        let text =
            argument.as_str().ok_or_else(|| CommandError::bad_parameters("names of counters are needed"))?;
        let wish = text.replace(':', ".");
        if wish != "all" && !rows.iter().any(|(name, _)| is_wanted(name, &wish)) {
            return Err(CommandError::bad_parameters(&format!("there is no counter \"{text}\"")));
        }
        wanted.push(wish);
    }
    rows.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|wish| is_wanted(name, wish)));
    Ok(rows)
}

fn is_wanted(name: &str, wish: &str) -> bool {
    wish == "all" || name == wish || (wish.ends_with('.') && name.starts_with(wish))
}

pub(super) fn groups(server: &dyn Server, _: &[Value]) -> Result<Value, CommandError> {
    let mut groups: Vec<String> =
        server.counters().iter().filter_map(|(name, _)| Some(name.split_once('.')?.0.to_owned())).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups.into())
}

pub(super) fn names(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    Ok(of_group(server, given)?.into_iter().map(|(name, _)| name).collect())
}

pub(super) fn of_group_all(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let rows = of_group(server, given)?.into_iter().map(|(name, value)| (name, Value::from(value)));
    Ok(Value::Object(rows.collect()))
}

pub(super) fn get(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    named(server, given).map(|(_, value)| value.into())
}

pub(super) fn help(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let (name, _) = named(server, given)?;
    Ok(server.counter_help(&name).unwrap_or_default().into())
}

pub(super) fn reset_one(server: &dyn Server, given: &[Value]) -> Result<Value, CommandError> {
    let (name, _) = named(server, given)?;
    server.reset_counter(&name);
    Ok(Value::Null)
}

/// The counters of a group, by their names in it.
fn of_group(server: &dyn Server, given: &[Value]) -> Result<Vec<(String, u64)>, CommandError> {
    let Some(group) = given.first().and_then(Value::as_str) else {
        return Err(CommandError::bad_parameters("the name of a group of counters is needed"));
    };
    let in_group = |(name, value): (String, u64)| {
        let (room, rest) = name.split_once('.')?;
        (room == group).then(|| (rest.to_owned(), value))
    };
    let rows: Vec<_> = server.counters().into_iter().filter_map(in_group).collect();
    if rows.is_empty() {
        return Err(CommandError::bad_parameters(&format!("there is no group of counters \"{group}\"")));
    }
    Ok(rows)
}

/// The counter that group and name tell.
fn named(server: &dyn Server, given: &[Value]) -> Result<(String, u64), CommandError> {
    let words: Vec<&str> = given.iter().filter_map(Value::as_str).collect();
    let [group, name] = words.as_slice() else {
        return Err(CommandError::bad_parameters("the group and the name of a counter are needed"));
    };
    let wanted = format!("{group}.{name}");
    let found = server.counters().into_iter().find(|(name, _)| *name == wanted);
    found.ok_or_else(|| CommandError::bad_parameters(&format!("there is no counter {wanted}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::commands::tests::{Still, ask_of};
    use super::*;

    #[test]
    fn counters_are_found_by_group_and_name() {
        let rows = [
            ("cnt.grps_list", json!([]), Ok(json!(["core", "sworker"]))),
            ("cnt.var_list", json!(["sworker"]), Ok(json!(["delegated", "full"]))),
            ("cnt.grp_get_all", json!(["sworker"]), Ok(json!({"delegated": 5, "full": 0}))),
            ("cnt.get", json!(["sworker", "delegated"]), Ok(json!(5))),
            ("cnt.get_raw", json!(["sworker", "delegated"]), Ok(json!(5))),
            ("cnt.help", json!(["sworker", "delegated"]), Ok(json!("help for sworker.delegated"))),
            ("stats.fetchn", json!(["sworker:"]), Ok(json!({"sworker.delegated": 5, "sworker.full": 0}))),
            ("cnt.get", json!(["sworker", "none"]), Err(-32602)),
            ("cnt.get", json!(["sworker"]), Err(-32602)),
            ("cnt.var_list", json!(["none"]), Err(-32602)),
            ("cnt.grp_get_all", json!([]), Err(-32602)),
            ("cnt.reset", json!(["sworker", "none"]), Err(-32602)),
            ("stats.reset_statistics", json!([]), Err(-32602)),
            ("stats.reset_statistics", json!(["none."]), Err(-32602)),
        ];
        for (method, parameters, expected) in rows {
            let answer = ask_of(&Still::default(), method, parameters.clone()).map_err(|fault| fault.code);
            assert_eq!(answer, expected, "{method} {parameters}");
        }
    }

    #[test]
    fn counters_begin_anew() {
        let rows = [
            ("cnt.reset", json!(["sworker", "delegated"]), "sworker.delegated"),
            ("stats.reset_statistics", json!(["sworker:"]), "sworker.delegated sworker.full"),
            ("stats.clear_statistics", json!(["core.messages_received"]), "core.messages_received"),
        ];
        for (method, parameters, expected) in rows {
            let server = Still::default();
            assert_eq!(ask_of(&server, method, parameters), Ok(Value::Null), "{method}");
            assert_eq!(server.begun_anew.borrow().join(" "), expected, "{method}");
        }
    }
}
