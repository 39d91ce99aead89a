//! How files are laid out: what each begins with, and how long lines and documents are.

use crate::support::{files, named, read, root};

/// Where a document's lines wrap.
const COLUMNS: usize = 100;

#[test]
fn each_source_file_says_what_it_is_for() {
    let sources = files(&["rs"]);
    assert!(sources.len() > 300, "only {} source files were found", sources.len());
    // Or it includes the README of its crate.
    let says = |text: &str| text.starts_with("//!") || text.starts_with("#![doc = include_str!");
    let silent: Vec<_> = sources.iter().filter(|file| !says(&read(file))).map(|file| named(file)).collect();
    assert!(silent.is_empty(), "{} files do not begin with //!:\n{}", silent.len(), silent.join("\n"));
}

#[test]
fn documents_wrap_at_100_columns() {
    let documents = files(&["md"]);
    assert!(documents.len() > 10, "only {} documents were found", documents.len());
    let mut long = Vec::new();
    for document in documents {
        long.extend(long_lines(&read(&document)).iter().map(|line| format!("{}:{line}", named(&document))));
    }
    assert!(long.is_empty(), "{} lines are longer than {COLUMNS} columns:\n{}", long.len(), long.join("\n"));
}

#[test]
fn tables_code_and_addresses_may_be_longer() {
    let word = "x".repeat(COLUMNS + 1);
    let link = format!("see [the page]({word})");
    let text =
        format!("{word} {word}\n```\n{word} {word}\n```\n| {word} |\n{link}\n{link} {word}\n<!-- {word} -->");
    assert_eq!(long_lines(&text), [1, 7]);
}

#[test]
fn the_readme_has_at_most_150_lines() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

/// The numbers of lines that are too long.
fn long_lines(text: &str) -> Vec<usize> {
    let mut is_code = false;
    let mut long = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        if !(is_code || is_fence || line.starts_with('|') || line.starts_with("<!--"))
            && without_addresses(line).chars().count() > COLUMNS
        {
            long.push(number);
        }
    }
    long
}

/// The line without the targets of its links.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += "]";
        text += part.split_once(')').map_or(part, |(_, rest)| rest);
    }
    text
}
