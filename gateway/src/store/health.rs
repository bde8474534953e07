//! Whether the store can be trusted and written.

/// The state that `/readyz` and `health` show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreHealth {
    Ok,
    /// The gateway was not stopped in order; the file is being checked while it serves.
    Checking,
    /// Reads go on, writes are refused.
    ReadOnly {
        why: String,
    },
}

impl StoreHealth {
    /// True while writes are taken.
    pub fn is_writable(&self) -> bool {
        !matches!(self, Self::ReadOnly { .. })
    }
}
