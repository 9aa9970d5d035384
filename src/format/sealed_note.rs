//! A short secret sealed to one x25519 key: an epoch's secret for the recovery key or for a member.

use ring::aead;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Malformed, malformed};

const NOTE: &str = "sealed note";

/// Seals: the sender's one-time public key, then the sealed bytes. `one_time` must be fresh randomness.
#[must_use]
pub fn seal(one_time: [u8; 32], to: &[u8; 32], secret: &[u8]) -> Vec<u8> {
    let one_time = StaticSecret::from(one_time);
    let sender = PublicKey::from(&one_time).to_bytes();
    let mut sealed = secret.to_vec();
    let shared = one_time.diffie_hellman(&PublicKey::from(*to));
    cipher(shared.as_bytes(), &sender, to)
        .seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut sealed)
        .expect("a note is far below the cipher's limit");
    [sender.as_slice(), &sealed].concat()
}

/// Opens.
pub fn open(note: &[u8], key: &StaticSecret) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let (sender, sealed) = note
        .split_first_chunk::<32>()
        .ok_or(malformed(NOTE, "it is too short"))?;
    let to = PublicKey::from(key).to_bytes();
    let shared = key.diffie_hellman(&PublicKey::from(*sender));
    let mut secret = Zeroizing::new(sealed.to_vec());
    let length = cipher(shared.as_bytes(), sender, &to)
        .open_in_place(nonce(), aead::Aad::empty(), &mut secret)
        .map_err(|_| malformed(NOTE, "it was sealed to another key or changed since"))?
        .len();
    secret.truncate(length);
    Ok(secret)
}

fn cipher(shared: &[u8; 32], sender: &[u8; 32], to: &[u8; 32]) -> aead::LessSafeKey {
    let mut hasher = blake3::Hasher::new_derive_key("reserve 2026-11-24 sealed note v1");
    hasher.update(shared).update(sender).update(to);
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, hasher.finalize().as_bytes())
        .expect("the cipher takes 32 bytes");
    aead::LessSafeKey::new(key)
}

/// Zero: the key depends on the sender's one-time key.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_opens_a_note() {
        let key = StaticSecret::from([4; 32]);
        let note = seal([9; 32], &PublicKey::from(&key).to_bytes(), b"secret");
        assert_eq!(
            open(&note, &key).expect("the right key").as_slice(),
            b"secret"
        );
        assert!(open(&note, &StaticSecret::from([5; 32])).is_err());
        for at in 0..note.len() {
            let mut bad = note.clone();
            bad[at] ^= 1;
            // x25519 ignores the top bit of a public key, but the cipher's key does not.
            assert!(open(&bad, &key).is_err(), "byte {at}");
        }
        assert!(open(&note[..31], &key).is_err());
    }
}
