//! What a disk may lie about, so that the product does what it would do if it had forgotten that step itself.

/// What is forgotten while all is said to be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Files are never synced: what is acknowledged is not durable.
    NoSync,
    /// A sync that failed is taken for one that worked.
    FailedSyncIgnored,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NoSync, Self::FailedSyncIgnored];
}
