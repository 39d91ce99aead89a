//! Finding the user of a request.

use std::sync::Arc;

use feedkit_core::ErrorKind;
use feedkit_core::access::Identity;
use poem::Request;
use poem::http::header::AUTHORIZATION;

use super::Caller;
use crate::Problem;
use crate::state::State;

impl State {
    /// The identity that the request's token proves.
    ///
    /// # Errors
    ///
    /// 401 without a token, or with one that is refused; 503 when the token cannot be verified now.
    pub(crate) async fn identify(&self, request: &Request) -> Result<Identity, Problem> {
        let Some(token) = bearer(request) else {
            return Err(Problem::unauthenticated("the header `Authorization: Bearer TOKEN` is missing"));
        };
        let identity = self.tokens.verify(token).await.map_err(|error| match error.kind() {
            ErrorKind::Invalid => Problem::unauthenticated(error.to_string()),
            _ => Problem::from(error),
        })?;
        if let Some(caller) = request.data::<Arc<Caller>>() {
            caller.identified(&identity.user);
        }
        Ok(identity)
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
