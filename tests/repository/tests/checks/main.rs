//! Checks of the repository as a whole.

mod dependencies;
mod documents;
mod layout;
mod licences;
mod operations;
mod phrases;
mod services;
mod support;
