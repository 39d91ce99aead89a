//! The tasks of HTTP/2 streams.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs the streams of HTTP/2 connections as tasks that end with the server.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) tasks: TaskTracker,
    pub(super) killed: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let killed = self.killed.clone();
        self.tasks.spawn(async move {
            killed.run_until_cancelled(stream).await;
        });
    }
}
