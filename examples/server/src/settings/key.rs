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
    /// The help text, in one line.
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
            help: help.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned(),
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

    /// The first sentence of the help, without its full stop.
    pub(super) fn summary(&self) -> &str {
        let end = self.help.find(". ").unwrap_or(self.help.len());
        self.help[..end].trim_end_matches('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_the_first_sentence_even_over_several_lines() {
        let key = |help: &str| Key::of("", "width", "width".to_owned(), help, &4u32);
        let two_lines = key("How wide it opens, in metres, if\nsomebody rings. At most 4.");
        assert_eq!(two_lines.help, "How wide it opens, in metres, if somebody rings. At most 4.");
        assert_eq!(two_lines.summary(), "How wide it opens, in metres, if somebody rings");
        assert_eq!(key("How wide it opens.").summary(), "How wide it opens");
    }
}
