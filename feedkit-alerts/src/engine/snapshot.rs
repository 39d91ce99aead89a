//! A snapshot of all rules, written piece by piece.

use feedkit_core::alert_log::{ExactStates, Pieces, RuleStates};
use feedkit_core::{ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::encoding::{corrupt, put, take};
use super::hashed::KeyHasher;
use super::running::RunningRule;

/// The rules' states as a snapshot stores them, with the exact states that belong to it.
pub(crate) struct RulesSnapshot<'r> {
    running: &'r [RunningRule],
    common: Vec<u8>,
}

/// The name of the part that belongs to no rule.
const COMMON: &str = "";
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Common {
    seed: u64,
    watermark: Timestamp,
}

impl<'r> RulesSnapshot<'r> {
    pub(super) fn new(running: &'r [RunningRule], hasher: KeyHasher, watermark: Timestamp) -> Result<Self> {
        let common = put(&Common { seed: hasher.seed, watermark }, vec![VERSION])?;
        Ok(RulesSnapshot { running, common })
    }
}

/// Reads the part of a snapshot that belongs to no rule.
pub(super) fn read_common(states: &[(String, Vec<u8>)]) -> Result<(KeyHasher, Timestamp)> {
    let common = part(states, COMMON).ok_or_else(|| corrupt("has no head"))?;
    let (Common { seed, watermark }, _) = take(versioned(common)?)?;
    Ok((KeyHasher { seed }, watermark))
}

/// Sets the rules' states to those of a snapshot.
pub(super) fn restore(running: &mut [RunningRule], states: &[(String, Vec<u8>)]) -> Result<()> {
    for rule in running.iter_mut().map(RunningRule::common_mut) {
        let Some(bytes) = part(states, rule.name()) else { continue };
        match versioned(bytes).and_then(|bytes| rule.restore(bytes)) {
            Ok(()) => {}
            // The rule's form may have changed. States that may be dropped at any time may be
            // dropped for that reason, too.
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                let rule = rule.name();
                tracing::warn!(rule, error = %e, "the snapshot of a rule cannot be read; the rule starts over");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn part<'s>(states: &'s [(String, Vec<u8>)], name: &str) -> Option<&'s [u8]> {
    states.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
}

fn versioned(bytes: &[u8]) -> Result<&[u8]> {
    match bytes {
        [VERSION, rest @ ..] => Ok(rest),
        _ => Err(corrupt(&format!("has another version than {VERSION}"))),
    }
}

impl RuleStates for RulesSnapshot<'_> {
    fn rules(&self) -> Vec<&str> {
        std::iter::once(COMMON).chain(self.running.iter().map(|rule| rule.common().name())).collect()
    }

    fn state<'a>(&'a self, rule: &str) -> Pieces<'a> {
        if rule == COMMON {
            return Box::new(std::iter::once_with(|| Ok(self.common.clone())));
        }
        let found = self.running.iter().map(RunningRule::common).find(|running| running.name() == rule);
        let version = std::iter::once_with(|| Ok(vec![VERSION]));
        Box::new(found.into_iter().flat_map(move |running| version.clone().chain(running.snapshot())))
    }

    fn exact(&self) -> ExactStates<'_> {
        Box::new(self.running.iter().filter_map(RunningRule::exact).flat_map(|rule| rule.dirty_states()))
    }
}
