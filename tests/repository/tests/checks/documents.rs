//! Documents: quoted code is the code of the examples, and links lead to files that exist.

use crate::support::{files, read, root};

/// Before a code block: `<!-- quote: FILE#SECTION -->`. A section lies between `// [SECTION]` and
/// `// [/SECTION]`.
const QUOTE: &str = "<!-- quote: ";

#[test]
fn quotes_are_what_the_examples_say() {
    let mut quotes = 0;
    for document in files(&["md"]) {
        let text = read(&document);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(place) = line.strip_prefix(QUOTE).and_then(|rest| rest.strip_suffix(" -->")) else {
                continue;
            };
            assert!(lines.next().is_some_and(|fence| fence.starts_with("```")), "no code follows on {line}");
            let quoted: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let (file, section) = place.split_once('#').expect("FILE#SECTION");
            let said = section_of(&read(&root().join(file)), section);
            assert_eq!(quoted.join("\n"), said, "{} quotes {place}", document.display());
            quotes += 1;
        }
    }
    assert!(quotes >= 4, "only {quotes} quotes were found");
}

#[test]
fn relative_links_lead_somewhere() {
    let mut followed = 0;
    for document in files(&["md"]) {
        let text = read(&document);
        for target in text.split("](").skip(1).chain(text.split("src=\"").skip(1)) {
            let target = target.split([')', '"', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = document.parent().expect("a file lies in a folder").join(target);
            assert!(file.exists(), "{} links to {target}, which is not there", document.display());
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links were found");
}

/// A path in the map is below the root, below the folder that the map named before it, or a
/// contract of feedkit-core.
#[test]
fn the_map_names_files_that_exist() {
    let (mut folder, mut named) = (String::new(), 0);
    for word in read(&root().join("docs/README.md")).split('`').skip(1).step_by(2) {
        if word.starts_with('/') || !(word.ends_with('/') || word.ends_with(".rs")) {
            continue;
        }
        let below_root = root().join(word).exists();
        let elsewhere = [format!("{folder}{word}"), format!("feedkit-core/src/{word}")];
        let exists = below_root || elsewhere.iter().any(|place| root().join(place).exists());
        assert!(exists, "docs/README.md names {word}, which does not exist");
        if below_root && word.ends_with('/') {
            folder = word.to_owned();
        }
        named += 1;
    }
    assert!(named > 30, "only {named} paths were found");
}

/// The section's lines, moved to the left margin.
fn section_of(code: &str, section: &str) -> String {
    let (start, end) = (format!("// [{section}]"), format!("// [/{section}]"));
    let inside = code.lines().skip_while(|line| line.trim() != start).skip(1);
    let lines: Vec<_> = inside.take_while(|line| line.trim() != end).collect();
    assert!(!lines.is_empty(), "no section {section}");
    let indent =
        lines.iter().filter(|l| !l.is_empty()).map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    let lines = lines.iter().map(|line| line.get(indent..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
