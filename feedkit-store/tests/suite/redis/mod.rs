//! The Redis backend, against servers that each test starts for itself on loopback ports.

mod acl;
mod applying;
mod cluster;
mod conformance;
mod following;
mod hanging;
mod lists;
mod policy;
mod rebuilding;
mod shared;
mod speed;
mod support;
mod tls;
mod world;
