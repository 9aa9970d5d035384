//! What survives a power cut on a platter, and what does not.

use super::*;

fn with_file() -> io::Result<(Platter, Inode)> {
    let mut platter = Platter::default();
    let inode = platter.create("a")?;
    platter.sync_dir("")?;
    Ok((platter, inode))
}

#[test]
fn a_torn_cut_leaves_some_unsynced_blocks_and_never_touches_synced_ones() -> io::Result<()> {
    let (mut seen_torn, mut seen_kept) = (false, false);
    for seed in 0..8 {
        let (mut platter, inode) = with_file()?;
        platter.write(inode, 0, &[1; 8 * BLOCK_BYTES]);
        platter.sync(inode, platter.mark());
        platter.write(inode, 8 * BLOCK, &[2; 8 * BLOCK_BYTES]);
        platter.power_cut(Torn::SomeBlocks, &Dice::new(seed, "cut"));

        let mut read = vec![9; 16 * BLOCK_BYTES];
        let len = platter.read(inode, 0, &mut read);
        assert!(read[..8 * BLOCK_BYTES].iter().all(|byte| *byte == 1));
        let unsynced = &read[8 * BLOCK_BYTES..len];
        seen_torn |= unsynced.contains(&0);
        seen_kept |= unsynced.contains(&2);
        assert!(
            unsynced
                .chunks(BLOCK_BYTES)
                .all(|b| b.iter().all(|byte| *byte == b[0]))
        );
    }
    assert!(seen_torn && seen_kept);
    Ok(())
}

#[test]
fn what_a_failed_sync_lost_is_not_made_durable_by_a_later_one() -> io::Result<()> {
    let (mut platter, inode) = with_file()?;
    platter.write(inode, 0, &[1; BLOCK_BYTES]);
    platter.lose(inode, platter.mark());
    let mut read = [0; BLOCK_BYTES];
    assert_eq!(platter.read(inode, 0, &mut read), BLOCK_BYTES);
    platter.sync(inode, platter.mark());
    platter.power_cut(Torn::Nothing, &Dice::new(0, "cut"));
    assert_eq!(platter.len(inode), 0);
    Ok(())
}

#[test]
fn a_shortened_file_that_grows_again_reads_zeros() -> io::Result<()> {
    let (mut platter, inode) = with_file()?;
    platter.write(inode, 0, &[7; 2 * BLOCK_BYTES]);
    platter.set_len(inode, 100);
    platter.set_len(inode, 2 * BLOCK);
    let mut read = [9; 2 * BLOCK_BYTES];
    assert_eq!(platter.read(inode, 0, &mut read), 2 * BLOCK_BYTES);
    assert!(read[..100].iter().all(|byte| *byte == 7));
    assert!(read[100..].iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn a_parent_is_made_with_its_directory() {
    let mut platter = Platter::default();
    platter.make_dir("a/b/c");
    assert!(platter.is_dir("a") && platter.is_dir("a/b") && platter.is_dir("a/b/c"));
    assert!(platter.create("a/b/c/file").is_ok());
    assert!(platter.create("a/x/file").is_err());
}
