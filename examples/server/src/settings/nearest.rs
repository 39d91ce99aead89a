use super::Key;

/// The key that was probably meant by `path`, which there is not.
pub(super) fn nearest<'k>(path: &str, keys: &'k [Key]) -> Option<&'k Key> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &Key| {
        let own = key.path();
        let whole = strsim::normalized_damerau_levenshtein(path, &own);
        // A right name in a wrong table is likely, too.
        let name = strsim::normalized_damerau_levenshtein(&last(path), &last(&own));
        whole.max(name * 0.99)
    };
    let best = keys.iter().map(|key| (likeness(key), key)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.7).then_some(best.1)
}
