//! The suite of alert rules.

use std::collections::{BTreeMap, BTreeSet};

use super::sentence::Sentence;
use crate::alert::{AlertRule, Keeping, OwnedKey, RuleContext};
use crate::effect::Effect;
use crate::notification::Notification;
use crate::{Timestamp, UserId};

/// Tests the contract of [`AlertRule`] with `effects`, which should make the rule raise alerts.
/// Returns what the rule raised.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub fn alert_rule<R: AlertRule>(fresh: impl Fn() -> R, effects: &[Effect]) -> Vec<Notification> {
    let rule = fresh();
    if let Keeping::Evictable { max_keys } = rule.keeping() {
        let says = Sentence("an evictable state takes at most 64 bytes in memory and contains no heap data");
        let bytes = std::mem::size_of::<R::State>();
        says.holds(bytes <= 64, format_args!("a state takes {bytes} bytes"));
        says.holds(!std::mem::needs_drop::<R::State>(), "the state has a destructor");
        says.holds(max_keys > 0, "no key is kept");
    }
    let says = Sentence("the key of an effect depends on the effect alone");
    let (again, twice) = (fresh(), fresh());
    for effect in effects {
        says.equal("key", twice.key(effect), again.key(effect));
        says.equal("key asked again", twice.key(effect), again.key(effect));
    }
    let says = Sentence("a replay in the recorded order raises the same alerts with the same ids");
    let raised = run(says, &rule, effects, Keep::InMemory);
    says.equal("alerts of another instance", run(says, &fresh(), effects, Keep::InMemory), &raised[..]);
    says.equal("alerts of the same instance", run(says, &rule, effects, Keep::InMemory), &raised[..]);
    let says = Sentence(
        "the results depend on the state alone: a state that was saved and loaded gives the same alerts",
    );
    says.equal("alerts", run(says, &rule, effects, Keep::AsBytes), &raised[..]);
    let says =
        Sentence("the id of a notification depends on the rule, the key, and the threshold or episode");
    let mut ids = BTreeSet::new();
    for notification in &raised {
        says.holds(ids.insert(&notification.id), format_args!("{:?} is raised twice", notification.id));
    }
    let says = Sentence("an exact state depends on the effects of its own key alone");
    if rule.keeping() == Keeping::Exact {
        let mut by_key: BTreeMap<OwnedKey, Vec<Effect>> = BTreeMap::new();
        for effect in effects {
            if let Some(key) = rule.key(effect) {
                by_key.entry(key.to_owned()).or_default().push(effect.clone());
            }
        }
        let apart = by_key.values().flat_map(|effects| run(says, &fresh(), effects, Keep::InMemory));
        let apart: BTreeSet<_> = apart.map(|n| n.id).collect();
        says.equal("ids", apart.iter().collect::<BTreeSet<_>>(), ids);
    }
    raised
}

/// How states are kept between two effects.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    InMemory,
    AsBytes,
}

/// How many effects to observe between two watermarks.
const STEP: usize = 50;

fn run<R: AlertRule>(says: Sentence, rule: &R, effects: &[Effect], keep: Keep) -> Vec<Notification> {
    let mut states: BTreeMap<OwnedKey, R::State> = BTreeMap::new();
    let mut context = Context::default();
    for step in effects.chunks(STEP) {
        let mut watermark = Timestamp::EPOCH;
        for effect in step {
            watermark = watermark.max(effect.time);
            let Some(key) = rule.key(effect) else { continue };
            let key = key.to_owned();
            let state = states.entry(key.clone()).or_default();
            context.enter(&key, Some(&effect.user));
            rule.observe(state, effect, &mut context);
            if keep == Keep::AsBytes {
                *state = reloaded::<R>(says, state);
            }
        }
        for key in context.watched.keys().cloned().collect::<Vec<_>>() {
            let state = states.entry(key.clone()).or_default();
            context.enter(&key, None);
            rule.advance(state, &key, watermark, &mut context);
            if keep == Keep::AsBytes {
                *state = reloaded::<R>(says, state);
            }
        }
    }
    context.raised
}

fn reloaded<R: AlertRule>(says: Sentence, state: &R::State) -> R::State {
    let loaded = postcard::to_stdvec(state).and_then(|bytes| postcard::from_bytes(&bytes));
    loaded.unwrap_or_else(|e| says.broken(format_args!("a state cannot be saved and loaded: {e}")))
}

/// Collects what the rule raises. The number of watched keys is not limited.
#[derive(Default)]
struct Context {
    key: Option<OwnedKey>,
    watched: BTreeMap<OwnedKey, Vec<UserId>>,
    raised: Vec<Notification>,
}

/// Maximum number of users kept per watched key.
const SAMPLES: usize = 20;

impl Context {
    fn enter(&mut self, key: &OwnedKey, user: Option<&UserId>) {
        self.key = Some(key.clone());
        if let (Some(samples), Some(user)) = (self.watched.get_mut(key), user)
            && samples.len() < SAMPLES
            && !samples.contains(user)
        {
            samples.push(user.clone());
        }
    }
}

impl RuleContext for Context {
    fn raise(&mut self, notification: Notification) {
        self.raised.push(notification);
    }
    fn watch(&mut self) {
        if let Some(key) = self.key.clone() {
            self.watched.entry(key).or_default();
        }
    }
    fn unwatch(&mut self) {
        if let Some(key) = &self.key {
            self.watched.remove(key);
        }
    }
    fn samples(&self) -> &[UserId] {
        self.key.as_ref().and_then(|key| self.watched.get(key)).map_or(&[], |samples| samples)
    }
}
