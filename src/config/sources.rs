//! All that loading a script reads outside of this process: files, and what names of hosts and interfaces stand for.
//!
//! A separate process that checks a script hands these over, so that the script that was checked is the one that runs,
//! even if its files have changed since, and no name server is asked a second time.
//!
//! ```text
//!  helper:  load, noting what is read ─► Sources::encode ══► Sources::decode ─► load, from these alone  :master
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::settings::listen::Resolver;
use crate::script::source::{LoadError, LoadedFile};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The text of the script and the user it belongs to.
    root: Option<RootText>,
    /// Included files, by the name that was asked for and the file that asked; `None` when there was none.
    files: HashMap<(String, String), Option<LoadedFile>>,
    /// Addresses, by question.
    addresses: HashMap<Question, Vec<IpAddr>>,
}

/// A script's text, and its owner's number where that is known.
pub type RootText = (Vec<u8>, Option<u32>);

/// What a resolver is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Interface(String),
    EveryInterface,
    Host(String),
}

/// Where a load reads from.
#[derive(Clone, Default)]
pub enum Reading {
    /// The world.
    #[default]
    World,
    /// The world, and what is read is noted.
    Noting(Rc<RefCell<Sources>>),
    /// What was noted before, and nothing else.
    Noted(Rc<Sources>),
}

impl Reading {
    /// The script itself.
    pub fn root(&self, read: impl FnOnce() -> Result<RootText, String>) -> Result<RootText, String> {
        match self {
            Reading::World => read(),
            Reading::Noting(sources) => {
                let found = read()?;
                sources.borrow_mut().root = Some(found.clone());
                Ok(found)
            }
            Reading::Noted(sources) => sources.root.clone().ok_or_else(|| UNREAD.to_owned()),
        }
    }

    /// A file that the file `including` names.
    pub fn file(
        &self,
        name: &str,
        including: &str,
        read: impl FnOnce() -> Result<LoadedFile, LoadError>,
    ) -> Result<LoadedFile, LoadError> {
        let key = (name.to_owned(), including.to_owned());
        match self {
            Reading::World => read(),
            Reading::Noting(sources) => {
                let found = read();
                // Whatever else stands in the way ends the load.
                if matches!(found, Ok(_) | Err(LoadError::NotFound)) {
                    sources.borrow_mut().files.insert(key, found.clone().ok());
                }
                found
            }
            Reading::Noted(sources) => match sources.files.get(&key) {
                Some(Some(file)) => Ok(file.clone()),
                Some(None) => Err(LoadError::NotFound),
                None => Err(LoadError::Refused(UNREAD.to_owned())),
            },
        }
    }

    /// What was read, as far as it was noted.
    pub fn noted(&self) -> Rc<Sources> {
        match self {
            Reading::World => Rc::default(),
            Reading::Noting(sources) => Rc::new(sources.borrow().clone()),
            Reading::Noted(sources) => Rc::clone(sources),
        }
    }

    /// Names stand for what `world` says, or what it said.
    pub fn resolver(&self, world: Box<dyn Resolver>) -> Box<dyn Resolver> {
        match self {
            Reading::World => world,
            Reading::Noting(sources) => Box::new(NotingResolver { world, sources: sources.clone() }),
            Reading::Noted(sources) => Box::new(NotedResolver { sources: sources.clone() }),
        }
    }
}

const UNREAD: &str = "the check of the script did not read it";

struct NotingResolver {
    world: Box<dyn Resolver>,
    sources: Rc<RefCell<Sources>>,
}

impl NotingResolver {
    fn note(&self, question: Question, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        self.sources.borrow_mut().addresses.insert(question, addresses.clone());
        addresses
    }
}

impl Resolver for NotingResolver {
    fn interface(&self, name: &str) -> Vec<IpAddr> {
        self.note(Question::Interface(name.to_owned()), self.world.interface(name))
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        self.note(Question::EveryInterface, self.world.every_interface())
    }

    fn host(&self, name: &str) -> Vec<IpAddr> {
        self.note(Question::Host(name.to_owned()), self.world.host(name))
    }
}

struct NotedResolver {
    sources: Rc<Sources>,
}

impl NotedResolver {
    /// A name that was not looked up has no address, which is refused wherever one is needed.
    fn answer(&self, question: Question) -> Vec<IpAddr> {
        self.sources.addresses.get(&question).cloned().unwrap_or_default()
    }
}

impl Resolver for NotedResolver {
    fn interface(&self, name: &str) -> Vec<IpAddr> {
        self.answer(Question::Interface(name.to_owned()))
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        self.answer(Question::EveryInterface)
    }

    fn host(&self, name: &str) -> Vec<IpAddr> {
        self.answer(Question::Host(name.to_owned()))
    }
}

impl Sources {
    /// For another process.
    pub fn encode(&self) -> Vec<u8> {
        let root = self.root.as_ref().map(|(text, owner)| json!([BASE64.encode(text), owner]));
        let files = self.files.iter().map(|((name, including), file)| {
            let file =
                file.as_ref().map(|file| json!([file.path, BASE64.encode(&file.text), file.is_foreign]));
            json!([name, including, file])
        });
        let addresses = self.addresses.iter().map(|(question, found)| {
            let (kind, name) = match question {
                Question::Interface(name) => ("interface", name.as_str()),
                Question::EveryInterface => ("every interface", ""),
                Question::Host(name) => ("host", name.as_str()),
            };
            json!([kind, name, found.iter().map(IpAddr::to_string).collect::<Vec<_>>()])
        });
        let all = json!({
            "root": root,
            "files": files.collect::<Vec<_>>(),
            "addresses": addresses.collect::<Vec<_>>(),
        });
        all.to_string().into_bytes()
    }

    /// From another process; `None` when it is not whole.
    pub fn decode(bytes: &[u8]) -> Option<Sources> {
        let found: Value = serde_json::from_slice(bytes).ok()?;
        let text = |value: &Value| BASE64.decode(value.as_str()?.as_bytes()).ok();
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let root = match &found["root"] {
            Value::Null => None,
            row => Some((text(&row[0])?, row[1].as_u64().and_then(|owner| u32::try_from(owner).ok()))),
        };
        let file = |row: &Value| {
            let file = match &row[2] {
                Value::Null => None,
                file => Some(LoadedFile {
                    path: word(&file[0])?,
                    text: text(&file[1])?,
                    is_foreign: file[2].as_bool()?,
                }),
            };
            Some(((word(&row[0])?, word(&row[1])?), file))
        };
        let address = |row: &Value| {
            let question = match row[0].as_str()? {
                "interface" => Question::Interface(word(&row[1])?),
                "every interface" => Question::EveryInterface,
                "host" => Question::Host(word(&row[1])?),
                _ => return None,
            };
            let parse = |value: &Value| value.as_str()?.parse().ok();
            Some((question, row[2].as_array()?.iter().map(parse).collect::<Option<Vec<IpAddr>>>()?))
        };
        Some(Sources {
            root,
            files: found["files"].as_array()?.iter().map(file).collect::<Option<_>>()?,
            addresses: found["addresses"].as_array()?.iter().map(address).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::load::{LoadRequest, Loaded, Root, load};
    use crate::config::settings::listen::tests::TestMachine;
    use std::fs;
    use std::path::Path;

    /// Loads `main.cfg` of a folder.
    fn load_in(folder: &Path, reading: Reading) -> Result<Loaded, String> {
        let root = Root::File(folder.join("main.cfg"));
        let request = LoadRequest { resolver: Box::new(TestMachine), reading, ..LoadRequest::new(root, &[]) };
        load(request).map_err(|rejected| rejected.errors.concat())
    }

    const MAIN: &str = "include_file \"more.cfg\"\nimport_file \"none.cfg\"\nlisten=udp:dual.example:5070\n\
        request_route { exit; }\n";

    #[test]
    fn what_was_checked_runs_whatever_became_of_its_files_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
        write("main.cfg", MAIN.as_bytes());
        write("more.cfg", b"children=3 # \xff\n");
        let noted = Rc::new(RefCell::new(Sources::default()));
        let checked = load_in(folder.path(), Reading::Noting(noted.clone())).unwrap();

        write("main.cfg", b"nonsense");
        write("none.cfg", b"children=5\n");
        fs::remove_file(folder.path().join("more.cfg")).unwrap();
        let sources = Sources::decode(&noted.borrow().encode()).unwrap();
        assert_eq!(sources, *noted.borrow());
        let request = LoadRequest {
            // A machine that knows no name.
            resolver: Box::new(NotedResolver { sources: Rc::default() }),
            reading: Reading::Noted(Rc::new(sources)),
            ..LoadRequest::new(Root::File(folder.path().join("main.cfg")), &[])
        };
        let loaded = load(request).unwrap_or_else(|rejected| panic!("{}", rejected.errors.concat()));

        assert_eq!(loaded.settings().children, 3);
        assert_eq!(loaded.settings().listeners, checked.settings().listeners);
        assert!(load_in(folder.path(), Reading::World).is_err());
    }

    #[test]
    fn what_was_not_read_before_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let from = |sources: Sources| load_in(folder.path(), Reading::Noted(Rc::new(sources))).err().unwrap();
        let script = |text: &str| Sources { root: Some((text.into(), None)), ..Sources::default() };
        assert!(from(Sources::default()).contains(UNREAD));
        assert!(from(script(MAIN)).contains(UNREAD));
        let unnamed = from(script("listen=udp:dual.example\nrequest_route { exit; }"));
        assert!(unnamed.contains("could not resolve \"dual.example\""), "{unnamed}");
    }

    #[test]
    fn half_of_it_is_nothing() {
        let whole = Sources {
            root: Some((b"exit".to_vec(), Some(1000))),
            files: HashMap::from([(("a".into(), "b".into()), None)]),
            addresses: HashMap::from([
                (Question::EveryInterface, vec!["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()]),
                (Question::Interface("eth0".into()), vec![]),
            ]),
        };
        let bytes = whole.encode();
        assert_eq!(Sources::decode(&bytes), Some(whole));
        assert!((0..bytes.len()).all(|size| Sources::decode(&bytes[..size]).is_none()));
        assert_eq!(Sources::decode(b"{}"), None);
    }
}
