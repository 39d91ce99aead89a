//! The code in the documents, compiled and run as doc tests.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
pub struct Embedding;

#[cfg(doctest)]
#[doc = include_str!("../../../feedkit-store/README.md")]
pub struct Store;

#[cfg(doctest)]
#[doc = include_str!("../../../feedkit-alerts/README.md")]
pub struct Alerts;
