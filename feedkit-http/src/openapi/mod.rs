//! The API as an OpenAPI document, made from the code, with a page to read it and try it out.
//!
//! `GET /openapi.json` returns the document, and `GET /docs` a page with Swagger UI from the
//! binary. The page loads nothing from other hosts; its Content-Security-Policy forbids that.

mod bodies;
mod document;
mod operations;
mod page;
mod parameters;
mod responses;

pub use document::openapi;
pub(crate) use page::routes;
