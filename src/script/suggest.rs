//! The name that was probably meant, worded for the help under an error.

pub use crate::script::diagnostic::nearest;

/// `did you mean "x"?`, where something is near.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean \"{candidate}\"?"))
}

/// `"a", "b", "c"`, or `none`.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    if quoted.is_empty() { "none".to_string() } else { quoted.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_suggested() {
        let names = ["calls", "registrations"];
        assert_eq!(suggestion("cals", names).as_deref(), Some("did you mean \"calls\"?"));
        assert_eq!(suggestion("wholly_other", names), None);
    }

    #[test]
    fn lists_read_well() {
        assert_eq!(listed(["a", "b"]), "\"a\", \"b\"");
        assert_eq!(listed([]), "none");
    }
}
