//! The same test body for both worlds: space that is taken from a file system in advance.

use std::io;

use reserve::terms::limits::BLOCK_BYTES;
use reserve::world::{Disk, DiskFile, World};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Space that is taken in advance is a file's length, and is given back when it is cut.
///
/// # Errors
/// The disk's.
pub async fn space_may_be_taken_in_advance_and_given_back(world: impl World) -> io::Result<()> {
    let disk = world.disk();
    disk.make_dir("store").await?;
    let file = disk.open("store/held", true).await?;
    match file.allocate(64 * BLOCK).await {
        // Some file systems give no space in advance, and say so.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
        done => done?,
    }
    assert_eq!(file.len().await?, 64 * BLOCK);
    let buffer = disk.buffer().await;
    let (read, buffer) = file.read_at(buffer, 0, BLOCK_BYTES, 63 * BLOCK).await;
    assert_eq!(buffer[..read?], vec![0; BLOCK_BYTES]);
    file.allocate(8 * BLOCK).await?;
    assert_eq!(file.len().await?, 64 * BLOCK, "it never shortens");
    file.set_len(2 * BLOCK).await?;
    assert_eq!(file.len().await?, 2 * BLOCK);
    file.allocate(4 * BLOCK).await?;
    file.sync_data().await?;
    drop(file);
    let file = disk.open("store/held", false).await?;
    assert_eq!(file.len().await?, 4 * BLOCK);
    Ok(())
}
