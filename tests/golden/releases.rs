//! One fixed release, what a keeper says and notes of it, and their bytes.

use reserve::format::lived::Lived;
use reserve::format::release::{ClaimedPage, Freed, NotedRelease, Release, SignedRelease, Waiting};
use reserve::format::runs::Runs;
use reserve::terms::{PeerKey, ReserveId, SnapshotNumber, StoreId};
use serde_bytes::ByteBuf;

use super::snapshots::{author, signer};
use super::vectors::{Part, part, ramp};

fn numbers() -> Runs {
    [3, 4, 5, 900].into_iter().map(SnapshotNumber).collect()
}

fn names() -> ByteBuf {
    ByteBuf::from([ramp::<12>(0x10), ramp(0x20)].concat())
}

fn release(numbers: Runs, names: ByteBuf) -> SignedRelease {
    let release = Release {
        reserve: ReserveId([0xa0; 16]),
        author: author(),
        keeper: PeerKey(ramp(0x40)),
        incarnation: ramp(0xb0),
        basis: 0x0102_0304_0506_0708,
        numbers,
        names,
    };
    release.sign(&signer())
}

pub fn releases() -> Vec<Part> {
    let mut page = ClaimedPage {
        basis: 0x0102_0304_0506_0708,
        more: true,
        waiting: Some(Waiting {
            numbers: numbers(),
            chunks: 1000,
            bytes: 1 << 30,
            effective_seconds: 2_592_000,
            open_seconds: 3600,
        }),
        claims: ByteBuf::new(),
    };
    page.push(&ramp(0x10), 1_000_000);
    page.push(&ramp(0x20), 85);
    let both = release(numbers(), names());
    let noted = NotedRelease {
        group: 0x1112_1314_1516_1718,
        life: ramp(0x50),
        lived_seconds: 86_400,
        signed: both.encode().into(),
    };
    let freed = Freed {
        numbers: numbers(),
        names: names(),
        over: None,
    };
    let over = Freed {
        over: Some(0x1112_1314_1516_1718),
        ..Freed::default()
    };
    let lived = Lived {
        store: StoreId(ramp(0x51)),
        life: ramp(0x50),
        seconds: 86_400,
        delay_days: 30,
        lower: Some((7, 3600)),
        damage: Some(ramp(1)),
    };
    vec![
        part("release", both.encode()),
        part(
            "release of snapshots",
            release(numbers(), ByteBuf::new()).encode(),
        ),
        part(
            "release of chunks",
            release(Runs::default(), names()).encode(),
        ),
        part("claims", page.encode()),
        part("claims of nothing", ClaimedPage::default().encode()),
        part("noted release", noted.encode()),
        part("freed", freed.encode()),
        part("freed by a group that is over", over.encode()),
        part("lived time", lived.encode()),
    ]
}
