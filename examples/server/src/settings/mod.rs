//! Settings from flags, variables and a file, each key described once.
//!
//! [`settings!`](crate::settings!) makes a struct of one table of the file. Every field of it is a key of that table, a
//! flag and a `FEEDKIT_…` variable; the flag goes before the variable, the variable before the file, the file before
//! the default. A variable that is empty counts as not set. What cannot be right is refused, with the key, the place
//! that it comes from, and what would be right.
//!
//! ```
//! use feedkit_server::settings::{ByteSize, Layers, Sections};
//!
//! feedkit_server::settings! {
//!     /// The front door.
//!     pub struct Door in "door" {
//!         /// How wide it opens.
//!         width: ByteSize = ByteSize::kib(4),
//!         /// Who may come in.
//!         guests: Vec<String> = Vec::new(),
//!     }
//! }
//!
//! let variable = |name: &str| (name == "FEEDKIT_WIDTH").then(|| "1MiB".into());
//! let layers = Layers::new::<(Door,)>(&[], Default::default(), variable, None)?;
//! let (door,) = <(Door,)>::load(&layers)?;
//! assert_eq!(door.width, ByteSize::mib(1));
//! # Ok::<(), feedkit_server::Failure>(())
//! ```

mod file;
mod flags;
mod key;
mod layers;
mod nearest;
mod reference;
mod secret;
mod section;
mod size;
mod value;

pub use crate::choice;
pub use file::{File, Raw};
pub use flags::{ConfigFile, Flags, Given};
pub use key::Key;
pub use layers::{Layers, Origin};
pub use reference::reference;
pub use secret::Secret;
pub use section::{Section, Sections};
pub use size::ByteSize;
pub use value::{Shape, Value};
