//! The title `ps` shows, written over the place where the kernel keeps the arguments of this process.
//!
//! ```text
//!  arg_start            arg_end = env_start                     env_end
//!  │ sworkerd\0-f\0x.cfg\0 │ HOME=/root\0PATH=/usr/bin\0 ... \0 │
//!  │ sworkerd: worker calls/2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0 │
//! ```
//!
//! The environment follows the arguments; before it is overwritten its variables move to the heap, so that
//! `std::env::var` still works. `std::env::args` does not: read the arguments first.

use std::ffi::CString;
use std::fs;
use std::io;

use super::process::SingleThreaded;

/// The place where the title is kept. Made once, before the first fork; children inherit the place.
#[derive(Debug)]
pub struct Title {
    start: *mut u8,
    size: usize,
}

impl Title {
    /// Finds the place. After this the program's arguments are no longer to be read from the system.
    pub fn take_over(_proof: &SingleThreaded) -> io::Result<Title> {
        let (start, end) = argument_area(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::other("the kernel does not tell where the arguments are"))?;
        move_environment();
        Ok(Title { start: start as *mut u8, size: end - start })
    }

    /// Shows `title` in `ps` and `short_name` in `top`. A title that does not fit is cut.
    pub fn show(&mut self, title: &str, short_name: &str) -> io::Result<()> {
        let kept = &title.as_bytes()[..title.len().min(self.size.saturating_sub(1))];
        // SAFETY: start and size come from the kernel's record of this process's own argument and environment strings,
        // which are mapped writable for the life of the process; nothing else refers to them, as `take_over` moved the
        // environment away and forbids reading the arguments.
        unsafe {
            std::ptr::copy_nonoverlapping(kept.as_ptr(), self.start, kept.len());
            std::ptr::write_bytes(self.start.add(kept.len()), 0, self.size - kept.len());
        }
        Ok(nix::sys::prctl::set_name(&short(short_name))?)
    }
}

/// Gives every variable a new home on the heap.
fn move_environment() {
    let variables: Vec<_> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: the requirement is that no other thread reads the environment; the proof of `take_over` says that
        // there is none.
        unsafe { std::env::set_var(name, value) };
    }
}

/// `arg_start` and `env_end` out of the text of `/proc/self/stat`: fields 48 and 51. Between the two lies nothing
/// else when `arg_end` equals `env_start`; if not, only the arguments are used.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    // The second field is the name in parentheses and may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok().filter(|&address| address != 0);
    let (argument_start, argument_end) = (field(48)?, field(49)?);
    let end = match (field(50), field(51)) {
        (Some(environment_start), Some(environment_end)) if environment_start == argument_end => {
            environment_end
        }
        _ => argument_end,
    };
    (argument_start < end).then_some((argument_start, end))
}

fn short(name: &str) -> CString {
    let bytes: Vec<u8> = name.bytes().filter(|&byte| byte != 0).take(15).collect();
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `/proc/PID/stat` whose fields 48..=51 are given.
    fn stat(name: &str, addresses: [&str; 4]) -> String {
        let between = vec!["0"; 44].join(" ");
        format!("42 ({name}) S {between} {} 0\n", addresses.join(" "))
    }

    #[test]
    fn the_place_is_found_in_what_the_kernel_says() {
        let rows = [
            (stat("sworkerd", ["100", "200", "200", "900"]), Some((100, 900))),
            (stat("odd) name (", ["100", "200", "200", "900"]), Some((100, 900))),
            (stat("sworkerd", ["100", "200", "300", "900"]), Some((100, 200))),
            (stat("sworkerd", ["100", "200", "0", "0"]), Some((100, 200))),
            (stat("hidden", ["0", "0", "0", "0"]), None),
            ("42 (short) S 1 2 3".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in rows {
            assert_eq!(argument_area(&text), expected, "{text}");
        }
    }

    #[test]
    fn short_names_fit() {
        assert_eq!(short("sworkerd-receiver-1").as_bytes(), b"sworkerd-receiv");
        assert_eq!(short("a\0b").as_bytes(), b"ab");
    }
}
