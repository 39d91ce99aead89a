//! The health of a program, component by component.

use serde::Serialize;

/// Reports the condition of the components of a program.
///
/// # Contract
///
/// The answer is immediate and uses what is already known. The call looks nothing up.
pub trait Health: Send + Sync + 'static {
    /// Returns every component, including those that are up, always in the same order.
    fn components(&self) -> Vec<Component>;
}

/// The condition of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Component {
    /// Its name, such as `log` or `counters`.
    pub name: String,
    /// Its condition.
    pub condition: Condition,
    /// What is wrong. An operator can act on the text, and it contains no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The condition of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The component works.
    Up,
    /// Something does not work, but requests succeed. A gateway stays ready.
    Degraded,
    /// Requests fail. A gateway is not ready.
    Down,
}

impl Component {
    /// Creates a component that works.
    pub fn up(name: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Up, detail: None }
    }

    /// Creates a component of which something does not work.
    pub fn degraded(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Degraded, detail: Some(detail.into()) }
    }

    /// Creates a component without which requests fail.
    pub fn down(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Component { name: name.into(), condition: Condition::Down, detail: Some(detail.into()) }
    }
}
