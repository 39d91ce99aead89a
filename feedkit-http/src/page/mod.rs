//! The live page: a browser page that shows this gateway's feed and lets a visitor try it.
//!
//! The binary contains the page's files. They need no build step; see `assets/`. The page's
//! WebSocket client, `feedkit-client.js`, is a separate file that other pages can use.

mod assets;
mod routes;

pub(crate) use routes::routes;
