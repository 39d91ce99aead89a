//! How a source reads.

/// How a source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Maximum number of records in a batch.
    pub max_records: usize,
    /// How many bytes of keys and values a batch may have before it takes no more records. A source
    /// reads one batch of each partition ahead. So it holds about this many bytes for each
    /// partition, and as many again for the batch that it is reading.
    pub max_bytes: usize,
}

impl Default for SourceOptions {
    /// 20,000 records or 4 MiB.
    fn default() -> Self {
        SourceOptions { max_records: 20_000, max_bytes: 4 << 20 }
    }
}
