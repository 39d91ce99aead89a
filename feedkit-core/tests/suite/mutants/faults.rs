//! Enums of faults.

/// Declares an enum of faults. It also declares the list `ALL`, or a list of faults for each suite
/// that must reject them.
macro_rules! faults {
    ($(#[$doc:meta])* $name:ident { $($(#[$fault_doc:meta])* $fault:ident,)* }) => {
        $crate::mutants::faults::faults! {
            $(#[$doc])* $name {
                /// All faults.
                ALL { $($(#[$fault_doc])* $fault,)* }
            }
        }
    };
    ($(#[$doc:meta])* $name:ident {
        $($(#[$list_doc:meta])* $list:ident { $($(#[$fault_doc:meta])* $fault:ident,)* })+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($($(#[$fault_doc])* $fault,)*)+
        }

        impl $name {
            $($(#[$list_doc])* pub(crate) const $list: &[$name] = &[$($name::$fault,)*];)+
        }
    };
}
pub(crate) use faults;
