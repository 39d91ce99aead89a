//! The right to write alerts.

use crate::{Epoch, Timestamp};

/// The right to write alerts. An [`AlertLog`](crate::AlertLog) gives it to one owner at a time.
///
/// The alert log decides at each write whether the lease is still valid. A process that no longer
/// holds it cannot change anything, whatever its clock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The owner.
    pub owner: String,
    /// The epoch, which increases with each change of owner.
    pub epoch: Epoch,
    /// When it expires, by the clock that the alert log decides by.
    pub until: Timestamp,
}
