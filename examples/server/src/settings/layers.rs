//! Where values come from: a flag overrides a variable, which overrides the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use super::{File, Given, Key, Raw, Secret, Sections, Value};
use crate::Failure;

/// All values that were set, and where they come from.
pub struct Layers {
    flags: BTreeMap<String, String>,
    variable: Environment,
    file: File,
}

/// Looks up a variable.
type Environment = Box<dyn Fn(&str) -> Option<OsString>>;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(String),
    /// The environment: the flag that the variable replaces, and the variable.
    Variable(String, String),
    /// The file: its name and line, and the key.
    File(String, String),
    /// The default: the key.
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
    /// The layers of a program that has the settings `S` and some open tables in its file.
    /// `variable` looks up a variable of the environment.
    ///
    /// # Errors
    ///
    /// If the file has a key that is not a setting. The text names the most similar setting.
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

    /// The layers of this process: its flags, its environment, and the file at `path`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Layers::new), and if the file cannot be read.
    pub fn of_process<S: Sections>(
        open: &[&str],
        flags: Given,
        path: Option<&Path>,
    ) -> Result<Layers, Failure> {
        let file = path.map(File::read).transpose()?;
        Layers::new::<S>(open, flags, |name| std::env::var_os(name), file)
    }

    /// The file's open tables.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The effective value of `key`. Values that it overrides must be valid too; otherwise the
    /// fault would show only when somebody leaves out the flag. For
    /// [`settings!`](crate::settings!), which always has a key.
    pub fn read<T: Value>(&self, key: Option<Key>, default: impl FnOnce() -> T) -> Result<T, Failure> {
        let Some(key) = key else { return Ok(default()) };
        let mut value = None;
        for (raw, origin) in self.given(&key)? {
            let read = T::read(&raw).map_err(|fault| Failure::usage(format!("{origin}: {fault}")))?;
            value.get_or_insert(read);
        }
        Ok(value.unwrap_or_else(default))
    }

    /// Where the value of `key` comes from.
    pub fn origin(&self, key: &Key) -> Origin {
        let first = self.given(key).ok().and_then(|given| given.into_iter().next());
        first.map_or_else(|| Origin::Default(key.path()), |(_, origin)| origin)
    }

    /// A fault of the key at `path` in the settings `S`. It names where the value comes from.
    pub fn fault<S: Sections>(&self, path: &str, fault: impl fmt::Display) -> Failure {
        let key = S::keys().into_iter().find(|key| key.path() == path);
        let origin = key.map_or(Origin::Default(path.to_owned()), |key| self.origin(&key));
        Failure::usage(format!("{origin}: {fault}"))
    }

    /// The values of a key and where they come from, the effective one first. For a secret, only
    /// that one.
    fn given(&self, key: &Key) -> Result<Vec<(Raw, Origin)>, Failure> {
        if key.secret {
            return Ok(self.secret(key)?.into_iter().collect());
        }
        let path = key.path();
        let mut given = Vec::new();
        if let Some(text) = self.flags.get(&path) {
            given.push((Raw::Word(text.clone()), Origin::Flag(key.flag())));
        }
        let name = key.variable();
        if let Some(text) = self.variable(&name) {
            let origin = Origin::Variable(key.flag(), name);
            given.push((Raw::Word(utf8(text, &origin)?), origin));
        }
        if let Some((raw, line)) = self.file.value(&path) {
            given.push((raw.clone(), Origin::File(self.file.at(line), path)));
        }
        Ok(given)
    }

    fn secret(&self, key: &Key) -> Result<Option<(Raw, Origin)>, Failure> {
        let path = key.path();
        if let Some(file) = self.flags.get(&path) {
            return from_file(file, Origin::Flag(key.flag())).map(Some);
        }
        let (itself, name) = (key.secret_variable(), key.variable());
        match (self.variable(&itself), self.variable(&name)) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(format!(
                    "both {itself} and {name} are set, but only one of them may be"
                )));
            }
            (Some(secret), None) => {
                return Ok(Some((Raw::Bytes(bytes(secret)), Origin::Variable(key.flag(), itself))));
            }
            (None, Some(file)) => {
                let origin = Origin::Variable(key.flag(), name);
                return from_file(&utf8(file, &origin)?, origin).map(Some);
            }
            (None, None) => {}
        }
        let Some((raw, line)) = self.file.value(&path) else { return Ok(None) };
        let origin = Origin::File(self.file.at(line), path);
        match raw {
            Raw::Text(file) => from_file(file, origin).map(Some),
            other => Err(Failure::usage(format!("{origin}: {other} is not a path"))),
        }
    }

    /// Many tools set a variable to nothing to leave it out.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("flags", &self.flags).field("file", &self.file).finish_non_exhaustive()
    }
}

fn from_file(path: &str, origin: Origin) -> Result<(Raw, Origin), Failure> {
    match Secret::from_file(Path::new(path)) {
        Ok(secret) => Ok((Raw::Bytes(secret.bytes().to_vec()), origin)),
        Err(e) => Err(Failure::usage(format!("{origin}: {path} cannot be read: {e}"))),
    }
}

fn utf8(text: OsString, origin: &Origin) -> Result<String, Failure> {
    text.into_string().map_err(|_| Failure::usage(format!("{origin}: is not UTF-8")))
}

#[cfg(unix)]
fn bytes(value: OsString) -> Vec<u8> {
    std::os::unix::ffi::OsStringExt::into_vec(value)
}

#[cfg(not(unix))]
fn bytes(value: OsString) -> Vec<u8> {
    value.to_string_lossy().into_owned().into_bytes()
}
