//! Canaries: the mistakes this house must never make, made on purpose. The simulated world has to catch each of them, or its silence
//! proves nothing.
//!
//! They exist in builds with the feature `canaries` only, which nothing but the simulated world asks for, and such a build refuses
//! to be one without assertions: what is flashed into Boxes cannot contain them. Everywhere else [`sings`] is a constant no.

/// A mistake that can be made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// Different bytes are sealed with the same key.
    SameKeyTwice,
    /// "Have you it?" is answered with yes for everything.
    HaveWhatIsNot,
    /// What `latest` means is taken from an old head.
    BelieveOldHead,
    /// A data set that lost everything becomes the newest accepted one.
    AcceptEmptiness,
    /// What was read and is not whole goes on counting as whole.
    OverlookDamage,
    /// What an author gave up is let go of at once.
    ReleaseAtOnce,
    /// What was given up is claimed again, and goes all the same.
    ClaimWithoutCancelling,
    /// A page of an index is left out when an author lists what it needs.
    ForgetNeededPage,
    /// What comes from a disk or a keeper is not compared with its name.
    SkipVerification,
    /// A keeper is believed to have everything without being asked.
    BelieveHolder,
    /// A Box counts its own copy among those that protect its files.
    CountItself,
    /// Of two settings made apart each Box keeps its own.
    KeepOwnSetting,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SameKeyTwice,
        Self::HaveWhatIsNot,
        Self::BelieveOldHead,
        Self::AcceptEmptiness,
        Self::OverlookDamage,
        Self::ReleaseAtOnce,
        Self::ClaimWithoutCancelling,
        Self::ForgetNeededPage,
        Self::SkipVerification,
        Self::BelieveHolder,
        Self::CountItself,
        Self::KeepOwnSetting,
    ];
}

#[cfg(all(feature = "canaries", not(debug_assertions)))]
compile_error!(
    "a build without assertions is for Boxes, and no Box may make mistakes on purpose: leave the feature `canaries` out"
);

#[cfg(feature = "canaries")]
thread_local! {
    static SINGING: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread makes this mistake, or none.
#[cfg(feature = "canaries")]
pub fn sing(canary: Option<Canary>) {
    SINGING.set(canary);
}

/// Whether this mistake is to be made.
#[cfg(feature = "canaries")]
#[must_use]
pub fn sings(canary: Canary) -> bool {
    SINGING.get() == Some(canary)
}

/// Whether this mistake is to be made: never.
#[cfg(not(feature = "canaries"))]
#[must_use]
#[inline]
pub const fn sings(_: Canary) -> bool {
    false
}
