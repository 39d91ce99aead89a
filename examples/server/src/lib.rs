//! What the feedkit servers share.
