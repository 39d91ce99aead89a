//! The file, as a flat list of keys with their lines.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Key;
use super::nearest::nearest;
use crate::Failure;

/// A value as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// From a flag or a variable. Its type depends on the setting.
    Word(String),
    /// A string in the file.
    Text(String),
    /// A number in the file.
    Number(String),
    /// `true` or `false` in the file.
    Bool(String),
    /// An array in the file.
    List(Vec<Raw>),
    /// A secret's bytes.
    Bytes(Vec<u8>),
    /// Something else in the file. No setting has such a type.
    Other(String),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Word(text) | Raw::Text(text) => write!(f, "{text:?}"),
            Raw::Number(text) | Raw::Bool(text) | Raw::Other(text) => f.write_str(text),
            Raw::List(items) => {
                let shown: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", shown.join(", "))
            }
            Raw::Bytes(_) => f.write_str("the secret"),
        }
    }
}

/// The settings in a TOML file.
#[derive(Debug, Clone, Default)]
pub struct File {
    path: PathBuf,
    /// Values by their full path, such as `gateway.max_body_bytes`, with their lines.
    values: BTreeMap<String, (Raw, usize)>,
    /// All tables, including empty ones.
    tables: BTreeMap<String, usize>,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not TOML. The text says where.
    pub fn read(path: &Path) -> Result<File, Failure> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
        File::parse(path, &text)
    }

    /// Reads `text`, which `path` names in messages.
    ///
    /// # Errors
    ///
    /// If it is not TOML. The text says where.
    pub fn parse(path: &Path, text: &str) -> Result<File, Failure> {
        let table = DeTable::parse(text).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
        let mut file = File { path: path.to_owned(), ..File::default() };
        file.flatten("", table.get_ref(), text);
        Ok(file)
    }

    fn flatten(&mut self, within: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let dot = if within.is_empty() { "" } else { "." };
            let path = format!("{within}{dot}{}", key.get_ref());
            let line = text[..key.span().start.min(text.len())].matches('\n').count() + 1;
            match value.get_ref() {
                DeValue::Table(inner) => {
                    self.tables.insert(path.clone(), line);
                    self.flatten(&path, inner, text);
                }
                _ => {
                    self.values.insert(path, (raw(value), line));
                }
            }
        }
    }

    /// Refuses keys that are not settings. In the tables `open`, every key is allowed.
    pub(super) fn check(&self, keys: &[Key], open: &[&str]) -> Result<(), Failure> {
        let known: Vec<String> = keys.iter().map(Key::path).collect();
        let is_open = |path: &str| open.iter().any(|table| within(path, table) || path == *table);
        let named = self
            .values
            .iter()
            .map(|(path, (_, line))| (path, line))
            .find(|(path, _)| !known.contains(path) && !is_open(path));
        let table = self.tables.iter().find(|(table, _)| {
            !known.iter().any(|path| within(path, table))
                && !open.iter().any(|o| within(o, table))
                && !is_open(table)
        });
        let Some((path, line)) = named.or(table) else { return Ok(()) };
        let meant = match nearest(path, keys) {
            Some(key) => format!("; did you mean {}?", key.path()),
            None => String::new(),
        };
        Err(Failure::usage(format!("{}: there is no setting {path}{meant}", self.at(*line))))
    }

    /// The value at `path`, and its line.
    pub(super) fn value(&self, path: &str) -> Option<(&Raw, usize)> {
        self.values.get(path).map(|(raw, line)| (raw, *line))
    }

    /// All values in the open table `table`, as text.
    pub fn open_table(&self, table: &str) -> BTreeMap<String, String> {
        let inside = self.values.iter().filter(|(path, _)| within(path, table));
        let text = |raw: &Raw| match raw {
            Raw::Word(text) | Raw::Text(text) | Raw::Number(text) | Raw::Bool(text) => text.clone(),
            other => other.to_string(),
        };
        inside.map(|(path, (raw, _))| (path[table.len() + 1..].to_owned(), text(raw))).collect()
    }

    /// A line of this file, for messages.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// Whether `path` is inside `table`.
fn within(path: &str, table: &str) -> bool {
    path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Raw::Number(number.as_str().to_owned()),
        DeValue::Float(number) => Raw::Number(number.as_str().to_owned()),
        DeValue::Boolean(is) => Raw::Bool(is.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(raw).collect()),
        other => Raw::Other(format!("this {}", other.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_path() {
        let text =
            "a = 1\n[b]\nc = \"x\"\n[b.d]\ne = [1, true]\n\n[k.properties]\nx.y = 5\n\"z.w\" = false\n";
        let file = File::parse(Path::new("f.toml"), text).unwrap();
        assert_eq!(file.value("a"), Some((&Raw::Number("1".into()), 1)));
        assert_eq!(file.value("b.c"), Some((&Raw::Text("x".into()), 3)));
        let list = Raw::List(vec![Raw::Number("1".into()), Raw::Bool("true".into())]);
        assert_eq!(file.value("b.d.e"), Some((&list, 5)));
        let open = file.open_table("k.properties");
        assert_eq!(open, [("x.y", "5"), ("z.w", "false")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        let fault = File::parse(Path::new("f.toml"), "a = 1\nb = \n").unwrap_err().to_string();
        assert!(fault.contains("f.toml") && fault.contains('2'), "{fault}");
    }
}
