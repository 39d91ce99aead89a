//! The gateway, together with the processor, on the real services: each a process, as they are deployed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod after;
mod away;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/clients.rs"]
mod clients;
mod commands;
mod door;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/http.rs"]
mod http;
mod jwks;
mod kill;
mod notify;
mod process;
mod shared;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/socket.rs"]
mod socket;
mod tls;
#[allow(dead_code, reason = "shared with the tests of feedkit")]
#[path = "../../../standalone/tests/suite/told.rs"]
mod told;
mod world;
