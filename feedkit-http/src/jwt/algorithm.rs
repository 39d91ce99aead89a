//! The algorithms that sign tokens.

use std::fmt;
use std::str::FromStr;

use feedkit_core::Error;

/// A signature algorithm. The configuration pins one, and tokens cannot choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// `HS256`: a secret that signer and verifier share.
    Hs256,
    /// `RS256`: RSA keys of 2,048 to 4,096 bits.
    Rs256,
    /// `ES256`: keys on the curve P-256.
    Es256,
    /// `EdDSA`: Ed25519 keys.
    EdDsa,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: &[Algorithm] = &[Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    /// The name in tokens' headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub(super) fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Algorithm::ALL.iter().copied().find(|a| a.as_str() == name);
        found.ok_or_else(|| {
            Error::invalid(format!("{name:?} is no algorithm; there are HS256, RS256, ES256 and EdDSA"))
        })
    }
}
