//! Sockets and streams, from outside, over real connections.

mod auth;
mod bounds;
mod bursts;
mod channels;
mod counts;
mod document;
mod events;
mod lost;
mod reconnect;
mod recovery;
mod socket;
mod streams;
mod world;
