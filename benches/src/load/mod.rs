//! Load over HTTP and WebSocket for any server that speaks feedkit's wire format, and the bare
//! limit to compare it with.

pub mod bare;
pub mod http;
pub mod push;
pub mod token;
