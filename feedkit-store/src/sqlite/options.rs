//! How a data directory is used.

/// How a data directory is used. The defaults suit a laptop and a small server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Partitions of a topic. Counts when the directory is made; later the number is what it was then.
    pub partitions: u32,
    /// Page cache of the state's writer, in bytes.
    pub state_cache_bytes: u64,
    /// Page cache of the log's writer, in bytes.
    pub log_cache_bytes: u64,
    /// Page cache of each reading connection, in bytes.
    pub reader_cache_bytes: u64,
    /// Most reads of one file at a time.
    pub readers: usize,
}

impl Default for SqliteOptions {
    /// Four partitions; 32 MiB of cache for the state, 8 MiB for the log, 4 MiB a reader; four readers.
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
