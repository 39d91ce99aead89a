//! The time now, handed in so that tests can set it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// Tells the time.
///
/// # Contract
///
/// Answers at once and never fails. It may go back; nothing in feedkit counts on its going forward.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<T: Clock + ?Sized> Clock for $pointer<T> {
            fn now(&self) -> Timestamp {
                (**self).now()
            }
        }
    };
}
forward!(Arc);
forward!(Box);
