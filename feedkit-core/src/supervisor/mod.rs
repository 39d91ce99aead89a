//! Runs the parts of a program together, stops them in order, and says which part failed and why.
//!
//! A program that embeds feedkit runs several parts side by side: the pipeline, the relay of
//! notifications, a gateway, parts of its own. A [`Supervisor`] runs each part as a task, watches
//! all of them, and stops them one after another. It joins every task that it spawns.
//!
//! ```
//! use feedkit_core::memory::{MemoryHistory, MemoryLog};
//! use feedkit_core::sink::{EventSink, NewRecord};
//! use feedkit_core::supervisor::Supervisor;
//! use feedkit_core::{Pipeline, SystemClock};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> feedkit_core::Result<()> {
//! let log = MemoryLog::new(4, SystemClock);
//! let pipeline = Pipeline::builder(log.reader("feedkit"), Arc::new(MemoryHistory::new())).build();
//! let handle = pipeline.handle();
//! let supervisor = Supervisor::builder().part("pipeline", |stop| pipeline.run(stop)).build();
//!
//! // A server passes a token to `run` instead, and cancels the token on a signal.
//! let status = supervisor
//!     .run_until(async {
//!         let like = r#"{"userId":"u1","postId":"p9","type":"like"}"#;
//!         let at = log.send(vec![NewRecord::keyed("u1", like.into())]).await.remove(0)?;
//!         handle.reached(&[(at.partition, at.offset)].into_iter().collect()).await
//!     })
//!     .await??;
//! assert_eq!(status.counts.accepted, 1);
//! # Ok(())
//! # }
//! ```

mod builder;
mod failure;
mod part;
mod run;
mod status;

pub use builder::SupervisorBuilder;
pub use failure::{Cause, Failure, PartFailed};
pub use part::Part;
pub use run::Supervisor;
pub use status::{PartState, PartStatus, SupervisorHandle};
