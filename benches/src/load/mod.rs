//! Load over HTTP and WebSocket, for any server that speaks feedkit's wire, and the bare limit to hold it against.

pub mod bare;
pub mod http;
pub mod push;
pub mod token;
