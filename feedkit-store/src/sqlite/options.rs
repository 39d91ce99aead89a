//! How to use a data directory.

/// How to use a data directory. The defaults suit a laptop and a small server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The number of partitions of each topic. It is used when the directory is made, and cannot
    /// change later.
    pub partitions: u32,
    /// The page cache of the state's writer, in bytes.
    pub state_cache_bytes: u64,
    /// The page cache of the log's writer, in bytes.
    pub log_cache_bytes: u64,
    /// The page cache of each reading connection, in bytes.
    pub reader_cache_bytes: u64,
    /// Maximum number of reads of one file at the same time.
    pub readers: usize,
}

impl Default for SqliteOptions {
    /// Four partitions; caches of 32 MiB for the state, 8 MiB for the log and 4 MiB for each
    /// reader; four readers.
    fn default() -> Self {
        SqliteOptions {
            partitions: 4,
            state_cache_bytes: 32 << 20,
            log_cache_bytes: 8 << 20,
            reader_cache_bytes: 4 << 20,
            readers: 4,
        }
    }
}
