//! Rules are configured from TOML, and faults name the setting.

use std::time::Duration;

use feedkit_alerts::{RuleSet, RulesConfig};
use feedkit_core::ErrorKind;

#[test]
fn keys_that_are_left_out_have_their_defaults() {
    let config = RulesConfig::from_toml(
        "[rules.spike]\nwindow = \"20s\"\nbaseline = \"1h 30m\"\nmin_likes = 7\n[rules.milestone]\nthresholds = [5]\n",
    )
    .unwrap();
    let default = RulesConfig::default();
    assert_eq!(config.spike.window, Duration::from_secs(20));
    assert_eq!(config.spike.baseline, Duration::from_secs(5_400));
    assert_eq!((config.spike.min_likes, config.spike.min_factor), (7, default.spike.min_factor));
    assert_eq!(config.milestone.thresholds, [5]);
    assert_eq!(config.user_rate, default.user_rate);
    assert_eq!(RulesConfig::from_toml("").unwrap(), default);
}

#[test]
fn rules_can_be_disabled() {
    let set = RuleSet::from_toml("[rules]\nspike = { enabled = false }\n[rules.milestone]\nenabled = false")
        .unwrap();
    assert_eq!(set.names().collect::<Vec<_>>(), ["user_rate"]);
}

#[test]
fn errors_name_the_key() {
    for (text, parts) in [
        ("[rules.spike]\nwindw = \"10s\"", &["windw", "`window`", "`min_likes`", "line 2"][..]),
        ("[rules.spikes]\n", &["spikes", "`spike`", "`milestone`", "`user_rate`"]),
        ("[rule.spike]\n", &["`rule`", "`rules`"]),
        ("[rules.spike]\nwindow = 10", &["window = 10", "line 2"]),
        ("[rules.spike]\nwindow = \"soon\"", &["window = ", "\"soon\" is not a duration", "\"10s\""]),
        ("[rules.spike]\nwindow = \"5ms\"", &["rules.spike.window", "5ms", "1s"]),
        ("[rules.spike]\nbaseline = \"20s\"", &["rules.spike.baseline", "20s", "1m 40s"]),
        ("[rules.spike]\nmin_factor = nan", &["rules.spike.min_factor", "NaN"]),
        ("[rules.user_rate]\nmax_actions = 0", &["rules.user_rate.max_actions"]),
        ("[rules.user_rate]\nmax_keys = 0", &["rules.user_rate.max_keys"]),
        ("[rules.milestone]\nthresholds = [10, 10]", &["rules.milestone.thresholds", "ascending"]),
        ("[rules.milestone]\nthresholds = [0]", &["rules.milestone.thresholds", "positive"]),
        ("rules = 3", &["rules"]),
    ] {
        let error = RuleSet::from_toml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        for part in parts {
            assert!(error.to_string().contains(part), "{text:?} gives {error}, which lacks {part:?}");
        }
    }
}
