//! The Noise handshake and the two ciphers it leaves behind. Bytes in, bytes out; no I/O.
//!
//! snow makes the handshake. It would pick slow ciphers unless told otherwise and ask the operating system for randomness:
//! here the ciphers are ring's, and the randomness of one handshake is expanded from what the world's entropy gave for it.
//! Afterwards ring seals and opens in place, which spares clearing each buffer first; a test holds it against snow's own.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use zeroize::{Zeroize, Zeroizing};

use crate::terms::limits::NOISE_MESSAGE_BYTES_MAX;
use crate::terms::{PeerKey, Suite};

/// What the cipher adds to each Noise message.
pub(super) const TAG_BYTES: usize = 16;
/// The most a Noise message carries.
pub(super) const PLAIN_BYTES_MAX: usize = NOISE_MESSAGE_BYTES_MAX - TAG_BYTES;
/// Length of a Noise message on the wire.
pub(super) const LENGTH_BYTES: usize = 2;

const PROOF_LABEL: &[u8] = b"reserve 2026-11-24 hello v1";

/// Something does not verify, or is not what the pattern asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotVerified;

impl From<ring::error::Unspecified> for NotVerified {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

impl From<snow::Error> for NotVerified {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

/// Who of the two called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that called.
    Initiator,
    /// The one that was called.
    Responder,
}

impl Side {
    fn byte(self) -> u8 {
        match self {
            Self::Initiator => 0,
            Self::Responder => 1,
        }
    }
}

fn proof_text(handshake_hash: &[u8; 32], side: Side) -> Vec<u8> {
    [PROOF_LABEL, handshake_hash, &[side.byte()]].concat()
}

/// Binds an identity to a session: the signature of `side` over its handshake hash.
#[must_use]
pub fn prove(sign: &SigningKey, handshake_hash: &[u8; 32], side: Side) -> [u8; 64] {
    sign.sign(&proof_text(handshake_hash, side)).to_bytes()
}

/// Whether `proof` is what [`prove`] made with the key of `peer`.
#[must_use]
pub fn verify(peer: &PeerKey, handshake_hash: &[u8; 32], side: Side, proof: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&peer.0).is_ok_and(|key| {
        key.verify_strict(
            &proof_text(handshake_hash, side),
            &Signature::from_bytes(proof),
        )
        .is_ok()
    })
}

struct Resolver {
    seed: Zeroizing<[u8; 32]>,
}

struct Expanded(blake3::OutputReader);

impl Random for Expanded {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(b"noise ephemeral");
        Some(Box::new(Expanded(hasher.finalize_xof())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// What both sides of a handshake need.
pub(super) struct Terms<'a> {
    pub(super) suite: Suite,
    pub(super) prologue: &'a [u8],
    pub(super) psk: &'a [u8; 32],
    /// This side's static private key.
    pub(super) noise: &'a [u8; 32],
    /// Fresh randomness, for this handshake only.
    pub(super) seed: Zeroizing<[u8; 32]>,
}

/// A handshake under way.
pub(super) struct Handshake {
    state: HandshakeState,
    suite: Suite,
}

/// A finished handshake.
pub(super) struct Agreed {
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    pub(super) handshake_hash: [u8; 32],
    /// The other side's static public key.
    pub(super) noise_static: [u8; 32],
}

impl Handshake {
    /// The calling side; `responder` is the static key of the called one.
    pub(super) fn initiator(terms: &Terms<'_>, responder: &[u8; 32]) -> Result<Self, NotVerified> {
        let builder = Self::builder(terms)?.remote_public_key(responder)?;
        Ok(Self {
            state: builder.build_initiator()?,
            suite: terms.suite,
        })
    }

    /// The called side.
    pub(super) fn responder(terms: &Terms<'_>) -> Result<Self, NotVerified> {
        Ok(Self {
            state: Self::builder(terms)?.build_responder()?,
            suite: terms.suite,
        })
    }

    fn builder<'a>(terms: &'a Terms<'_>) -> Result<Builder<'a>, NotVerified> {
        let name = match terms.suite {
            Suite::ChaCha20Poly1305 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
            Suite::Aes256Gcm => "Noise_IKpsk2_25519_AESGCM_BLAKE2s",
        };
        let params = name.parse().map_err(|_| NotVerified)?;
        let resolver = Resolver {
            seed: terms.seed.clone(),
        };
        Ok(Builder::with_resolver(params, Box::new(resolver))
            .prologue(terms.prologue)?
            .psk(2, terms.psk)?
            .local_private_key(terms.noise)?)
    }

    /// The next message, without a payload.
    pub(super) fn speak(&mut self) -> Result<Vec<u8>, NotVerified> {
        let mut message = vec![0; 256];
        let bytes = self.state.write_message(&[], &mut message)?;
        message.truncate(bytes);
        Ok(message)
    }

    /// Takes the other side's message, which must have no payload.
    pub(super) fn hear(&mut self, message: &[u8]) -> Result<(), NotVerified> {
        let mut payload = [0; 256];
        match self.state.read_message(message, &mut payload) {
            Ok(0) => Ok(()),
            _ => Err(NotVerified),
        }
    }

    /// The caller's static key, once its first message was heard.
    pub(super) fn caller(&self) -> Option<[u8; 32]> {
        self.state.get_remote_static()?.try_into().ok()
    }

    /// The ciphers.
    pub(super) fn finish(mut self) -> Result<Agreed, NotVerified> {
        if !self.state.is_handshake_finished() {
            return Err(NotVerified);
        }
        let exactly = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| NotVerified);
        let handshake_hash = exactly(self.state.get_handshake_hash())?;
        let noise_static = exactly(self.state.get_remote_static().ok_or(NotVerified)?)?;
        let (mut forth, mut back) = self.state.dangerously_get_raw_split();
        let (out, inward) = match self.state.is_initiator() {
            true => (&forth, &back),
            false => (&back, &forth),
        };
        let ciphers = Direction::new(self.suite, out).zip(Direction::new(self.suite, inward));
        forth.zeroize();
        back.zeroize();
        let (sealer, opener) = ciphers.ok_or(NotVerified)?;
        Ok(Agreed {
            sealer: Sealer(sealer),
            opener: Opener(opener),
            handshake_hash,
            noise_static,
        })
    }
}

/// One direction's key with the count of its messages, which is Noise's nonce: none is used twice.
struct Direction {
    key: LessSafeKey,
    suite: Suite,
    next: u64,
}

impl Direction {
    fn new(suite: Suite, key: &[u8; 32]) -> Option<Self> {
        let algorithm = match suite {
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Suite::Aes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            suite,
            next: 0,
        })
    }

    /// Four zero bytes and the count, in the order of bytes that Noise has for the cipher.
    fn nonce(&mut self) -> Result<Nonce, NotVerified> {
        let count = self.next;
        self.next = count.checked_add(1).ok_or(NotVerified)?;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.suite {
            Suite::ChaCha20Poly1305 => count.to_le_bytes(),
            Suite::Aes256Gcm => count.to_be_bytes(),
        });
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals what goes out. There is one of each session.
pub(super) struct Sealer(Direction);

impl Sealer {
    /// Appends one Noise message with its length to `out`. Its plaintext is both parts, at most [`PLAIN_BYTES_MAX`] bytes.
    pub(super) fn seal(
        &mut self,
        first: &[u8],
        second: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NotVerified> {
        let length = first.len() + second.len() + TAG_BYTES;
        let length = u16::try_from(length).map_err(|_| NotVerified)?;
        let nonce = self.0.nonce()?;
        out.extend_from_slice(&length.to_le_bytes());
        let at = out.len();
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        let key = &self.0.key;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[at..])?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// Opens what comes in, in order.
pub(super) struct Opener(Direction);

impl Opener {
    /// Appends the plaintext of one Noise message to `out`; nothing if it does not verify.
    pub(super) fn open(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), NotVerified> {
        let nonce = self.0.nonce()?;
        let at = out.len();
        out.extend_from_slice(sealed);
        let opened = self
            .0
            .key
            .open_in_place(nonce, Aad::empty(), &mut out[at..]);
        let plain_bytes = opened.as_ref().map_or(0, |plain| plain.len());
        let is_whole = opened.is_ok();
        out.truncate(at + plain_bytes);
        is_whole.then_some(()).ok_or(NotVerified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshakes(suite: Suite) -> (Handshake, Handshake) {
        let terms = |noise, seed| Terms {
            suite,
            prologue: b"prologue",
            psk: &[1; 32],
            noise,
            seed: Zeroizing::new([seed; 32]),
        };
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from([3; 32]));
        let mut near = Handshake::initiator(&terms(&[2; 32], 4), public.as_bytes()).expect("near");
        let mut far = Handshake::responder(&terms(&[3; 32], 5)).expect("far");
        far.hear(&near.speak().expect("first")).expect("first");
        near.hear(&far.speak().expect("second")).expect("second");
        (near, far)
    }

    #[test]
    fn what_is_sealed_here_is_what_noise_seals() {
        for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
            let (near, _) = handshakes(suite);
            let (_, far) = handshakes(suite);
            let near = near.finish().expect("finished");
            let far = far.state.into_stateless_transport_mode().expect("finished");
            let Agreed {
                mut sealer,
                mut opener,
                ..
            } = near;
            for nonce in 0..300 {
                let mut ours = Vec::new();
                sealer.seal(b"plain", b"text", &mut ours).expect("sealed");
                let mut plain = [0; 64];
                let read = far.read_message(nonce, &ours[LENGTH_BYTES..], &mut plain);
                assert_eq!(read.map(|bytes| &plain[..bytes]), Ok(&b"plaintext"[..]));

                let mut theirs = [0; 64];
                let bytes = far.write_message(nonce, b"answer", &mut theirs);
                let bytes = bytes.expect("sealed");
                let mut plain = b"after ".to_vec();
                opener.open(&theirs[..bytes], &mut plain).expect("opened");
                assert_eq!(plain, b"after answer");
                assert_eq!(
                    opener.open(&theirs[..bytes], &mut plain),
                    Err(NotVerified),
                    "a message said twice"
                );
                assert_eq!(plain, b"after answer");
                opener.0.next -= 1;
            }
        }
    }

    #[test]
    fn an_unfinished_handshake_gives_no_ciphers() {
        let terms = Terms {
            suite: Suite::ChaCha20Poly1305,
            prologue: b"",
            psk: &[1; 32],
            noise: &[2; 32],
            seed: Zeroizing::new([3; 32]),
        };
        let handshake = Handshake::responder(&terms).expect("begun");
        assert!(handshake.finish().is_err());
    }
}
