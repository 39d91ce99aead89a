//! Flags before variables before the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::{File, Given, Key, Raw, Secret, Sections, Value};
use crate::Failure;

/// All that was set, and where.
pub struct Layers {
    flags: BTreeMap<String, String>,
    variable: Box<dyn Fn(&str) -> Option<OsString>>,
    file: File,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(String),
    /// The environment: the flag that it stands for, and the variable.
    Variable(String, String),
    /// The file: its name and line, and the key.
    File(String, String),
    /// Nobody has set it: the key.
    Default(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Variable(flag, variable) => write!(f, "{flag} (from {variable})"),
            Origin::File(place, key) => write!(f, "{place}: {key}"),
            Origin::Default(key) => f.write_str(key),
        }
    }
}

impl Layers {
    /// The layers of a program that has the settings `S`, and open tables in its file. `variable` looks into the
    /// environment.
    ///
    /// # Errors
    ///
    /// When the file has a key that is no setting: names the nearest one.
    pub fn new<S: Sections>(
        open: &[&str],
        flags: Given,
        variable: impl Fn(&str) -> Option<OsString> + 'static,
        file: Option<File>,
    ) -> Result<Layers, Failure> {
        let file = file.unwrap_or_default();
        file.check(&S::keys(), open)?;
        Ok(Layers { flags: flags.0, variable: Box::new(variable), file })
    }

    /// The file's open tables.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The value of `key` in effect. For [`settings!`](crate::settings!), which always has one.
    pub fn read<T: Value>(&self, key: Option<Key>, default: impl FnOnce() -> T) -> Result<T, Failure> {
        let Some(key) = key else { return Ok(default()) };
        let Some((raw, origin)) = self.given(&key)? else { return Ok(default()) };
        T::read(&raw).map_err(|fault| Failure::usage(format!("{origin}: {fault}")))
    }

    /// Where the value of `key` comes from.
    pub fn origin(&self, key: &Key) -> Origin {
        match self.given(key) {
            Ok(Some((_, origin))) => origin,
            _ => Origin::Default(key.path()),
        }
    }

    /// A fault of the key at `path` among the settings `S`, which names where the value comes from.
    pub fn fault<S: Sections>(&self, path: &str, fault: impl fmt::Display) -> Failure {
        let key = S::keys().into_iter().find(|key| key.path() == path);
        let origin = key.map_or(Origin::Default(path.to_owned()), |key| self.origin(&key));
        Failure::usage(format!("{origin}: {fault}"))
    }

    /// What was given for a key, by whom it is decided.
    fn given(&self, key: &Key) -> Result<Option<(Raw, Origin)>, Failure> {
        let (path, name) = (key.path(), key.variable());
        if let Some(text) = self.flags.get(&path) {
            return self.word(key, text.clone(), Origin::Flag(key.flag())).map(Some);
        }
        let named = self.variable(&name);
        if key.secret {
            let itself = key.secret_variable();
            let origin = Origin::Variable(key.flag(), itself.clone());
            match (self.variable(&itself), &named) {
                (Some(_), Some(_)) => {
                    return Err(Failure::usage(format!("both {itself} and {name} are set: which is meant?")));
                }
                (Some(secret), None) => return Ok(Some((Raw::Bytes(bytes(secret)), origin))),
                (None, _) => {}
            }
        }
        if let Some(text) = named {
            let origin = Origin::Variable(key.flag(), name);
            let Ok(text) = text.into_string() else {
                return Err(Failure::usage(format!("{origin}: is no UTF-8")));
            };
            return self.word(key, text, origin).map(Some);
        }
        let Some((raw, line)) = self.file.value(&path) else { return Ok(None) };
        let origin = Origin::File(self.file.at(line), path);
        match raw {
            Raw::Text(name) if key.secret => {
                let secret = from_file(Path::new(name), &origin)?;
                Ok(Some((secret, origin)))
            }
            raw => Ok(Some((raw.clone(), origin))),
        }
    }

    fn word(&self, key: &Key, text: String, origin: Origin) -> Result<(Raw, Origin), Failure> {
        match key.secret {
            true => Ok((from_file(Path::new(&text), &origin)?, origin)),
            false => Ok((Raw::Word(text), origin)),
        }
    }

    /// An empty variable is how many tools leave one out.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("flags", &self.flags).field("file", &self.file).finish_non_exhaustive()
    }
}

fn from_file(path: &Path, origin: &Origin) -> Result<Raw, Failure> {
    let secret = Secret::from_file(path)
        .map_err(|e| Failure::usage(format!("{origin}: {} cannot be read: {e}", path.display())))?;
    Ok(Raw::Bytes(secret.bytes().to_vec()))
}

#[cfg(unix)]
fn bytes(value: OsString) -> Vec<u8> {
    std::os::unix::ffi::OsStringExt::into_vec(value)
}

#[cfg(not(unix))]
fn bytes(value: OsString) -> Vec<u8> {
    value.to_string_lossy().into_owned().into_bytes()
}
