//! docs/operations.md quotes log lines and errors that the code has.

use regex::Regex;

use crate::support::{files, named, read, root};

/// What Kafka's client, the connection pool and Redis say, and commands of Redis.
const FOREIGN: [&str; 5] = [
    "Consumer group session timed out",
    "partition count changed from",
    "Connection could not be recycled",
    "+cluster|slots +readonly +asking",
    "INFO commandstats",
];

#[test]
fn operations_quotes_what_the_code_says() {
    let texts = texts();
    let page = read(&root().join("docs/operations.md"));
    let mut checked = 0;
    let mut unknown = Vec::new();
    for quote in quotes(&page) {
        for part in parts(&quote) {
            checked += 1;
            if !texts.iter().any(|text| text.contains(&part)) {
                unknown.push(format!("{part:?} in `{quote}`"));
            }
        }
    }
    assert!(checked > 40, "only {checked} parts of quotes were found");
    assert!(unknown.is_empty(), "no source has these texts:\n{}", unknown.join("\n"));
}

#[test]
fn a_quote_is_taken_apart_where_values_are() {
    let page = "`WARN partition 3 of Redis is away: …` and `INFO rebuilding follower=\"counters\" why=\"it is …\"`\n\
                ```\n`in a block of code`\nWARN told in a block\n```\n`feedkit-gateway --check now` `one two` `a.b = false`";
    let quotes = quotes(page);
    assert_eq!(quotes.len(), 3, "{quotes:?}");
    assert_eq!(parts(&quotes[0]), ["partition", "is away"]);
    assert_eq!(parts(&quotes[1]), ["rebuilding", "counters", "it is"]);
}

/// The texts in the sources, as they are printed.
fn texts() -> Vec<String> {
    let literal = Regex::new(r#"(?s)"((?:[^"\\]|\\.)*)""#).expect("a pattern");
    let continued = Regex::new(r"\\\n\s*").expect("a pattern");
    let sources = files(&["rs"]).into_iter().filter(|file| named(file).contains("/src/"));
    let mut texts = Vec::new();
    for source in sources {
        for found in literal.captures_iter(&read(&source)) {
            texts.push(continued.replace_all(&found[1], "").into_owned());
        }
    }
    texts
}

/// The log lines and errors in a page: code with a level, and inline code of three words and more
/// that is not a command, a setting or SQL.
fn quotes(page: &str) -> Vec<String> {
    let block = Regex::new(r"(?s)```.*?```").expect("a pattern");
    let inline = Regex::new(r"`([^`]+)`").expect("a pattern");
    let level = Regex::new(r"^(?:WARN|INFO|ERROR) ").expect("a pattern");
    let other =
        Regex::new(r"^(?:feedkit|scripts|kafka-|systemctl|psql|redis|[A-Z]{3,} )|--| = ").expect("a pattern");
    let line = Regex::new(r"(?m)^(?:WARN|INFO|ERROR) .+$").expect("a pattern");
    let blocks = block.find_iter(page).flat_map(|found| line.find_iter(found.as_str()));
    let blocks: Vec<_> = blocks.map(|found| found.as_str().to_owned()).collect();
    let page = block.replace_all(page, "");
    let code = inline.captures_iter(&page).map(|found| {
        let words: Vec<_> = found[1].split_whitespace().collect();
        words.join(" ")
    });
    code.chain(blocks)
        .filter(|code| {
            let is_told = level.is_match(code) || (code.matches(' ').count() >= 2 && !other.is_match(code));
            is_told && !FOREIGN.iter().any(|foreign| code.starts_with(foreign))
        })
        .collect()
}

/// What stays of a quote without its level, values, and names of fields and services.
fn parts(quote: &str) -> Vec<String> {
    let value = Regex::new(
        r#"^(?:WARN|INFO|ERROR) |…|\b[a-z_]+="?|"|\b(?:N|\d+m?s?)\b|\b(?:Kafka|PostgreSQL|Redis)\b|\b(?:Uncertain|Retriable):|UnknownTopicOrPartition|\b(?:recreated|truncated|expired):|\bthe counters\b"#,
    )
    .expect("a pattern");
    let parts = value.split(quote).map(|part| part.trim_matches([' ', ':', ',', ';']).to_owned());
    parts.filter(|part| part.len() > 3 && part != "of").collect()
}
