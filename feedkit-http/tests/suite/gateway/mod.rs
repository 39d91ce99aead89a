//! The gateway from outside, over real sockets, on backends in memory.

mod access_log;
mod batch;
mod bodies;
mod client;
mod connections;
mod events;
mod limits;
mod probes;
mod shutdown;
mod world;
