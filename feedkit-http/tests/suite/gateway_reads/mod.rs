//! What the gateway answers to reads, which tokens it believes, and whether its document tells the
//! truth.

mod after;
mod caching;
mod jwks;
mod jwt;
mod keys;
mod lists;
mod openapi;
mod personal;
mod posts;
mod refusals;
mod schema;
mod world;
