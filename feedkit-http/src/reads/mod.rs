//! The reads over HTTP: posts, comments, activity, top lists, the caller's likes, and alerts.
//!
//! | file | what it contains |
//! |---|---|
//! | `routes` | the path of each read |
//! | `post`, `comments`, `activity`, `top`, `liked`, `alerts` | one call each, with its answer |
//! | `params`, `cursor` | query parameters and page cursors, checked |
//! | `shared` | who may read, waiting for a write, asking each backend |
//! | `optional` | backends that a read can do without |
//! | `cached`, `local_cache` | cached historical answers, with one query for concurrent readers |

mod activity;
mod alerts;
mod cached;
mod comments;
mod cursor;
mod liked;
mod local_cache;
mod optional;
mod params;
mod post;
mod routes;
mod shared;
mod top;

pub use local_cache::LocalCache;
pub(crate) use routes::routes;
pub(crate) use {
    activity::ActivityAnswer,
    alerts::AlertsAnswer,
    comments::CommentsAnswer,
    liked::{LikedAnswer, MAX_POSTS},
    params::{DEFAULT_LIMIT, MAX_LIMIT},
    post::PostAnswer,
    top::TopAnswer,
};
