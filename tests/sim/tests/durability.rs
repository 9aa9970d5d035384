//! The durability model of a simulated disk as test names: what a power cut forgets, what it leaves, and what faults do.

use std::io;
use std::time::Duration;

use reserve::terms::limits::{BLOCK_BYTES, STORE_BUFFERS};
use reserve::world::{Clock, Disk, DiskFile, World};
use sim::{SimBox, SimFile, run};

const BLOCK: u64 = BLOCK_BYTES as u64;

async fn write(home: &SimBox, file: &SimFile, offset: u64, fill: u8) -> io::Result<()> {
    let mut buffer = home.disk().buffer().await;
    buffer[..BLOCK_BYTES].fill(fill);
    file.write_at(buffer, 0, BLOCK_BYTES, offset).await.0
}

async fn first_byte(home: &SimBox, file: &SimFile, offset: u64) -> io::Result<Option<u8>> {
    let buffer = home.disk().buffer().await;
    let (len, buffer) = file.read_at(buffer, 0, BLOCK_BYTES, offset).await;
    Ok(buffer[..len?].first().copied())
}

/// A file "f" of one synced block of ones, its name synced too.
async fn safe_file(home: &SimBox) -> io::Result<SimFile> {
    let file = home.disk().open("f", true).await?;
    write(home, &file, 0, 1).await?;
    file.sync_data().await?;
    home.disk().sync_dir("").await?;
    Ok(file)
}

fn cut(home: &SimBox) -> SimBox {
    home.power_cut();
    home.restart()
}

#[test]
fn a_file_is_lost_without_dir_sync() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = home.disk().open("f", true).await?;
        write(&home, &file, 0, 1).await?;
        file.sync_data().await?;
        assert_eq!(home.disk().list("").await?, ["f"]);
        assert!(cut(&home).disk().list("").await?.is_empty());
        Ok(())
    })
    .value
}

#[test]
fn bytes_written_but_not_synced_are_gone_after_a_power_cut() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        write(&home, &file, 0, 2).await?;
        write(&home, &file, BLOCK, 2).await?;
        assert_eq!(first_byte(&home, &file, 0).await?, Some(2));
        let home = cut(&home);
        let file = home.disk().open("f", false).await?;
        assert_eq!(file.len().await?, BLOCK);
        assert_eq!(first_byte(&home, &file, 0).await?, Some(1));
        Ok(())
    })
    .value
}

#[test]
fn synced_bytes_under_a_synced_name_survive_any_number_of_power_cuts() -> io::Result<()> {
    run(1, async |world| {
        let mut home = world.box_named("home");
        safe_file(&home).await?;
        for _ in 0..3 {
            home.torn_power_cut();
            home = home.restart();
            let file = home.disk().open("f", false).await?;
            assert_eq!(first_byte(&home, &file, 0).await?, Some(1));
        }
        Ok(())
    })
    .value
}

#[test]
fn a_rename_is_undone_without_dir_sync() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        safe_file(&home).await?;
        home.disk().rename("f", "g").await?;
        assert_eq!(home.disk().list("").await?, ["g"]);
        let home = cut(&home);
        assert_eq!(home.disk().list("").await?, ["f"]);
        home.disk().rename("f", "g").await?;
        home.disk().sync_dir("").await?;
        assert_eq!(cut(&home).disk().list("").await?, ["g"]);
        Ok(())
    })
    .value
}

#[test]
fn a_removal_is_undone_without_dir_sync() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        safe_file(&home).await?;
        home.disk().remove("f").await?;
        let home = cut(&home);
        let file = home.disk().open("f", false).await?;
        assert_eq!(first_byte(&home, &file, 0).await?, Some(1));
        home.disk().remove("f").await?;
        home.disk().sync_dir("").await?;
        assert!(cut(&home).disk().list("").await?.is_empty());
        Ok(())
    })
    .value
}

#[test]
fn a_directory_sync_does_not_make_bytes_durable() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = home.disk().open("f", true).await?;
        write(&home, &file, 0, 1).await?;
        home.disk().sync_dir("").await?;
        let home = cut(&home);
        assert_eq!(home.disk().open("f", false).await?.len().await?, 0);
        Ok(())
    })
    .value
}

#[test]
fn a_sync_does_not_cover_what_was_written_after_it_was_asked_for() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        write(&home, &file, 0, 2).await?;
        let (synced, written) = tokio::join!(file.sync_data(), write(&home, &file, BLOCK, 3));
        synced.and(written)?;
        let home = cut(&home);
        let file = home.disk().open("f", false).await?;
        assert_eq!(file.len().await?, BLOCK);
        assert_eq!(first_byte(&home, &file, 0).await?, Some(2));
        Ok(())
    })
    .value
}

#[test]
fn a_replaced_small_file_and_a_made_directory_are_durable_at_once() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        home.disk().make_dir("a/b").await?;
        home.disk().replace_small("a/b/f", b"new", true).await?;
        let home = cut(&home);
        assert_eq!(
            home.disk().read_small("a/b/f").await?.as_deref(),
            Some(&b"new"[..])
        );
        Ok(())
    })
    .value
}

#[test]
fn a_deed_whose_asker_went_away_is_done_all_the_same() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        let nothing = home
            .clock()
            .within(Duration::ZERO, write(&home, &file, 0, 2))
            .await;
        assert!(nothing.is_none());
        home.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(first_byte(&home, &file, 0).await?, Some(2));
        Ok(())
    })
    .value
}

#[test]
fn a_deed_under_way_in_a_power_cut_is_not_done_later() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        let (old, old_file) = (home.clone(), file.clone());
        home.spawn(async move {
            let _ = write(&old, &old_file, 0, 2).await;
            let _ = old_file.sync_data().await;
        });
        tokio::task::yield_now().await;
        let home = cut(&home);
        home.clock().sleep(Duration::from_secs(1)).await;
        let again = home.disk().open("f", false).await?;
        assert_eq!(first_byte(&home, &again, 0).await?, Some(1));
        assert!(
            file.sync_data().await.is_err(),
            "the old handle is worth nothing"
        );
        Ok(())
    })
    .value
}

#[test]
fn there_are_only_so_many_buffers_and_a_dropped_one_comes_back() {
    run(1, async |world| {
        let home = world.box_named("home");
        let mut taken = Vec::new();
        for _ in 0..STORE_BUFFERS {
            taken.push(home.disk().buffer().await);
        }
        let second = Duration::from_secs(1);
        assert!(
            home.clock()
                .within(second, home.disk().buffer())
                .await
                .is_none()
        );
        taken.pop();
        assert!(
            home.clock()
                .within(second, home.disk().buffer())
                .await
                .is_some()
        );
    });
}

#[test]
fn a_full_disk_refuses_new_blocks_and_takes_old_ones_again() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        home.faults(|faults| faults.set_capacity(2 * BLOCK));
        assert_eq!(home.disk().free_bytes("").await?, BLOCK);
        write(&home, &file, BLOCK, 2).await?;
        let full = write(&home, &file, 2 * BLOCK, 3).await;
        assert_eq!(
            full.map_err(|error| error.kind()),
            Err(io::ErrorKind::StorageFull)
        );
        write(&home, &file, 0, 4).await?;
        assert!(
            home.disk()
                .replace_small("small", b"x", false)
                .await
                .is_err()
        );
        Ok(())
    })
    .value
}

#[test]
fn a_failed_sync_loses_what_it_should_have_kept() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        write(&home, &file, 0, 2).await?;
        home.faults(|faults| faults.fail_next_sync());
        assert!(file.sync_data().await.is_err());
        file.sync_data().await?;
        let home = cut(&home);
        let file = home.disk().open("f", false).await?;
        assert_eq!(first_byte(&home, &file, 0).await?, Some(1));
        Ok(())
    })
    .value
}

#[test]
fn broken_ranges_cannot_be_read_and_rotten_bits_read_wrong() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        let file = safe_file(&home).await?;
        write(&home, &file, BLOCK, 1).await?;
        home.disk().flip_bit("f", 0, 3)?;
        home.faults(|faults| faults.make_unreadable("f", BLOCK..BLOCK + 1));
        assert_eq!(first_byte(&home, &file, 0).await?, Some(1 ^ 8));
        assert!(first_byte(&home, &file, BLOCK).await.is_err());
        let stats = home.disk_stats();
        assert_eq!(
            (stats.writes, stats.written_bytes, stats.syncs),
            (2, 2 * BLOCK, 1)
        );
        assert_eq!(
            (stats.reads, stats.read_bytes, stats.dir_syncs),
            (1, BLOCK, 1)
        );
        Ok(())
    })
    .value
}

#[test]
fn a_flooded_box_comes_back_empty() -> io::Result<()> {
    run(1, async |world| {
        let home = world.box_named("home");
        safe_file(&home).await?;
        home.tree().write_file("/data/photo", b"x")?;
        home.flood();
        let home = home.restart();
        assert!(home.disk().list("").await?.is_empty());
        assert!(home.tree().snapshot("/data").is_err());
        Ok(())
    })
    .value
}
