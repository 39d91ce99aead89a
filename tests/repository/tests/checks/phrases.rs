//! Phrases that are hard to read, and what to write instead. CONTRIBUTING.md has the rules behind
//! them.

use regex::Regex;

use crate::support::{files, named, read};

/// Patterns, each with advice. A phrase in quotation marks or backticks is allowed, and so is
/// "there is none".
const PHRASES: [(&str, &str); 12] = [
    (r"\b(?:[Ii]s|[Aa]re|[Ww]as|[Ww]ere) none\b", "there is no …, … does not exist, … is not a …"),
    (r"(?:^|[.:;!?] |\n)So (?:many|long|much)\b", "Maximum …, How long …, How many …"),
    (r"\b(?:so long as)\b", "as long as"),
    (
        r"(?:^|[.:;!?] |\n)What (?:is|are|was|were) [^.?!|]{1,60}? (?:is|are|was|were|has|have) [^.?!|]*[.;]",
        "name the thing: Stored events are …",
    ),
    (r"\bExact (?:is|are)\b", "Exact: …, … are exact"),
    (r"\bBelieves\b", "Verifies, accepts"),
    (r"\b(?:Counted|Kept|Told|Read|Sent|Lost|Missed) (?:is|are|was|were)\b", "… is counted, … are kept"),
    (r"\bis no (?:answer|event|number|record|notification)\b", "is not a …"),
    (r"(?:^|[.:;!?] |\n)None (?:is|are) [a-z]+ed\b", "no … is …"),
    (r"\bone's own\b", "your own, its own"),
    (r"\b[Ww]hoever\b", "name the person or the program"),
    (r"\bis answered with(?:[.,;:|]|\n|$)", "how … is handled"),
];

/// The files to look at.
const EXTENSIONS: [&str; 6] = ["rs", "md", "toml", "html", "mjs", "sh"];

#[test]
fn the_plain_phrase_is_used() {
    let phrases = PHRASES.map(|(pattern, advice)| (Regex::new(pattern).expect("a pattern"), advice));
    let mut found = Vec::new();
    // Two files quote the phrases.
    let quotes = ["checks/phrases.rs", "CONTRIBUTING.md"];
    let mut files = files(&EXTENSIONS);
    files.retain(|file| !quotes.iter().any(|quote| file.ends_with(quote)));
    assert!(files.len() > 300, "only {} files were found", files.len());
    for file in files {
        for (line, phrase, advice) in awkward(&read(&file), &phrases) {
            found.push(format!("{}:{line}: {phrase:?}: write {advice}", named(&file)));
        }
    }
    assert!(found.is_empty(), "{} awkward phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn phrases_are_found_across_lines_but_not_in_quotes() {
    let phrases = PHRASES.map(|(pattern, advice)| (Regex::new(pattern).expect("a pattern"), advice));
    let found = |text: &str| awkward(text, &phrases).into_iter().map(|(line, ..)| line).collect::<Vec<_>>();
    assert_eq!(found("let a = 1;\n// a record that is\n// none"), [2]);
    assert_eq!(found("/// So many are kept.\nconst A: u8 = 1;\n//! First. So long it waits."), [1, 3]);
    assert_eq!(found("What is left over is kept. What is this? What is it for, and is it mine?"), [1]);
    assert_eq!(found("no \"is none\", no `so long as`; or there are none; if x.is_none() {}"), [0; 0]);
}

/// The line, the phrase and the advice for each awkward phrase.
fn awkward<'p>(text: &str, phrases: &[(Regex, &'p str)]) -> Vec<(usize, String, &'p str)> {
    let (joined, starts) = joined(text);
    let mut found = Vec::new();
    for (phrase, advice) in phrases {
        for one in phrase.find_iter(&joined) {
            let before = &joined[..one.start()];
            if !before.ends_with(['"', '`', '“', '‘']) && !before.ends_with("here ") {
                let first = one.start() + one.as_str().len()
                    - one.as_str().trim_start_matches(['.', ':', ';', '!', '?', ' ', '\n']).len();
                let line = starts.partition_point(|start| *start <= first);
                found.push((line, one.as_str().trim().to_owned(), *advice));
            }
        }
    }
    found.sort();
    found
}

/// The text with a paragraph's lines joined, without the marks of comments, and where each line
/// begins in it. Between two paragraphs, and between code and a comment, there is still a line
/// break.
fn joined(text: &str) -> (String, Vec<usize>) {
    let mark = Regex::new(r"^\s*(?://[/!]?|#+|\*|>)?\s*").expect("a pattern");
    let mut joined = String::new();
    let mut starts = Vec::new();
    let mut before = "";
    for line in text.lines() {
        let found = mark.find(line).expect("it may be empty");
        let (kind, rest) = (found.as_str().trim(), &line[found.end()..]);
        if !joined.is_empty() {
            let goes_on = kind == before && !rest.is_empty() && !joined.ends_with('\n');
            joined.push(if goes_on { ' ' } else { '\n' });
        }
        starts.push(joined.len());
        joined.push_str(rest);
        before = kind;
    }
    (joined, starts)
}
