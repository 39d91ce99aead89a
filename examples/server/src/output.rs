//! Tables for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use feedkit_core::{Error, Result};
use serde::Serialize;

/// One line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::fatal(format!("cannot write JSON: {e}")))?;
    line(&text)
}

/// A table with these columns.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns);
    table
}

/// Prints a line. If the reader has gone away (`| head`), the program ends without an error.
pub fn line(text: &(impl std::fmt::Display + ?Sized)) -> Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Error::fatal(format!("cannot write to standard output: {e}"))),
        Ok(()) => Ok(()),
    }
}
