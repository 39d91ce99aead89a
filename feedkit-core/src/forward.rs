//! Implementations of the contracts for `Arc` and `Box`.

/// Implements a contract for `Arc` and `Box` of an implementation, from the signatures of its
/// calls. Clippy reports a missing call.
macro_rules! forward {
    ($contract:ident $calls:tt) => {
        $crate::forward::forward!(@ std::sync::Arc<T>, $contract $calls);
        $crate::forward::forward!(@ Box<T>, $contract $calls);
    };
    (@ $pointer:ty, $contract:ident {
        $(async fn $call:ident(&self $(, $argument:ident: $type:ty)* $(,)?) -> $answer:ty;)+
    }) => {
        #[async_trait::async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: $contract + ?Sized> $contract for $pointer {
            $(async fn $call(&self $(, $argument: $type)*) -> $answer {
                (**self).$call($($argument),*).await
            })+
        }
    };
}
pub(crate) use forward;
