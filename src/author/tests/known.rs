//! The table of what packs hold: everything put in is found, whatever its size, and damage only forgets.

use std::collections::BTreeSet;

use super::world::{Files, SmallDisk};
use crate::author::draft::{Draft, Made, MadePiece, Ref};
use crate::author::known::{Known, PATH, Place};
use crate::author::known_build::KnownBuilder;
use crate::format::keys::PlainName;
use crate::terms::ChunkId;

fn hash(number: u32) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn name(number: u32) -> PlainName {
    *hash(number).first_chunk().expect("it is shorter")
}

fn place(number: u32) -> Place {
    let pack = Ref {
        id: ChunkId(hash(number / 100 + 1_000_000)),
        sealed_bytes: 77,
        plain_bytes: 10_000,
        reused: true,
    };
    Place::of_small(&name(number), pack, number % 100 * 100, 90)
}

fn of(what: Made) -> Draft {
    let files = Files::default();
    files.file("/d", *b"");
    let (_, stat) = files.at(b"/d").expect("it is there");
    Draft::new(b"d".to_vec(), &stat, 5, what)
}

fn packed(pack: Ref) -> Draft {
    of(Made::Packed {
        bytes: 90,
        name: name(0),
        pack: Some(pack),
        offset: 0,
    })
}

async fn build(disk: &SmallDisk, many: u32, run_max: usize) {
    let mut builder = KnownBuilder::start(disk.clone(), [7; 8])
        .await
        .expect("memory");
    builder.run_max = run_max;
    for number in 0..many {
        builder.push(place(number)).await.expect("memory");
        // The same file under another name.
        builder.push(place(number)).await.expect("memory");
    }
    builder.finish().await.expect("memory");
}

#[tokio::test]
async fn everything_put_in_is_found_and_nothing_else() {
    let nobody = BTreeSet::new();
    for (many, run_max) in [(0, 10), (100, 10), (5000, 100_000), (5000, 300), (5000, 50)] {
        let disk = SmallDisk::default();
        build(&disk, many, run_max).await;
        let known = Known::open(disk.clone(), &nobody, true).await;
        assert!(known.is_there());
        for number in 0..many {
            assert_eq!(
                known.small(&name(number), 90).await,
                Some(place(number)),
                "{number}"
            );
            assert_eq!(known.small(&name(number), 91).await, None);
        }
        for number in many..many + 1000 {
            assert_eq!(known.small(&name(number), 90).await, None);
        }
        assert_eq!(disk.0.borrow().len(), 1, "nothing else is left behind");
    }
}

#[tokio::test]
async fn a_pack_is_sparse_when_less_than_half_of_it_is_alive() {
    let nobody = BTreeSet::new();
    let disk = SmallDisk::default();
    // Pack 0 has all of its hundred files, pack 1 has forty.
    build(&disk, 140, 1000).await;
    let known = Known::open(disk.clone(), &nobody, true).await;
    assert!(!known.is_in_sparse_pack(&packed(place(0).pack)));
    assert!(known.is_in_sparse_pack(&packed(place(100).pack)));
    // A piece of a large file may fall on the slot of a sparse pack.
    let pieces = Made::Pieces {
        bytes: 10_000,
        part: 0,
        last: true,
        pieces: vec![MadePiece::Data(place(100).pack, 10_000)],
    };
    assert!(!known.is_in_sparse_pack(&of(pieces)));
    assert_eq!(known.small(&name(100), 90).await, None);
    let distrusted = BTreeSet::from([place(0).pack.id]);
    let known = Known::open(disk, &distrusted, true).await;
    assert_eq!(known.small(&name(0), 90).await, None);
}

#[tokio::test]
async fn a_damaged_table_answers_wrongly_never() {
    let nobody = BTreeSet::new();
    let disk = SmallDisk::default();
    build(&disk, 3000, 100_000).await;
    let whole = disk.0.borrow()[PATH].clone();
    for at in (0..whole.len()).step_by(1 + whole.len() / 97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        disk.0.borrow_mut().insert(PATH.to_owned(), bytes);
        let known = Known::open(disk.clone(), &nobody, true).await;
        for number in (0..3000).step_by(50) {
            let found = known.small(&name(number), 90).await;
            assert!(found.is_none() || found == Some(place(number)));
        }
    }
    for len in [0, 1, 4096, 8192, whole.len() - 4096] {
        disk.0
            .borrow_mut()
            .insert(PATH.to_owned(), whole[..len].to_vec());
        let known = Known::open(disk.clone(), &nobody, true).await;
        for number in (0..3000).step_by(50) {
            let found = known.small(&name(number), 90).await;
            assert!(found.is_none() || found == Some(place(number)));
        }
    }
}
