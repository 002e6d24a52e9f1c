//! What the table of flags is printed as, besides the help: a manual page and the completion of bash.
//!
//! `docs/sworkerd.8` and `packaging/bash-completion/sworkerd` hold the result; a test holds them to it.

use std::fmt::Write;

use super::{FLAGS, Flag};

/// What can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page for `man`.
    Page,
    /// A script for bash.
    Completion,
}

impl Form {
    /// The one of this name.
    pub fn parse(name: &str) -> Result<Form, String> {
        match name {
            "man" => Ok(Form::Page),
            "bash" => Ok(Form::Completion),
            _ => Err("man or bash is needed".to_owned()),
        }
    }

    /// Its text.
    pub fn text(self) -> String {
        match self {
            Form::Page => page(),
            Form::Completion => completion(),
        }
    }
}

fn page() -> String {
    let mut text = String::from(PAGE_HEAD);
    for flag in FLAGS.iter().filter(|flag| !flag.is_without_effect) {
        write_flag(flag, &mut text);
    }
    text.push_str(".SH ACCEPTED WITHOUT EFFECT\nSo that existing service files work.\n");
    for flag in FLAGS.iter().filter(|flag| flag.is_without_effect) {
        write_flag(flag, &mut text);
    }
    text.push_str(PAGE_TAIL);
    text
}

fn write_flag(flag: &Flag, out: &mut String) {
    let names: Vec<String> = names(flag).map(|name| format!("\\fB{}\\fR", roff(&name))).collect();
    let value = flag.value.map(|value| format!(" \\fI{}\\fR", roff(value))).unwrap_or_default();
    let _ = writeln!(out, ".TP\n{}{value}\n{}", names.join(", "), roff(flag.documentation));
}

/// Text in which nothing is taken for a request, and dashes stay dashes.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn names(flag: &Flag) -> impl Iterator<Item = String> {
    let letter = flag.letter.map(|letter| format!("-{letter}"));
    let name = flag.name.map(|name| format!("--{name}"));
    letter.into_iter().chain(name)
}

/// Flags by what their values are, so that each is completed with the right thing.
fn completion() -> String {
    let taking = |wanted: &[&str]| {
        let flags = FLAGS.iter().filter(|flag| flag.value.is_some_and(|value| wanted.contains(&value)));
        flags.flat_map(names).collect::<Vec<_>>().join("|")
    };
    let known = ["FILE", "DIRECTORY", "PATH", "USER", "GROUP", "yes|no", "NAME[:DATA]", "man|bash"];
    let others = FLAGS.iter().filter(|flag| flag.value.is_some_and(|value| !known.contains(&value)));
    let others = others.flat_map(names).collect::<Vec<_>>().join("|");
    let all =
        FLAGS.iter().filter(|flag| !flag.is_without_effect).flat_map(names).collect::<Vec<_>>().join(" ");
    let rows = [
        (taking(&["FILE"]), "COMPREPLY=($(compgen -f -- \"$word\"))"),
        (taking(&["DIRECTORY", "PATH"]), "COMPREPLY=($(compgen -d -- \"$word\"))"),
        (taking(&["USER"]), "COMPREPLY=($(compgen -u -- \"$word\"))"),
        (taking(&["GROUP"]), "COMPREPLY=($(compgen -g -- \"$word\"))"),
        (taking(&["yes|no"]), "COMPREPLY=($(compgen -W 'yes no' -- \"$word\"))"),
        (
            taking(&["NAME[:DATA]"]),
            "COMPREPLY=($(compgen -W 'standard stderr syslog journald json' -- \"$word\"))",
        ),
        (taking(&["man|bash"]), "COMPREPLY=($(compgen -W 'man bash' -- \"$word\"))"),
        (others, "COMPREPLY=()"),
    ];
    let mut text = String::from(
        "# Completion of sworkerd for bash, printed by: sworkerd --options-as bash\n\n_sworkerd() {\n    \
         local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n    case $before in\n",
    );
    for (flags, action) in rows.iter().filter(|(flags, _)| !flags.is_empty()) {
        let _ = writeln!(text, "    {flags}) {action} ;;");
    }
    let _ = writeln!(text, "    *) COMPREPLY=($(compgen -W '{all}' -- \"$word\")) ;;\n    esac\n}}");
    text.push_str("complete -F _sworkerd sworkerd\n");
    text
}

const PAGE_HEAD: &str = r#".TH SWORKERD 8 "" "sworker" "SIP server"
.SH NAME
sworkerd \- SIP server in which receiving a message and processing it are different processes
.SH SYNOPSIS
.B sworkerd
[\fIoptions\fR]
.SH DESCRIPTION
A master starts receivers, which own the sockets, and named groups of workers. A receiver runs
\fBevent_route[core:pre\-routing]\fR of the script and delegates messages to a group with \fBsworker_task()\fR; a
worker of that group runs \fBrequest_route\fR or \fBreply_route\fR. A process that dies is replaced, and accepted messages
are processed.
.PP
Without
.B \-f
a built\-in example runs in the foreground.
.SH OPTIONS
"#;

const PAGE_TAIL: &str = r#".SH CONFINEMENT
Children hold no capability, gain no rights by running programs, and cannot: run programs, make processes, look into
others, mount, open sockets other than local and internet ones (seccomp); read files beyond what looking up names
needs, or write outside the run directory (Landlock, where the kernel has it). They leave no core dump unless the script
says \fBdisable_core_dump=no\fR. \fB\-\-self\-test\fR tests this on the current machine; \fBsandbox=no\fR in the script and
\fB\-\-no\-sandbox\fR turn it off for debugging. A name server's file that is replaced while the server runs is read again
where it is below /run/systemd/resolve, /run/resolvconf or /run/NetworkManager, else at the next start of a child.
.SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
finish accepted messages and stop; a second signal stops at once
.TP
\fBSIGHUP\fR
check the script; when it is valid, a new generation of processes takes over, else nothing changes
.TP
\fBSIGUSR1\fR
write statistics to the log
.TP
\fBSIGUSR2\fR
start the program of the same path, which takes over the sockets and goes on with shared values and counters; the
running one finishes accepted messages and exits
.SH EXIT STATUS
0 after an orderly stop or for a valid script; 1 when accepted messages were lost, a self\-test failed, or a flow of
\fB\-\-test\fR failed; 2 when such a flow could not be run; 255 when the script has errors or the server cannot start.
.SH SEE ALSO
\fBsworkerctl\fR \fBhelp\fR, \fBsworkertop\fR
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: Form, path: &str, kept: &str) {
        let printed = form.text();
        assert_eq!(printed, kept, "{path} is old: print it again with sworkerd --options-as");
    }

    #[test]
    fn what_is_kept_is_what_the_table_says() {
        check(Form::Page, "docs/sworkerd.8", include_str!("../../../../docs/sworkerd.8"));
        let kept = include_str!("../../../../packaging/bash-completion/sworkerd");
        check(Form::Completion, "packaging/bash-completion/sworkerd", kept);
    }

    #[test]
    fn every_flag_is_in_both() {
        let (page, completion) = (page(), completion());
        for flag in FLAGS {
            for name in names(flag) {
                assert!(page.contains(&format!("\\fB{}\\fR", roff(&name))), "{name}");
                let is_completed =
                    completion.contains(&format!("{name} ")) || completion.contains(&format!("{name}'"));
                assert!(is_completed || flag.is_without_effect, "{name}");
            }
        }
    }

    #[test]
    fn text_is_never_a_request() {
        let rows = [("a-b", "a\\-b"), (".so x", "\\&.so x"), ("'x", "\\&'x"), ("a\\b", "a\\eb")];
        for (text, expected) in rows {
            assert_eq!(roff(text), expected);
        }
    }
}
