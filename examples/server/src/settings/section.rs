//! The settings of one table of the file, and the macro that defines them.

use super::{Key, Layers};
use crate::Failure;

/// The settings of one table of the file. Made by [`settings!`](crate::settings!).
pub trait Section: Sized {
    /// The table, such as `gateway.live`; empty for the top of the file.
    const TABLE: &'static str;

    /// What the table is for.
    fn about() -> String;

    /// Its keys, in the order of the fields.
    fn keys() -> Vec<Key>;

    /// The effective values.
    fn load(layers: &Layers) -> Result<Self, Failure>;
}

/// Several tables.
pub trait Sections: Sized {
    /// What each table is for, and its keys.
    fn described() -> Vec<(&'static str, String, Vec<Key>)>;

    /// The effective values.
    fn load(layers: &Layers) -> Result<Self, Failure>;

    /// All keys.
    fn keys() -> Vec<Key> {
        Self::described().into_iter().flat_map(|(_, _, keys)| keys).collect()
    }
}

macro_rules! tuple {
    ($($section:ident)+) => {
        impl<$($section: Section),+> Sections for ($($section,)+) {
            fn described() -> Vec<(&'static str, String, Vec<Key>)> {
                vec![$(($section::TABLE, $section::about(), $section::keys())),+]
            }
            fn load(layers: &Layers) -> Result<Self, Failure> {
                Ok(($($section::load(layers)?,)+))
            }
        }
    };
}
tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
tuple!(A B C D E F G H I);
tuple!(A B C D E F G H I J);
tuple!(A B C D E F G H I J K);
tuple!(A B C D E F G H I J K L);

/// Defines one table of the file: a struct with a field for each key. A key has a type, a default,
/// and its help text as documentation. With `as "jwt_"`, the names of flags and variables begin
/// with `jwt_`. Otherwise they are the names of the keys, which must be unique among all tables of
/// a program. A key may have its own name for flag and variable: `brokers as "kafka"` is `--kafka`.
/// See [`settings`](mod@crate::settings).
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $section:ident in $table:literal $(as $prefix:literal)? {
            $( $(#[doc = $help:literal])* $key:ident $(as $word:literal)? : $type:ty = $default:expr ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        $vis struct $section {
            $( $(#[doc = $help])* pub $key: $type, )*
        }

        impl $crate::settings::Section for $section {
            const TABLE: &'static str = $table;

            fn about() -> String {
                [$($about),*].map(str::trim).join("\n")
            }

            fn keys() -> Vec<$crate::settings::Key> {
                let prefix = concat!($($prefix)?);
                vec![$({
                    let (default, help): ($type, _) = ($default, [$($help),*].map(str::trim).join("\n"));
                    let own: &[&str] = &[$($word)?];
                    let word = match own {
                        [word] => (*word).to_owned(),
                        _ => format!("{prefix}{}", stringify!($key)),
                    };
                    $crate::settings::Key::of($table, stringify!($key), word, &help, &default)
                }),*]
            }

            fn load(layers: &$crate::settings::Layers) -> Result<Self, $crate::Failure> {
                let mut keys = Self::keys().into_iter();
                Ok($section {
                    $( $key: layers.read(keys.next(), || -> $type { $default })? ),*
                })
            }
        }
    };
}
