//! Functions on structured values: taken apart, put together, copied, removed, shown.

use crate::bindings::functions::outcome;
use crate::bindings::module::{Argument, Outcome, ValueRef};
use crate::routing::context::Context;
use crate::routing::xavps::{Content, Entries, Entry, Step, Which, XavpError, XavpStore, steps};
use crate::sip::params::Params;
use crate::state::value::Value;
use crate::telemetry::log::Level;

use super::Pv;

/// Which store a function works on.
pub(super) type Choose = for<'c> fn(&'c mut Context<'_>) -> &'c mut XavpStore;

pub(super) fn xavp<'c>(context: &'c mut Context<'_>) -> &'c mut XavpStore {
    &mut context.process.xavps
}

pub(super) fn xavu<'c>(context: &'c mut Context<'_>) -> &'c mut XavpStore {
    &mut context.process.xavus
}

pub(super) fn xavi<'c>(context: &'c mut Context<'_>) -> &'c mut XavpStore {
    &mut context.process.xavis
}

/// Writes every entry of a store as a line each.
pub(super) fn print(context: &mut Context<'_>, choose: Choose, name: &str) -> Outcome {
    let mut lines = Vec::new();
    describe(choose(context).roots(), 0, &mut lines);
    context.log(Level::Info, format_args!("{name}: {} entries", lines.len()));
    for line in lines {
        context.log(Level::Info, format_args!("{name}: {line}"));
    }
    Outcome::TRUE
}

/// Newest first, fields indented below their entry.
fn describe(entries: &[Entry], depth: usize, lines: &mut Vec<String>) {
    for entry in entries.iter().rev() {
        let (indent, name) = ("  ".repeat(depth), entry.name.escape_ascii());
        match &entry.content {
            Content::Plain(Value::Null) => lines.push(format!("{indent}{name}")),
            Content::Plain(Value::Integer(number)) => lines.push(format!("{indent}{name} = {number}")),
            Content::Plain(Value::Text(text)) => {
                lines.push(format!("{indent}{name} = \"{}\"", text.escape_ascii()));
            }
            Content::Fields(fields) => {
                lines.push(format!("{indent}{name}:"));
                describe(fields, depth + 1, lines);
            }
        }
    }
}

/// `name=value;name` becomes an entry with a field each, the first one on top.
pub(super) fn explode_params(
    context: &mut Context<'_>,
    choose: Choose,
    name: &str,
    arguments: &[Argument<'_>],
) -> Outcome {
    let (written, root) = (arguments[0].text(), arguments[1].text());
    let led = [b";", written].concat();
    let mut fields: Entries = Params::new(&led)
        .iter()
        .map(|param| text_entry(param.name, param.text().unwrap_or_default()))
        .collect();
    if fields.is_empty() {
        return outcome(context, name, Err("there is no parameter in this text"));
    }
    fields.reverse();
    put_root(context, choose, name, root, Content::Fields(fields))
}

fn text_entry(name: &[u8], text: &[u8]) -> Entry {
    Entry { name: name.to_vec(), content: Content::Plain(Value::Text(text.to_vec())) }
}

fn put_root(context: &mut Context<'_>, choose: Choose, name: &str, root: &[u8], content: Content) -> Outcome {
    let put = steps(root).and_then(|steps| choose(context).put(&steps, content));
    outcome(context, name, put)
}

/// The fields of the newest entry as `name=value;` one after the other, into a variable.
pub(super) fn implode_params(
    context: &mut Context<'_>,
    choose: Choose,
    name: &str,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Argument::Place(place) = arguments[1] else { return Outcome::FALSE };
    let mut text = Vec::new();
    match fields_of(choose(context), arguments[0].text()) {
        Ok(fields) => {
            for field in fields.iter().rev() {
                append_param(field, &mut text);
            }
        }
        Err(error) => return outcome(context, name, Err(error)),
    }
    let written = context.write(place, ValueRef::Text(&text));
    outcome(context, name, written.map_err(|refusal| refusal.0))
}

fn append_param(field: &Entry, text: &mut Vec<u8>) {
    let Content::Plain(value) = &field.content else { return };
    text.extend_from_slice(&field.name);
    match value {
        Value::Integer(number) => text.extend_from_slice(format!("={number}").as_bytes()),
        Value::Text(bytes) if !bytes.is_empty() => {
            text.push(b'=');
            text.extend_from_slice(bytes);
        }
        Value::Null | Value::Text(_) => {}
    }
    text.push(b';');
}

fn fields_of<'s>(store: &'s mut XavpStore, root: &[u8]) -> Result<&'s mut Entries, XavpError> {
    match steps(root)?.as_slice() {
        [step] => store.fields_mut(step).ok_or(XavpError::NotThere),
        _ => Err(XavpError::Path),
    }
}

/// Elements of a list become the fields `v` of a new entry; mode `t` takes the blanks around them away.
pub(super) fn explode_list(_: &Pv, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let [list, separator, mode, root] = [0, 1, 2, 3].map(|index: usize| arguments[index].text());
    let &[separator] = separator else {
        return outcome(context, "xavp_slist_explode", Err("the separator must be one byte"));
    };
    let is_trimmed = mode.contains(&b't');
    let elements = list.split(|&byte| byte == separator);
    let elements = elements.map(|element| if is_trimmed { element.trim_ascii() } else { element });
    let mut fields: Entries = elements.map(|element| text_entry(b"v", element)).collect();
    fields.reverse();
    put_root(context, xavp, "xavp_slist_explode", root, Content::Fields(fields))
}

/// Takes away every entry of the name.
pub(super) fn remove(context: &mut Context<'_>, choose: Choose, arguments: &[Argument<'_>]) -> Outcome {
    let Ok(mut steps) = steps(arguments[0].text()) else { return Outcome::FALSE };
    if let Some(Step { index: index @ Which::Unset, .. }) = steps.last_mut() {
        *index = Which::All;
    }
    choose(context).remove(&steps).is_ok_and(|removed| removed > 0).into()
}

/// Takes away every field of the name from the newest entry.
pub(super) fn remove_child(context: &mut Context<'_>, choose: Choose, arguments: &[Argument<'_>]) -> Outcome {
    let (Ok(mut path), Ok(child)) = (steps(arguments[0].text()), steps(arguments[1].text())) else {
        return Outcome::FALSE;
    };
    path.extend(child.into_iter().map(|step| Step { index: Which::All, ..step }));
    choose(context).remove(&path).is_ok_and(|removed| removed > 0).into()
}

/// Sets a field of the newest entry, which is created if missing; what the field held before is gone.
pub(super) fn set_child(
    context: &mut Context<'_>,
    choose: Choose,
    name: &str,
    arguments: &[Argument<'_>],
) -> Outcome {
    let Argument::Value(value) = arguments[2] else { return Outcome::FALSE };
    let set = set_field(choose(context), arguments[0].text(), arguments[1].text(), value);
    outcome(context, name, set)
}

fn set_field(store: &mut XavpStore, root: &[u8], child: &[u8], value: ValueRef<'_>) -> Result<(), XavpError> {
    let (root, child) = (steps(root)?, steps(child)?);
    let ([root], [child]) = (root.as_slice(), child.as_slice()) else { return Err(XavpError::Path) };
    let is_there = store.fields_mut(root).is_some();
    let root = Step { index: if is_there { Which::At(0) } else { Which::Unset }, ..*root };
    store.assign(&[root, Step { index: Which::All, ..*child }], value)
}

/// Copies an entry: on top of those of another name, or in place of one of them.
pub(super) fn copy(_: &Pv, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let destination = match arguments.get(3).map(Argument::integer) {
        None => Which::Unset,
        Some(Some(index)) => Which::At(index),
        Some(None) => return outcome(context, "xavp_copy", Err("the index is not an integer")),
    };
    let copied = copy_entry(&mut context.process.xavps, arguments, destination);
    outcome(context, "xavp_copy", copied)
}

fn copy_entry(
    store: &mut XavpStore,
    arguments: &[Argument<'_>],
    destination: Which,
) -> Result<(), XavpError> {
    let index = Which::At(arguments[1].integer().ok_or(XavpError::NotThere)?);
    let source = Step { name: arguments[0].text(), index };
    let content = match store.find(&[source]).first() {
        Some(entry) => entry.content.clone(),
        None => return Err(XavpError::NotThere),
    };
    let name = steps(arguments[2].text())?;
    let [name] = name.as_slice() else { return Err(XavpError::Path) };
    store.put(&[Step { index: destination, ..*name }], content)
}

/// Copies `$var(name)`, or with `*` every one that holds something, into the fields of a new entry.
pub(super) fn copy_variables(_: &Pv, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let (wanted, root) = (arguments[0].text(), arguments[1].text());
    let script = context.script();
    let is_wanted = |name: &str| wanted == b"*" || wanted == name.as_bytes();
    let mut fields = Entries::new();
    for (slot, name) in (0..).zip(script.variable_names()).filter(|(_, name)| is_wanted(name)) {
        let mut value = Value::default();
        value.set(context.process.variables.value(slot));
        if value != Value::Null {
            fields.push(Entry { name: name.as_bytes().to_vec(), content: Content::Plain(value) });
        }
    }
    if fields.is_empty() {
        return outcome(context, "pv_var_to_xavp", Err("no such $var has a value"));
    }
    put_root(context, xavp, "pv_var_to_xavp", root, Content::Fields(fields))
}

/// Copies the fields of the newest entry into the `$var` of the same names; a script reads no others.
pub(super) fn copy_to_variables(_: &Pv, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let script = context.script();
    let fields = match fields_of(&mut context.process.xavps, arguments[0].text()) {
        Ok(fields) => fields.clone(),
        Err(error) => return outcome(context, "pv_xavp_to_var", Err(error)),
    };
    for field in &fields {
        let slot = script.variable_names().iter().position(|name| name.as_bytes() == field.name);
        if let (Some(slot), Content::Plain(value)) = (slot, &field.content) {
            context.process.variables.set(slot as u32, value.as_ref());
        }
    }
    Outcome::TRUE
}

/// The entry at the index becomes the first one of its name; those before it go after the last. -2 without any.
pub(super) fn shift(_: &Pv, context: &mut Context<'_>, arguments: &[Argument<'_>]) -> Outcome {
    let Some(amount) = arguments[1].integer() else { return Outcome::FALSE };
    match context.process.xavps.rotate(arguments[0].text(), amount) {
        true => Outcome::TRUE,
        false => Outcome(-2),
    }
}

/// Whether the text of a variable stands for an entry with fields.
pub(super) fn is_structure(text: &[u8]) -> bool {
    text.starts_with(crate::routing::xavps::STRUCTURE_MARK) && text.ends_with(b">>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::module::ModuleEntry;
    use crate::engine::harness::{INVITE, ScriptHarness};

    const MODULES: &[ModuleEntry] = &[ModuleEntry::of::<Pv>()];

    fn after(statements: &str, text: &str) -> String {
        ScriptHarness::told(MODULES, "loadmodule \"pv.so\"", statements, text, INVITE)
    }

    #[test]
    fn parameters_become_fields_and_fields_parameters() {
        let exploded = "$var(r) = xavp_params_explode(\"a=1;b=2;c=\\\"q x\\\";d\", \"px\");";
        let rows = [
            (
                exploded,
                "$var(r) $xavp(px=>a) $xavp(px=>b) $xavp(px=>c) [$xavp(px=>d)] $xavp(px=>e)",
                "1 1 2 q x [] <null>",
            ),
            (
                &format!(
                    "{exploded} $xavp(px[0]=>e) = 5; $var(r) = xavp_params_implode(\"px\", \"$var(i)\");"
                ),
                "$var(r) $var(i)",
                "1 e=5;a=1;b=2;c=q x;d;",
            ),
            ("$var(r) = xavp_params_implode(\"px\", \"$var(i)\");", "$var(r) $var(i)", "-1 0"),
            ("$var(r) = xavp_params_explode(\"\", \"px\");", "$var(r) $xavp(px)", "-1 <null>"),
            ("xavu_params_explode(\"a=1;a=2\", \"ux\");", "$xavu(ux=>a)", "1"),
            (
                "xavu_params_explode(\"a=1;b=2\", \"ux\"); $var(r) = xavu_params_implode(\"ux\", \"$var(i)\");",
                "$var(i)",
                "a=1;b=2;",
            ),
            (
                "xavp_slist_explode(\"x, y,z\", \",\", \"t\", \"sl\");",
                "$xavp(sl=>v[0]) $xavp(sl=>v[1]) $xavp(sl=>v[2])",
                "x y z",
            ),
            ("xavp_slist_explode(\"x, y\", \",\", \"\", \"sl\");", "[$xavp(sl=>v[1])]", "[ y]"),
            ("$var(r) = xavp_slist_explode(\"x\", \"ab\", \"\", \"sl\");", "$var(r)", "-1"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn entries_are_set_copied_shifted_and_removed() {
        let two = "$xavp(e=>k)=\"old\"; $xavp(e=>k)=\"new\";";
        let three = "$xavp(n)=3; $xavp(n)=2; $xavp(n)=1; $xavp(m)=0;";
        let rows = [
            (
                "xavp_child_sets(\"cs\",\"k\",\"v1\"); xavp_child_sets(\"cs\",\"k\",\"v2\"); xavp_child_seti(\"cs\",\"n\",7);",
                "$xavp(cs=>k) $xavp(cs=>k[1]) $xavp(cs=>n) $xavp(cs[1]=>n)",
                "v2 <null> 7 <null>",
            ),
            ("xavi_child_sets(\"Cs\",\"K\",\"v\");", "$xavi(cs=>k)", "v"),
            (
                &format!("{two} xavp_copy(\"e\", 1, \"f\");"),
                "$xavp(f=>k) $xavp(e=>k) $xavp(e[1]=>k)",
                "old new old",
            ),
            (&format!("{two} xavp_copy(\"e\", 1, \"e\", 0);"), "$xavp(e=>k) $xavp(e[1]=>k)", "old old"),
            (&format!("{two} $var(r) = xavp_copy(\"e\", 2, \"f\");"), "$var(r) $xavp(f)", "-1 <null>"),
            (&format!("{two} $var(r) = xavp_rm(\"e\");"), "$var(r) $xavp(e)", "1 <null>"),
            (&format!("{two} xavp_rm(\"e[0]\");"), "$xavp(e=>k)", "old"),
            ("$var(r) = xavp_rm(\"e\");", "$var(r)", "-1"),
            (
                &format!("{two} $var(r) = xavp_child_rm(\"e\", \"k\");"),
                "$var(r) $xavp(e=>k) $xavp(e)",
                "1 <null> <<xavp:e>>",
            ),
            ("$xavi(E)=1; xavi_rm(\"e\");", "$xavi(e)", "<null>"),
            (
                &format!("{three} $var(r) = xavp_lshift(\"n\", 1);"),
                "$var(r) $xavp(n[*]) $xavp(m)",
                "1 2, 3, 1 0",
            ),
            (&format!("{three} xavp_lshift(\"n\", -1);"), "$xavp(n[*])", "3, 1, 2"),
            (&format!("{three} xavp_lshift(\"n\", 4);"), "$xavp(n[*])", "2, 3, 1"),
            ("$var(r) = xavp_lshift(\"n\", 1);", "$var(r)", "-2"),
            (
                "$var(x) = 5; $var(y) = \"t\"; $var(r) = pv_var_to_xavp(\"x\", \"bar\");",
                "$var(r) $xavp(bar=>x) $xavp(bar=>y)",
                "1 5 <null>",
            ),
            (
                "$var(x) = 5; $var(y) = \"t\"; $var(r) = pv_var_to_xavp(\"*\", \"all\");",
                "$xavp(all=>x) $xavp(all=>y) $xavp(all=>r)",
                "5 t <null>",
            ),
            ("$var(r) = pv_var_to_xavp(\"none\", \"bar\");", "$var(r) $xavp(bar)", "-1 <null>"),
            (
                "$xavp(back=>x) = 9; $xavp(back[0]=>n) = \"new\"; $xavp(back[0]=>z) = 1; $var(r) = pv_xavp_to_var(\"back\");",
                "$var(r) $var(x) $var(n)",
                "1 9 new",
            ),
            ("$var(r) = pv_xavp_to_var(\"none\");", "$var(r)", "-1"),
        ];
        for (statements, text, expected) in rows {
            assert_eq!(after(statements, text), expected, "{statements}");
        }
    }

    #[test]
    fn entries_are_shown_newest_first() {
        let script = "loadmodule \"pv.so\"\nrequest_route { $xavp(a=>b)=\"t\"; $xavp(a[0]=>c)=5; $xavp(n)=1; pv_xavp_print(); pv_xavu_print(); }";
        let mut stage = ScriptHarness::new(MODULES, script);
        stage.receive(INVITE);
        let log = stage.log();
        let expected = [
            "pv_xavp_print: n = 1",
            "pv_xavp_print: a:",
            "pv_xavp_print:   c = 5",
            "pv_xavp_print:   b = \"t\"",
            "pv_xavu_print: 0 entries",
        ];
        let places: Vec<_> = expected.iter().map(|line| log.find(line)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{log}");
    }
}
