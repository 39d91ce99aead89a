//! The live page: what happens at this gateway, to look at and to try, in a browser.
//!
//! It is served from the binary and made of plain files, without a build step; see `assets/`. Its client of the
//! WebSocket, `feedkit-client.js`, is a file of its own that others may take.

mod assets;
mod routes;

pub(crate) use routes::routes;
