//! Keys from the epoch's reserve secret, each for one purpose, and the pair made of the recovery words.
//!
//! A Box that holds only [`NetworkKeys`] can keep, verify, sweep and heal, but not read: no keeper flow takes a [`DataKeys`].

use ed25519_dalek::SigningKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::terms::{KeyEpoch, PeerKey};

fn derived(purpose: &str, secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key(&format!("reserve 2026-11-24 {purpose} v1"), secret)
}

/// The secret all members of an epoch share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReserveSecret(pub [u8; 32]);

/// What lets a Box speak with the others.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NetworkKeys {
    /// The epoch they belong to.
    #[zeroize(skip)]
    pub epoch: KeyEpoch,
    /// Pre-shared key of the Noise handshake.
    pub psk: [u8; 32],
    /// Key of the code that stands before a first handshake message.
    pub mac: [u8; 32],
}

/// What plaintext is called within a reserve: 128 bits under a secret key. Among 2^32 files two that differ share a name with a
/// chance of 2^-64, and nobody without the key can look for such two.
pub type PlainName = [u8; 16];

/// What lets a Box read and write contents.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKeys {
    /// The epoch they belong to.
    #[zeroize(skip)]
    pub epoch: KeyEpoch,
    /// Keys the tag of a chunk.
    pub tag: [u8; 32],
    /// The parent of each chunk's own key.
    pub seal: [u8; 32],
    /// Names plaintext in the author's own index.
    pub lookup: [u8; 32],
    /// Seeds the cut points of files and pages.
    pub cut: [u8; 32],
}

impl NetworkKeys {
    /// Derives them.
    #[must_use]
    pub fn derive(epoch: KeyEpoch, secret: &ReserveSecret) -> Self {
        let network = derived("network", &secret.0);
        Self {
            epoch,
            psk: derived("network psk", &network),
            mac: derived("network mac1", &network),
        }
    }
}

impl DataKeys {
    /// Derives them.
    #[must_use]
    pub fn derive(epoch: KeyEpoch, secret: &ReserveSecret) -> Self {
        Self {
            epoch,
            tag: derived("tag", &secret.0),
            seal: derived("seal", &secret.0),
            lookup: derived("lookup", &secret.0),
            cut: derived("cut", &secret.0),
        }
    }

    /// The seed of the gear table.
    #[must_use]
    pub fn cut_seed(&self) -> u64 {
        let (first, _) = self
            .cut
            .split_first_chunk::<8>()
            .expect("a key has 32 bytes");
        u64::from_le_bytes(*first)
    }

    /// Names plaintext within this reserve: equal plaintext, equal name; useless to anybody without the key.
    #[must_use]
    pub fn lookup_name(&self, plaintext: &[u8]) -> PlainName {
        let name = blake3::keyed_hash(&self.lookup, plaintext);
        *name
            .as_bytes()
            .first_chunk()
            .expect("a hash is longer than a name")
    }
}

/// What lets somebody who has only the words speak with a Box that has only the words' public halves.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryWay {
    /// Pre-shared key of the Noise handshake.
    pub psk: [u8; 32],
    /// Key of the code that stands before the first handshake message.
    pub mac: [u8; 32],
    /// The Noise static secret every Box answers with: who it is it says only to whoever proves to have the words.
    pub noise: [u8; 32],
    /// Its public half: made once, since making it costs more than all that is to be found out about a stranger before.
    pub noise_public: [u8; 32],
}

impl RecoveryWay {
    /// From the public halves of the recovery keys, which only Boxes and owners know.
    #[must_use]
    pub fn derive(sign: &PeerKey, seal: &[u8; 32]) -> Self {
        let mut public = [0; 64];
        public[..32].copy_from_slice(&sign.0);
        public[32..].copy_from_slice(seal);
        let of = |purpose: &str| {
            blake3::derive_key(&format!("reserve 2026-11-24 {purpose} v1"), &public)
        };
        let noise = of("recover noise");
        let secret = x25519_dalek::StaticSecret::from(noise);
        Self {
            psk: of("recover psk"),
            mac: of("recover mac1"),
            noise,
            noise_public: x25519_dalek::PublicKey::from(&secret).to_bytes(),
        }
    }
}

/// The two keys the 24 recovery words stand for.
pub struct RecoveryKeys {
    /// Signs roster changes that beat all others.
    pub sign: SigningKey,
    /// Opens the epochs' secrets.
    pub open: x25519_dalek::StaticSecret,
}

impl RecoveryKeys {
    /// From the words' 256 bits.
    #[must_use]
    pub fn derive(entropy: &[u8; 32]) -> Self {
        Self {
            sign: SigningKey::from_bytes(&derived("recovery sign", entropy)),
            open: x25519_dalek::StaticSecret::from(derived("recovery open", entropy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let secret = ReserveSecret([7; 32]);
        let data = DataKeys::derive(KeyEpoch(1), &secret);
        let network = NetworkKeys::derive(KeyEpoch(1), &secret);
        let mut all = [
            data.tag,
            data.seal,
            data.lookup,
            data.cut,
            network.psk,
            network.mac,
            secret.0,
        ];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
