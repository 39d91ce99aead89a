//! The description of one setting.

use super::Value;

/// The description of one setting. Its flag, its variable, its place in the file and its line in
/// the reference come from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The table in the file. Empty for the top of the file.
    pub table: &'static str,
    /// The name in its table. For a secret, without `_file`.
    pub name: &'static str,
    /// The name of the flag and the variable: the name with the table's prefix, such as
    /// `jwt_algorithm`, or a separate name.
    pub word: String,
    /// The type of the value, such as `duration`.
    pub kind: &'static str,
    /// The default as a user would write it, or `None` without a default.
    pub default: Option<String>,
    /// The help text.
    pub help: String,
    /// Whether the value is secret. A secret comes from a file or a variable.
    pub secret: bool,
    /// Whether the flag alone, without a value, means `true`.
    pub switch: bool,
}

impl Key {
    /// The key of a field of type `T`. For [`settings!`](crate::settings!).
    pub fn of<T: Value>(
        table: &'static str,
        name: &'static str,
        word: String,
        help: &str,
        default: &T,
    ) -> Key {
        Key {
            table,
            name,
            word,
            kind: T::KIND,
            default: default.show(),
            help: help.trim().to_owned(),
            secret: T::SECRET,
            switch: T::SWITCH,
        }
    }

    /// Its path in the file, such as `gateway.max_body_bytes`.
    pub fn path(&self) -> String {
        let dot = if self.table.is_empty() { "" } else { "." };
        format!("{}{dot}{}{}", self.table, self.name, self.suffix())
    }

    /// Its flag, such as `--max-body-bytes`.
    pub fn flag(&self) -> String {
        format!("--{}", self.long())
    }

    /// Its flag without the dashes.
    pub fn long(&self) -> String {
        format!("{}{}", self.word, self.suffix()).replace('_', "-")
    }

    /// Its variable, such as `FEEDKIT_MAX_BODY_BYTES`. For a secret, the variable that names a
    /// file.
    pub fn variable(&self) -> String {
        format!("{}{}", self.secret_variable(), self.suffix().to_uppercase())
    }

    /// The variable that holds a secret itself.
    pub(super) fn secret_variable(&self) -> String {
        format!("FEEDKIT_{}", self.word).to_uppercase()
    }

    /// The value of a secret's key is the name of a file.
    fn suffix(&self) -> &'static str {
        if self.secret { "_file" } else { "" }
    }

    /// The help's first sentence or line.
    pub(super) fn summary(&self) -> &str {
        let line = self.help.lines().next().unwrap_or_default();
        line.strip_suffix('.').unwrap_or(line)
    }
}
