//! The reasons why a client's connection ends, and their close codes.

use std::borrow::Cow;

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Maximum length of a close frame's reason in bytes.
const MAX_REASON: usize = 123;

/// The reason why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client is gone, or closed the connection.
    Gone,
    /// The client does not answer pings.
    Silent,
    /// The gateway is stopping, or cannot continue for this client.
    Restarting(&'static str),
    /// The client sent no token, or one that is not valid.
    Unauthenticated(String),
    /// The client's token has expired.
    Expired,
    /// The client sent a token of another user.
    Forbidden(&'static str),
    /// The client violates the protocol.
    Policy(String),
    /// The client does not keep up.
    TooSlow(Slow),
    /// There are too many clients, or the client sends too many frames.
    TooMany(&'static str),
}

/// How a client fell behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slow {
    /// The frames that it still needed have left the window.
    Window,
    /// Too many notifications came while it recovered.
    Recovery,
    /// It read nothing for some time.
    Stalled,
    /// Too many bytes wait for it alone.
    OwnBytes,
}

impl Slow {
    /// The label of this cause in the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Slow::Window => "window",
            Slow::Recovery => "recovery",
            Slow::Stalled => "stalled",
            Slow::OwnBytes => "own_bytes",
        }
    }
}

impl Ending {
    /// The code of the close frame; `None` when the client is gone.
    pub(super) fn code(&self) -> Option<u16> {
        Some(match self {
            Ending::Gone => return None,
            Ending::Silent => 1001,
            Ending::Restarting(_) => 1012,
            Ending::Unauthenticated(_) => 4001,
            Ending::Expired => 4002,
            Ending::Forbidden(_) => 4003,
            Ending::Policy(_) => 4008,
            Ending::TooSlow(_) => 4009,
            Ending::TooMany(_) => 4029,
        })
    }

    /// The name of the reason, for the last event of a stream.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Ending::Gone | Ending::Silent => "gone",
            Ending::Restarting(_) => "restarting",
            Ending::Unauthenticated(_) => "unauthenticated",
            Ending::Expired => "token-expired",
            Ending::Forbidden(_) => "forbidden",
            Ending::Policy(_) => "policy",
            Ending::TooSlow(_) => "too-slow",
            Ending::TooMany(_) => "too-many",
        }
    }

    /// The reason in words.
    pub(super) fn reason(&self) -> Cow<'_, str> {
        match self {
            Ending::Gone => "the client is gone".into(),
            Ending::Silent => "no answer to pings".into(),
            Ending::Restarting(why) | Ending::Forbidden(why) | Ending::TooMany(why) => (*why).into(),
            Ending::Unauthenticated(why) | Ending::Policy(why) => why.into(),
            Ending::Expired => "the token ran out".into(),
            Ending::TooSlow(_) => "too slow: come back with the cursor".into(),
        }
    }

    /// The close frame; `None` when the client is gone.
    pub(super) fn close_frame(&self) -> Option<CloseFrame> {
        let reason = self.reason();
        let mut end = MAX_REASON.min(reason.len());
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Some(CloseFrame { code: CloseCode::from(self.code()?), reason: reason[..end].into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame() {
        let frame = Ending::Policy("é".repeat(100)).close_frame().unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.len()), (4008, 122));
        assert_eq!(Ending::Gone.close_frame(), None);
    }
}
