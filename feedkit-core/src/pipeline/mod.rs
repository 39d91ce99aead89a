//! x
/// x
pub struct Pipeline;
