//! The identity of a process and its limits: user and groups, root and working directory, limits, core dumps.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group, Uid, User};

/// A user and group to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user, if it shall change.
    pub user: Option<u32>,
    /// The group, if it shall change: the one asked for, or the user's own.
    pub group: Option<u32>,
    /// Name of the user as the system knows it, for its further groups.
    user_name: Option<CString>,
}

impl Identity {
    /// Looks up `user` and `group`, each a name or a number.
    pub fn look_up(user: Option<&str>, group: Option<&str>) -> io::Result<Identity> {
        let mut identity = Identity { user: None, group: None, user_name: None };
        if let Some(user) = user {
            identity.take_user(user)?;
        }
        if let Some(group) = group {
            identity.group = Some(look_up_group(group)?);
        }
        Ok(identity)
    }

    fn take_user(&mut self, user: &str) -> io::Result<()> {
        let known = match user.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number))?,
            Err(_) => User::from_name(user)?,
        };
        match (known, user.parse::<u32>()) {
            (Some(known), _) => {
                self.user = Some(known.uid.as_raw());
                self.group = Some(known.gid.as_raw());
                self.user_name = CString::new(known.name).ok();
            }
            (None, Ok(number)) => self.user = Some(number),
            (None, Err(_)) => return Err(not_found("user", user)),
        }
        Ok(())
    }

    /// Becomes this user for good: groups first, as a mere user may not change them any more.
    pub fn assume(&self) -> io::Result<()> {
        if let Some(group) = self.group {
            let group = Gid::from_raw(group);
            if Uid::effective().is_root() {
                match &self.user_name {
                    Some(name) => nix::unistd::initgroups(name, group)?,
                    None => nix::unistd::setgroups(&[group])?,
                }
            }
            nix::unistd::setresgid(group, group, group)?;
        }
        if let Some(user) = self.user {
            let user = Uid::from_raw(user);
            nix::unistd::setresuid(user, user, user)?;
        }
        Ok(())
    }

    /// Whether [`Identity::assume`] would change anything.
    pub fn is_change(&self) -> bool {
        self.user.is_some_and(|user| Uid::effective().as_raw() != user)
            || self.group.is_some_and(|group| Gid::effective().as_raw() != group)
    }
}

fn look_up_group(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse::<u32>() {
        return Ok(number);
    }
    match Group::from_name(group)? {
        Some(known) => Ok(known.gid.as_raw()),
        None => Err(not_found("group", group)),
    }
}

fn not_found(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("unknown {kind} {name:?} on this system"))
}

/// Number of the user this process acts as.
pub fn own_user() -> u32 {
    Uid::effective().as_raw()
}

/// Gives a file to this user and group.
pub fn give_to(path: &Path, identity: &Identity) -> io::Result<()> {
    Ok(nix::unistd::chown(path, identity.user.map(Uid::from_raw), identity.group.map(Gid::from_raw))?)
}

/// Makes `directory` the root of everything this process can see from now on.
pub fn change_root(directory: &Path) -> io::Result<()> {
    nix::unistd::chroot(directory)?;
    std::env::set_current_dir("/")
}

/// Allows `count` open files, raising the hard limit too where that is permitted; the limit that holds then.
pub fn limit_open_files(count: u64) -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Nothing of this process's memory is ever written to a core file, and no debugger of the same user may attach.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Whether [`forbid_core_dumps`] holds.
pub fn are_core_dumps_forbidden() -> io::Result<bool> {
    Ok(getrlimit(Resource::RLIMIT_CORE)? == (0, 0) && !nix::sys::prctl::get_dumpable()?)
}

/// Core files may be as large as the hard limit permits, also after a change of user.
pub fn allow_core_dumps() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, hard, hard)?;
    Ok(nix::sys::prctl::set_dumpable(true)?)
}

/// This process and its children never gain rights by running a program.
pub fn forbid_new_rights() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: Option<&str>, group: Option<&str>, expected: Result<(Option<u32>, Option<u32>), &str>) {
        let found = Identity::look_up(user, group);
        let shape = found.as_ref().map(|identity| (identity.user, identity.group)).map_err(|e| e.to_string());
        assert_eq!(shape, expected.map_err(str::to_owned), "{user:?} {group:?}");
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        check(None, None, Ok((None, None)));
        check(Some("root"), None, Ok((Some(0), Some(0))));
        check(Some("0"), Some("root"), Ok((Some(0), Some(0))));
        check(Some("root"), Some("4294967294"), Ok((Some(0), Some(4_294_967_294))));
        check(Some("4000000001"), None, Ok((Some(4_000_000_001), None)));
        check(Some("no-such-user"), None, Err("unknown user \"no-such-user\" on this system"));
        check(None, Some("no-such-group"), Err("unknown group \"no-such-group\" on this system"));
        check(Some("-1"), None, Err("unknown user \"-1\" on this system"));
    }

    #[test]
    fn being_who_one_is_is_no_change() {
        let own = Identity { user: Some(own_user()), group: None, user_name: None };
        assert!(!own.is_change());
        let other = Identity { user: Some(own_user() ^ 1), ..own };
        assert!(other.is_change());
    }
}
