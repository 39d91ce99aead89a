//! Query parameters. An unknown parameter is refused by name, because it is probably a typing
//! error.

use std::str::FromStr;

use poem::Request;

use crate::Problem;
use feedkit_core::{Position, Timestamp};

/// Maximum number of items on a page.
pub(crate) const MAX_LIMIT: usize = 100;
/// How many items a page has without `limit`.
pub(crate) const DEFAULT_LIMIT: usize = 20;

/// The query parameters of a request, each at most once.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of `request`, which may have only those in `known`.
    pub(super) fn of(request: &Request, known: &[&str]) -> Result<Params, Problem> {
        let pairs = request.params::<Vec<(String, String)>>();
        let pairs = pairs.map_err(|e| Problem::invalid(format!("the query cannot be read: {e}")))?;
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name = shown(name);
                let detail = format!("this route has no parameter `{name}`; it has {}", known.join(", "));
                return Err(Problem::invalid(detail).field(name));
            }
            if pairs[..i].iter().any(|(before, _)| before == name) {
                return Err(Problem::invalid(format!("`{name}` appears twice")).field(name));
            }
        }
        Ok(Params(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, which has to be one of `choices`.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match choices.iter().find(|(choice, _)| *choice == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let choices: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
                Err(bad(name, text, &format!("one of {}", choices.join(", "))))
            }
        }
    }

    /// The value of `limit`.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(DEFAULT_LIMIT) };
        let limit = digits(text).filter(|n| (1..=MAX_LIMIT).contains(n));
        limit.ok_or_else(|| bad("limit", text, &format!("a number from 1 to {MAX_LIMIT}")))
    }

    /// The value of `after`.
    pub(super) fn after(&self) -> Result<Option<Position>, Problem> {
        let Some(text) = self.text("after") else { return Ok(None) };
        let part =
            |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        // The API document states this maximum. No log has longer positions.
        let fits =
            text.split_once(':').is_some_and(|(partition, offset)| part(partition, 9) && part(offset, 18));
        let position = text.parse().ok().filter(|_| fits);
        position.map(Some).ok_or_else(|| bad("after", text, "a position (such as 3:1045)"))
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // In a query `+` means a space. Before an offset, a space can only stand for a plus.
        let time = match text.rsplit_once(' ') {
            Some((time, offset)) if time.len() > 10 => format!("{time}+{offset}").parse(),
            _ => text.parse(),
        };
        time.map(Some).map_err(|_| bad(name, text, "an RFC 3339 time (such as 2026-11-24T08:00:00Z)"))
    }
}

/// The problem of a value that is not `expected`.
pub(super) fn bad(name: &str, value: &str, expected: &str) -> Problem {
    Problem::invalid(format!("`{name}` is {:?}, expected {expected}", shown(value))).field(name)
}

fn digits<T: FromStr>(text: &str) -> Option<T> {
    let all_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

/// The part of a client's text that an error repeats.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
