//! Why a client's connection ends, and how it is told.

use std::borrow::Cow;

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The most bytes that a close frame's reason may have.
const MAX_REASON: usize = 123;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client is gone, or said that it goes.
    Gone,
    /// It answers no pings.
    Silent,
    /// The gateway stops, or cannot go on for this client.
    Restarting(&'static str),
    /// It has not said who it is, or not believably.
    Unauthenticated(String),
    /// Its token ran out.
    Expired,
    /// It wants to be somebody else.
    Forbidden(&'static str),
    /// It does what no client should.
    Policy(String),
    /// More waits for it than is kept, or it reads nothing.
    TooSlow,
    /// There are too many clients, or it says too much.
    TooMany(&'static str),
}

impl Ending {
    /// The code of the close frame; `None` when nobody is there to be told.
    pub(super) fn code(&self) -> Option<u16> {
        Some(match self {
            Ending::Gone => return None,
            Ending::Silent => 1001,
            Ending::Restarting(_) => 1012,
            Ending::Unauthenticated(_) => 4001,
            Ending::Expired => 4002,
            Ending::Forbidden(_) => 4003,
            Ending::Policy(_) => 4008,
            Ending::TooSlow => 4009,
            Ending::TooMany(_) => 4029,
        })
    }

    /// The same as a name, for a stream's last `error`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Ending::Gone | Ending::Silent => "gone",
            Ending::Restarting(_) => "restarting",
            Ending::Unauthenticated(_) => "unauthenticated",
            Ending::Expired => "token-expired",
            Ending::Forbidden(_) => "forbidden",
            Ending::Policy(_) => "policy",
            Ending::TooSlow => "too-slow",
            Ending::TooMany(_) => "too-many",
        }
    }

    /// Why, in words.
    pub(super) fn reason(&self) -> Cow<'_, str> {
        match self {
            Ending::Gone => "the client is gone".into(),
            Ending::Silent => "no answer to pings".into(),
            Ending::Restarting(why) | Ending::Forbidden(why) | Ending::TooMany(why) => (*why).into(),
            Ending::Unauthenticated(why) | Ending::Policy(why) => why.into(),
            Ending::Expired => "the token ran out".into(),
            Ending::TooSlow => "too slow: come back with the cursor".into(),
        }
    }

    /// The close frame, if one is to be sent.
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
