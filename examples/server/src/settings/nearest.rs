//! Finds the setting that the user probably meant.

use super::Key;

/// The existing key that the user probably meant by the unknown key `path`.
pub(super) fn nearest<'k>(path: &str, keys: &'k [Key]) -> Option<&'k Key> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &Key| {
        let own = key.path();
        let whole = strsim::normalized_damerau_levenshtein(path, &own);
        // The name may be right, but in the wrong table.
        let name = strsim::normalized_damerau_levenshtein(&last(path), &last(&own));
        // The name may be too short, such as `secret` for `secret_file`.
        let cut = own.strip_prefix(path).is_some_and(|rest| rest.starts_with('_'));
        whole.max(name * 0.99).max(if cut { 0.9 } else { 0.0 })
    };
    let best = keys.iter().map(|key| (likeness(key), key)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.7).then_some(best.1)
}
