//! What nobody outside may ever see: people's plaintext and the reserve's keys, looked for in all that travels and lies on keepers' disks.
//!
//! A secret that is cut in two by the end of a packet is not seen there; the same secret in the next packet is.

use std::error::Error;

use reserve::roster::LoadedBox;
use reserve::terms::KeyEpoch;
use reserve::world::World;

use crate::people::MARK;
use crate::reserve::Reserve;
use crate::sim_box::SimBox;

/// Where a keeper keeps what it keeps for others.
const STORE: &str = "store/";

/// Bytes that are looked for, all at once.
pub(crate) struct Secrets {
    wanted: Vec<Vec<u8>>,
    /// Whether any of them begins with this byte.
    begins: [bool; 256],
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            wanted: Vec::new(),
            begins: [false; 256],
        }
    }
}

impl Secrets {
    pub(crate) fn add(&mut self, secret: &[u8]) {
        if let Some(first) = secret.first()
            && !self.wanted.iter().any(|known| known == secret)
        {
            self.begins[usize::from(*first)] = true;
            self.wanted.push(secret.to_vec());
        }
    }

    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        self.wanted.clone()
    }

    /// Whether any of them is where it may not be, on a keeper's disk.
    pub(crate) fn are_written(&self, path: &str, bytes: &[u8]) -> bool {
        if !self.are_in(bytes) {
            return false;
        }
        let mut texts = Self::default();
        texts.add(MARK);
        path.starts_with(STORE) || texts.are_in(bytes)
    }

    /// Whether any of them is somewhere in these bytes.
    pub(crate) fn are_in(&self, bytes: &[u8]) -> bool {
        let begins = |(_, byte): &(usize, &u8)| self.begins[usize::from(**byte)];
        bytes.iter().enumerate().filter(begins).any(|(at, _)| {
            let rest = &bytes[at..];
            self.wanted.iter().any(|wanted| rest.starts_with(wanted))
        })
    }
}

/// The secrets of the reserve, and the data keys made of them, that a Box has.
///
/// # Errors
/// If its own files cannot be read.
pub(crate) async fn keys_of(home: &SimBox) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let loaded = LoadedBox::load(home.disk()).await?;
    let epochs = (1..).map_while(|epoch| loaded.secrets.data_keys_of(KeyEpoch(epoch)));
    let keys = epochs.flat_map(|keys| [keys.tag, keys.seal, keys.lookup, keys.cut]);
    let keys = keys.map(|key| key.to_vec());
    let roots = loaded.secrets.to_pairs();
    let roots = roots.iter().map(|(_, secret)| secret.to_vec());
    Ok(keys.chain(roots).collect())
}

/// Whose disks hold people's plaintext anywhere, or a data key among what is kept for others: all that lies there now.
pub(crate) fn on_disks(reserve: &Reserve) -> Vec<String> {
    let mut all = Secrets::default();
    for secret in &reserve.world.secrets() {
        all.add(secret);
    }
    let mut told = Vec::new();
    for house in &reserve.houses {
        house.home.each_file(|path, bytes| {
            if all.are_written(path, bytes) {
                told.push(on_disk(house.name(), path));
            }
        });
    }
    told
}

/// That something secret lies on a disk.
pub(crate) fn on_disk(name: &str, path: &str) -> String {
    format!("something secret is in clear on the disk of {name}: {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_stands_and_a_part_of_it_is_none() {
        let mut secrets = Secrets::default();
        assert!(!secrets.are_in(b"anything"));
        secrets.add(b"aab");
        secrets.add(b"key");
        assert!(secrets.are_in(b"aaab") && secrets.are_in(b"key") && secrets.are_in(b"a key!"));
        assert!(!secrets.are_in(b"aaakeaa") && !secrets.are_in(b""));
        assert!(
            secrets.are_written("store/seg-1", b"a key") && !secrets.are_written("keys", b"a key")
        );
    }
}
