//! A Box's own files while its service runs: one that does not read any more is written again from what the service knows.
//!
//! Without it a Box whose disk rotted under it would run on for months and not come up after its next start. Where none of the files
//! is there nothing is written: somebody took the Box apart, or its disk is gone, and keys do not belong where nobody expects them.

use super::identity::Secrets;
use super::{IDENTITY_FILE, Identity, ROSTER_FILE, Roster, RosterError, SECRETS_FILE, read};
use crate::world::Disk;

/// Compares the three files with what is known, and writes anew what differs. Gives their names.
pub async fn heal_files(
    disk: &impl Disk,
    identity: &Identity,
    secrets: &Secrets,
    roster: &Roster,
) -> Result<Vec<&'static str>, RosterError> {
    let mut is_there = false;
    for file in [IDENTITY_FILE, SECRETS_FILE, ROSTER_FILE] {
        is_there |= read(disk, file).await.map_or(true, |bytes| bytes.is_some());
    }
    let mut healed = Vec::new();
    if !is_there {
        return Ok(healed);
    }
    let known = Identity::load(disk, IDENTITY_FILE).await;
    if !matches!(known, Ok(Some(known)) if known.is(identity)) {
        identity.save(disk, IDENTITY_FILE).await?;
        healed.push(IDENTITY_FILE);
    }
    let known = Secrets::load(disk).await;
    if !known.is_ok_and(|known| known.to_pairs() == secrets.to_pairs()) {
        secrets.save(disk).await?;
        healed.push(SECRETS_FILE);
    }
    let known = Roster::load(disk).await;
    if !known.is_ok_and(|known| known == *roster) {
        roster.save(disk).await?;
        healed.push(ROSTER_FILE);
    }
    Ok(healed)
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founded, Founding, LoadedBox, init};
    use super::*;

    async fn founded(disk: &MemoryDisk) -> LoadedBox {
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        let made = init(disk, &Counting::default(), founding, |_| Ok(())).await;
        assert!(matches!(made, Ok(Founded::New(_))));
        LoadedBox::load(disk).await.expect("it was just founded")
    }

    #[tokio::test]
    async fn a_file_that_rotted_or_is_gone_is_written_again_and_whole_ones_are_left_alone() {
        let disk = MemoryDisk::new();
        let home = founded(&disk).await;
        let heal = || heal_files(&disk, &home.identity, &home.secrets, &home.roster);
        assert_eq!(heal().await.expect("all is whole"), [""; 0]);
        let whole = disk.files.borrow().clone();
        for file in [IDENTITY_FILE, SECRETS_FILE, ROSTER_FILE] {
            for at in [0, 20, 40] {
                disk.files.borrow_mut().get_mut(file).expect("is there").0[at] ^= 1;
                assert_eq!(heal().await.expect("it is written"), [file]);
                assert_eq!(*disk.files.borrow(), whole, "{file} at {at}");
            }
            disk.files.borrow_mut().remove(file);
            assert_eq!(heal().await.expect("it is written"), [file]);
            assert_eq!(*disk.files.borrow(), whole, "{file} was gone");
        }
    }

    #[tokio::test]
    async fn nothing_is_written_where_nothing_is() {
        let disk = MemoryDisk::new();
        let home = founded(&disk).await;
        disk.files.borrow_mut().clear();
        let healed = heal_files(&disk, &home.identity, &home.secrets, &home.roster).await;
        assert_eq!(healed.expect("nothing is done"), [""; 0]);
        assert!(disk.files.borrow().is_empty());
    }
}
