//! The reference of all settings, in Markdown.

use super::{Key, Sections};

/// The reference of all settings `S`, in Markdown: a table for each section.
pub fn reference<S: Sections>() -> String {
    let (mut text, mut before) = (String::new(), None);
    for (table, about, keys) in S::described() {
        if before != Some(table) {
            let heading =
                if table.is_empty() { "Top of the file".to_owned() } else { format!("`[{table}]`") };
            text.push_str(&format!("\n## {heading}\n"));
            before = Some(table);
        }
        text.push_str(&format!(
            "\n{about}\n\n| key | flag, variable | type | default | |\n|---|---|---|---|---|\n"
        ));
        for key in keys {
            text.push_str(&row(&key));
        }
    }
    text
}

fn row(key: &Key) -> String {
    let path = key.path();
    let name = path.rsplit('.').next().unwrap_or_default().to_owned();
    let variable = match key.secret {
        true => format!("`{}`, or the secret in `{}`", key.variable(), key.secret_variable()),
        false => format!("`{}`", key.variable()),
    };
    let default = key.default.as_ref().map(|default| format!("`{default}`")).unwrap_or_default();
    let help = key.help.replace('|', "\\|");
    format!("| `{name}` | `{}`, {variable} | {} | {default} | {help} |\n", key.flag(), key.kind)
}
