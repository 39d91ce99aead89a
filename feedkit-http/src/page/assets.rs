//! The page's files, in the binary.

use xxhash_rust::xxh3::xxh3_128;

/// One file.
pub(super) struct Asset {
    /// Its name below `assets/`.
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal)*) => {
        /// Every file that is served below `assets/`.
        pub(super) const ASSETS: &[Asset] =
            &[$(Asset { name: $name, bytes: include_bytes!(concat!("assets/", $name)) }),*];
    };
}

/// The page itself.
pub(super) const PAGE: Asset = Asset { name: "index.html", bytes: include_bytes!("assets/index.html") };

assets! {
    "actions.js"
    "api.js"
    "chart.js"
    "dom.js"
    "feedkit-client.d.ts"
    "feedkit-client.js"
    "format.js"
    "icon.svg"
    "metrics.js"
    "page.css"
    "page.js"
    "poll.js"
    "ranking.js"
    "ring.js"
    "segments.js"
    "series.js"
    "token.js"
    "uuid7.js"
    "view-act.js"
    "view-activity.js"
    "view-connection.js"
    "view-feed.js"
    "view-post.js"
    "view-ranks.js"
    "view-stats.js"
    "view-top.js"
}

impl Asset {
    pub(super) fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// A tag that changes with the content, so that a browser loads a file only once.
    pub(super) fn etag(&self) -> String {
        format!("\"{:032x}\"", xxh3_128(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn no_file_is_left_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/assets");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html" && name != "package.json")
            .collect();
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(served, there);
    }

    #[test]
    fn an_etag_follows_from_the_content() {
        let tags: BTreeSet<String> = ASSETS.iter().map(Asset::etag).collect();
        assert_eq!(tags.len(), ASSETS.len());
        assert_eq!(PAGE.etag(), PAGE.etag());
    }
}
