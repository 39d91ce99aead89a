//! The API as an OpenAPI document, made from the code, with a page to read it and try it out.
//!
//! `GET /openapi.json` is the document, `GET /docs` the page: Swagger UI, served from the program itself. The page
//! asks no other address for anything, and its Content-Security-Policy forbids it to.

mod bodies;
mod document;
mod operations;
mod page;
mod parameters;
mod responses;

pub use document::openapi;
pub(crate) use page::routes;
