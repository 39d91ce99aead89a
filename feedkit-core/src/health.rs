//! Whether a gateway is fit to take requests, component by component.

use serde::Serialize;

/// What readiness is made of.
///
/// # Contract
///
/// Answers at once, from what is known; looks nothing up.
pub trait Health: Send + Sync + 'static {
    /// Every component there is, also those that are well, always in the same order.
    fn components(&self) -> Vec<Component>;
}

/// One component's condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Component {
    /// Its name, such as `log` or `counters`.
    pub name: String,
    /// How it is.
    pub condition: Condition,
    /// What is wrong, in words that an operator can act on and that name no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Well.
    Up,
    /// Something is missing, but requests are served: a gateway stays ready.
    Degraded,
    /// Requests fail: a gateway is not ready.
    Down,
}

impl Component {
    /// A component that is well.
    pub fn up(name: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Up, detail: None }
    }

    /// A component that misses something.
    pub fn degraded(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Degraded, detail: Some(detail.into()) }
    }

    /// A component without which requests fail.
    pub fn down(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Down, detail: Some(detail.into()) }
    }
}
