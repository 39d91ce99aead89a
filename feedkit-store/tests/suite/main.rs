//! What the backends of this crate promise, on real files.

#[cfg(feature = "sqlite")]
mod sqlite;
