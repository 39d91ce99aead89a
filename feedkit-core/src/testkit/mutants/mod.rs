//! Backends that are broken on purpose, each in one way: a conformance suite is worth what it rejects.
//!
//! Each kind of mutant wraps the memory backend, and behaves like it but for its fault.

mod access;
mod alert_log;
mod alert_rule;
mod cache;
mod counters;
mod follower;
mod history;
mod queries;
mod sink;
mod source;

pub use access::{LimiterFault, MutantLimiter, MutantTokens, TokenFault};
pub use alert_log::{AlertLogFault, MutantAlertLog};
pub use alert_rule::{MutantRule, RuleFault};
pub use cache::{CacheFault, MutantCache};
pub use counters::{CounterFault, MutantCounters};
pub use follower::{FollowerFault, MutantFollower};
pub use history::{HistoryFault, MutantHistory};
pub use queries::{MutantQueries, QueryFault};
pub use sink::{MutantSink, SinkFault};
pub use source::{MutantSource, SourceFault};

/// Declares an enum of faults, with a list of all of them, or lists of those that one suite must reject each.
macro_rules! faults {
    ($(#[$doc:meta])* $name:ident { $($(#[$fault_doc:meta])* $fault:ident,)* }) => {
        faults! {
            $(#[$doc])* $name {
                /// All of them.
                ALL { $($(#[$fault_doc])* $fault,)* }
            }
        }
    };
    ($(#[$doc:meta])* $name:ident {
        $($(#[$list_doc:meta])* $list:ident { $($(#[$fault_doc:meta])* $fault:ident,)* })+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($($(#[$fault_doc])* $fault,)*)+
        }

        impl $name {
            $($(#[$list_doc])* pub const $list: &[$name] = &[$($name::$fault,)*];)+
        }
    };
}
use faults;
