//! A Box's keys in a reserve of which everybody is a member: for stories about sessions, not about who may have one.

use std::rc::Rc;

use ed25519_dalek::SigningKey;
use reserve::format::keys::{NetworkKeys, RecoveryWay, ReserveSecret};
use reserve::session::{Gate, HelloFacts, LocalKeys, Pool};
use reserve::terms::limits::{RECEIVE_CREDIT_BYTES, RECEIVE_POOL_BYTES};
use reserve::terms::{KeyEpoch, PeerKey};
use smol_str::SmolStr;
use x25519_dalek::StaticSecret;

/// One Box's identity; everybody is let in.
pub struct Member {
    /// Its keys, made of its number.
    pub keys: LocalKeys,
    /// What it receives into.
    pub pool: Pool,
}

impl Member {
    /// The member of this number.
    #[must_use]
    pub fn numbered(number: u8) -> Rc<Self> {
        let sign = SigningKey::from_bytes(&[number; 32]);
        let noise = StaticSecret::from([number + 100; 32]);
        let keys = LocalKeys::new(sign, noise);
        let pool = Pool::new(RECEIVE_POOL_BYTES);
        Rc::new(Self { keys, pool })
    }
}

impl Gate for Member {
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        Some(NetworkKeys::derive(epoch, &ReserveSecret([7; 32])))
    }

    fn ticket_secret(&self, _: u64) -> Option<[u8; 32]> {
        None
    }

    fn recovery_way(&self) -> Option<RecoveryWay> {
        None
    }

    fn knows(&self, _: &[u8; 32]) -> bool {
        true
    }

    fn admits(&self, _: &PeerKey, _: &[u8; 32]) -> bool {
        true
    }

    fn hello(&self) -> HelloFacts {
        HelloFacts {
            boot: 1,
            version: SmolStr::new_static("sim"),
            roster: [0; 32],
            credit_bytes: RECEIVE_CREDIT_BYTES,
            heads: Vec::new(),
        }
    }
}
