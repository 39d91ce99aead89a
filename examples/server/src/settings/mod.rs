//! Settings from flags, variables and a file. Each key is described once.
//!
//! [`settings!`](crate::settings!) defines a struct for one table of the file. Each field is a key
//! of that table, a flag and a `FEEDKIT_…` variable. The flag overrides the variable, the variable
//! overrides the file, and the file overrides the default. An empty variable counts as not set. A
//! wrong value is refused with an error, which names the key, where the value comes from, and what
//! is allowed.
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
