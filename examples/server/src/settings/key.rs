use super::Value;

/// One setting, described: what its flag, its variable, its place in the file and its line in the reference are
/// made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The table of the file; empty for the top.
    pub table: &'static str,
    /// The name in its table; of a secret, without `_file`.
    pub name: &'static str,
    /// What flag and variable are made of: the name after the table's prefix, such as `jwt_algorithm`, or one of
    /// its own.
    pub word: String,
    /// What sort of value, such as `duration`.
    pub kind: &'static str,
    /// The default as one would write it; `None` when there is none.
    pub default: Option<String>,
    /// What it does, in words.
    pub help: String,
    /// Whether the value is secret: then it comes from a file or a variable.
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

    /// Where it stands in the file, such as `gateway.max_body_bytes`.
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

    /// Its variable, such as `FEEDKIT_MAX_BODY_BYTES`; of a secret, the one that names a file.
    pub fn variable(&self) -> String {
        format!("{}{}", self.secret_variable(), self.suffix().to_uppercase())
    }

    /// The variable that holds a secret itself.
    pub(super) fn secret_variable(&self) -> String {
        format!("FEEDKIT_{}", self.word).to_uppercase()
    }

    /// A secret is named by the file that holds it.
    fn suffix(&self) -> &'static str {
        if self.secret { "_file" } else { "" }
    }

    /// The help's first sentence or line.
    pub(super) fn summary(&self) -> &str {
        let line = self.help.lines().next().unwrap_or_default();
        line.strip_suffix('.').unwrap_or(line)
    }
}
