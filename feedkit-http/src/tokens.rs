//! Verifying a token, for requests and for sockets.

use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::Identity;
use feedkit_core::{Clock, Result, TokenVerifier};

use crate::Parts;
use crate::in_time::in_time;

/// The gateway's token verifier, with a time-out.
#[derive(Clone)]
pub(crate) struct Tokens {
    verifier: Arc<dyn TokenVerifier>,
    clock: Arc<dyn Clock>,
    limit: Duration,
}

impl Tokens {
    /// The verifier of `parts`, which has to answer within `limit`.
    pub(crate) fn new(parts: &Parts, limit: Duration) -> Self {
        Tokens { verifier: Arc::clone(&parts.tokens), clock: Arc::clone(&parts.clock), limit }
    }

    /// The identity that `token` proves.
    ///
    /// # Errors
    ///
    /// [`Invalid`](feedkit_core::ErrorKind::Invalid) for a token that is refused; any other kind
    /// when the token cannot be verified now.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity> {
        let now = self.clock.now();
        in_time(self.limit, "the token verifier", self.verifier.verify(token, now)).await
    }
}
