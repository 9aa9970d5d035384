//! What makes this Box itself: its two key pairs, and the secrets it shares with the other members. Both files are mode 0600.

use ed25519_dalek::SigningKey;
use serde_bytes::ByteArray;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{RosterError, SECRETS_FILE, read, write};
use crate::format::keys::{DataKeys, NetworkKeys, ReserveSecret};
use crate::format::roster::noise_proof;
use crate::format::{Malformed, decode_file, encode_file, malformed};
use crate::terms::{KeyEpoch, PeerKey};
use crate::world::{Disk, Entropy};

/// A Box's own keys.
#[derive(Clone)]
pub struct Identity {
    /// Signs facts, heads and hellos.
    pub signing: SigningKey,
    /// Its Noise static key.
    pub noise: StaticSecret,
}

impl Identity {
    /// Draws a new one.
    #[must_use]
    pub fn make(entropy: &impl Entropy) -> Self {
        Self {
            signing: SigningKey::from_bytes(&Zeroizing::new(entropy.bytes())),
            noise: StaticSecret::from(entropy.bytes::<32>()),
        }
    }

    /// Who this Box is to others.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.signing.verifying_key().to_bytes())
    }

    /// Whether it is the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.peer() == other.peer() && self.noise_public() == other.noise_public()
    }

    /// The public half of its Noise key.
    #[must_use]
    pub fn noise_public(&self) -> [u8; 32] {
        PublicKey::from(&self.noise).to_bytes()
    }

    /// This Box's word that it is its.
    #[must_use]
    pub fn noise_proof(&self) -> ByteArray<64> {
        noise_proof(&self.noise_public(), &self.signing)
    }

    pub(super) async fn load(
        disk: &impl Disk,
        file: &'static str,
    ) -> Result<Option<Self>, RosterError> {
        let Some(bytes) = read(disk, file).await?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let (seed, noise): (ByteArray<32>, ByteArray<32>) = decode_file("identity", &bytes)
            .map_err(|cause| RosterError::Damaged { file, cause })?;
        let (seed, noise) = (
            Zeroizing::new(seed.into_array()),
            Zeroizing::new(noise.into_array()),
        );
        Ok(Some(Self {
            signing: SigningKey::from_bytes(&seed),
            noise: StaticSecret::from(*noise),
        }))
    }

    pub(super) async fn save(
        &self,
        disk: &impl Disk,
        file: &'static str,
    ) -> Result<(), RosterError> {
        let bytes = Zeroizing::new(encode_file(&(
            ByteArray::new(self.signing.to_bytes()),
            ByteArray::new(self.noise.to_bytes()),
        )));
        write(disk, file, &bytes, true).await
    }
}

/// The secret of each epoch this Box was given, oldest first; never empty.
#[derive(Clone)]
pub struct Secrets(Vec<(KeyEpoch, ReserveSecret)>);

impl Secrets {
    /// The first epoch's.
    #[must_use]
    pub fn first(secret: ReserveSecret) -> Self {
        Self(vec![(KeyEpoch(1), secret)])
    }

    /// From their form in files and grants: at least one, epochs rising.
    pub fn from_pairs(pairs: &[(u32, ByteArray<32>)]) -> Result<Self, Malformed> {
        if pairs.is_empty() || pairs.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(malformed("secrets", "its epochs are not in order"));
        }
        let secret = |(epoch, bytes): &(u32, ByteArray<32>)| {
            (KeyEpoch(*epoch), ReserveSecret(bytes.into_array()))
        };
        Ok(Self(pairs.iter().map(secret).collect()))
    }

    /// Their form in files and grants.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(u32, ByteArray<32>)> {
        let pair =
            |(epoch, secret): &(KeyEpoch, ReserveSecret)| (epoch.0, ByteArray::new(secret.0));
        self.0.iter().map(pair).collect()
    }

    /// All epochs whose secret this Box has, rising.
    #[must_use]
    pub fn held(&self) -> Vec<KeyEpoch> {
        self.0.iter().map(|(epoch, _)| *epoch).collect()
    }

    /// Those of an epoch and the ones before it.
    #[must_use]
    pub fn up_to(&self, last: KeyEpoch) -> Self {
        let mut kept = self.clone();
        kept.0.retain(|(epoch, _)| *epoch <= last);
        kept
    }

    /// Adds an epoch's secret, if it is not there.
    pub(super) fn add(&mut self, epoch: KeyEpoch, secret: ReserveSecret) {
        if let Err(at) = self.0.binary_search_by_key(&epoch, |(of, _)| *of) {
            self.0.insert(at, (epoch, secret));
        }
    }

    /// What lets this Box speak with the others under an epoch, if it has its secret.
    #[must_use]
    pub fn network_keys_of(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        let (_, secret) = self.0.iter().find(|(of, _)| *of == epoch)?;
        Some(NetworkKeys::derive(epoch, secret))
    }

    /// What contents of some epoch are sealed with, if this Box has its secret. Cut points and names of plaintext stay those of
    /// the first epoch, so that what was kept before is found again.
    #[must_use]
    pub fn data_keys_of(&self, epoch: KeyEpoch) -> Option<DataKeys> {
        let (_, secret) = self.0.iter().find(|(of, _)| *of == epoch)?;
        let (first, root) = self.0.first()?;
        let root = DataKeys::derive(*first, root);
        let mut keys = DataKeys::derive(epoch, secret);
        keys.lookup = root.lookup;
        keys.cut = root.cut;
        Some(keys)
    }

    pub(super) async fn load(disk: &impl Disk) -> Result<Self, RosterError> {
        let file = SECRETS_FILE;
        let bytes = read(disk, file)
            .await?
            .map(Zeroizing::new)
            .ok_or(RosterError::Missing { file })?;
        decode_file::<Vec<(u32, ByteArray<32>)>>("secrets", &bytes)
            .and_then(|pairs| Self::from_pairs(&pairs))
            .map_err(|cause| RosterError::Damaged { file, cause })
    }

    /// Replaces the Box's `secrets` file.
    pub async fn save(&self, disk: &impl Disk) -> Result<(), RosterError> {
        let bytes = Zeroizing::new(encode_file(&self.to_pairs()));
        write(disk, SECRETS_FILE, &bytes, true).await
    }
}
