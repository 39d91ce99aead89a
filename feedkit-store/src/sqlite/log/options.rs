//! How a source reads.

/// How a source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Most records of a batch.
    pub max_records: usize,
    /// Bytes of keys and values from which a batch takes no more records. One batch of each partition is read
    /// ahead, so a source holds at most about so much a partition, and once more for the one being read.
    pub max_bytes: usize,
}

impl Default for SourceOptions {
    /// 20,000 records or 4 MiB.
    fn default() -> Self {
        SourceOptions { max_records: 20_000, max_bytes: 4 << 20 }
    }
}
