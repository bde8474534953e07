//! One line a method: its name, what it needs, its parameters and its reply.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Protocol;
use super::scope::Needs;

/// A method of the gateway. Client and gateway compile against the same implementation.
pub trait Method: Send + Sync + 'static {
    /// Name on the wire.
    const NAME: &'static str;
    /// Parameters.
    type Params: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Reply.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What a caller needs for these parameters.
    fn needs(version: Protocol, params: &Self::Params) -> Needs;
    /// What a caller needs whatever the parameters are: without it, nobody has to look at them.
    fn least(version: Protocol) -> Needs;
}

/// Declares methods, a doc line each:
/// `Health = "health", |_, _| Needs::Anyone, HealthParams => HealthReply;`. What a call needs is told from
/// the version and the parameters; without parameters, it is the least that any of them need.
macro_rules! methods {
    ($($(#[$doc:meta])* $marker:ident = $name:literal, $needs:expr, $params:ty => $reply:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;

            impl $crate::protocol::method::Method for $marker {
                const NAME: &'static str = $name;
                type Params = $params;
                type Reply = $reply;
                fn needs(
                    version: $crate::protocol::Protocol,
                    params: &Self::Params,
                ) -> $crate::protocol::scope::Needs {
                    Self::needs_of(version, Some(params))
                }
                fn least(
                    version: $crate::protocol::Protocol,
                ) -> $crate::protocol::scope::Needs {
                    Self::needs_of(version, None)
                }
            }

            impl $marker {
                fn needs_of(
                    version: $crate::protocol::Protocol,
                    params: Option<&$params>,
                ) -> $crate::protocol::scope::Needs {
                    let needs: fn(
                        $crate::protocol::Protocol,
                        Option<&$params>,
                    ) -> $crate::protocol::scope::Needs = $needs;
                    needs(version, params)
                }
            }
        )*

        /// The names declared in this file.
        pub const NAMES: &[&str] = &[$($name),*];
    };
}
pub(crate) use methods;
