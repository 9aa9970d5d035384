//! Whether a signature is right, and a small memory of those that were: a roster is read at every start and with every change, and
//! heads are read again in every conversation, while checking one costs as much as sealing a small file.
//!
//! Remembered is a hash of all that goes into the check, and only of checks that were passed: whatever was touched is checked as if
//! there were no memory.

use std::cell::RefCell;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::terms::PeerKey;
use crate::terms::limits::SIGNATURES_REMEMBERED;

/// Why something is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSigned {
    /// Who should have signed is no key.
    NoKey,
    /// The signature is of something else, or of somebody else.
    Mismatch,
}

/// Sets of two places each: the newer one first.
struct Memory(Vec<[[u8; 32]; 2]>);

impl Memory {
    fn place(&mut self, name: &[u8; 32]) -> &mut [[u8; 32]; 2] {
        if self.0.is_empty() {
            self.0 = vec![[[0; 32]; 2]; SIGNATURES_REMEMBERED / 2];
        }
        let [a, b, c, d, ..] = *name;
        let at = u32::from_le_bytes([a, b, c, d]) as usize % self.0.len();
        &mut self.0[at]
    }

    fn knows(&mut self, name: &[u8; 32]) -> bool {
        self.place(name).contains(name)
    }

    fn learn(&mut self, name: [u8; 32]) {
        let place = self.place(&name);
        *place = [name, place[0]];
    }
}

thread_local! {
    static CHECKED: RefCell<Memory> = const { RefCell::new(Memory(Vec::new())) };
}

/// Whether these bytes are signed with this key.
pub(super) fn check(by: &PeerKey, bytes: &[u8], signature: &[u8; 64]) -> Result<(), NotSigned> {
    let mut hasher = blake3::Hasher::new_derive_key("reserve 2026-11-29 checked signatures");
    hasher.update(&by.0).update(signature).update(bytes);
    let name = *hasher.finalize().as_bytes();
    if CHECKED.with_borrow_mut(|memory| memory.knows(&name)) {
        return Ok(());
    }
    let key = VerifyingKey::from_bytes(&by.0).map_err(|_| NotSigned::NoKey)?;
    key.verify_strict(bytes, &Signature::from_bytes(signature))
        .map_err(|_| NotSigned::Mismatch)?;
    CHECKED.with_borrow_mut(|memory| memory.learn(name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn signed(text: &[u8]) -> (PeerKey, [u8; 64]) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let by = PeerKey(key.verifying_key().to_bytes());
        (by, key.sign(text).to_bytes())
    }

    #[test]
    fn what_was_signed_once_says_nothing_of_other_bytes_another_key_or_another_signature() {
        let (by, signature) = signed(b"one");
        for _ in 0..2 {
            assert_eq!(check(&by, b"one", &signature), Ok(()));
            assert_eq!(check(&by, b"two", &signature), Err(NotSigned::Mismatch));
            let mut touched = signature;
            touched[3] ^= 1;
            assert_eq!(check(&by, b"one", &touched), Err(NotSigned::Mismatch));
            let other = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
            let other = check(&PeerKey(other), b"one", &signature);
            assert_eq!(other, Err(NotSigned::Mismatch));
        }
    }

    #[test]
    fn the_memory_keeps_the_two_newest_of_a_place_and_never_grows() {
        let mut memory = Memory(Vec::new());
        let names = [1, 2, 3].map(|last| {
            let mut name = [0; 32];
            name[31] = last;
            name
        });
        for name in names {
            memory.learn(name);
        }
        assert!(memory.knows(&names[1]) && memory.knows(&names[2]));
        assert!(!memory.knows(&names[0]));
        assert_eq!(memory.0.len() * 2, SIGNATURES_REMEMBERED);
    }
}
