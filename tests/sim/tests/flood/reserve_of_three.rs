//! A reserve of three Boxes for stories: home, whose files are protected, and two keepers that hold them.

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::io;
use std::rc::Rc;

use ed25519_dalek::SigningKey;
use reserve::author::{self, AuthorIdentity, DataSetConfig, Options, Sizes, SnapshotReport};
use reserve::format::head::SignedHead;
use reserve::format::keys::{DataKeys, ReserveSecret};
use reserve::keeper::{Ask, Keepers, MemberView, Store, StoreConfig};
use reserve::retriever::{Gather, Heads};
use reserve::terms::{ChunkId, KeyEpoch, PeerKey, ReserveId, Stamp, Suite};
use reserve::world::{Entropy, FileKind, World};
use sim::{Neighbours, SimBox, SimWorld, TreeSnapshot, bring_back};
use smol_str::SmolStr;

/// What stories and their steps end with.
pub type Answer<T> = Result<T, Box<dyn Error>>;

const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 8192,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};
const EPOCH: KeyEpoch = KeyEpoch(1);
/// Who retrieves: a Box that was not there before.
const NEW_BOX: PeerKey = PeerKey([9; 32]);

/// How a keeper loses power.
#[derive(Clone, Copy)]
pub enum Cut {
    /// Nothing unsynced survives.
    Clean,
    /// Some of it does.
    Torn,
}

/// Home and its two keepers.
pub struct Reserve {
    pub home: SimBox,
    world: SimWorld,
    identity: AuthorIdentity,
    neighbours: Neighbours,
    keepers: [(PeerKey, SimBox); 2],
    retrievals: Cell<u32>,
}

impl Reserve {
    /// Makes the three Boxes and starts both keepers.
    pub async fn found(world: SimWorld) -> Answer<Self> {
        let identity = AuthorIdentity {
            signing: SigningKey::from_bytes(&[1; 32]),
            reserve: ReserveId([5; 16]),
            line: vec![PeerKey(
                SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes(),
            )],
            choices: Vec::new(),
            keys: Rc::new(DataKeys::derive(EPOCH, &ReserveSecret([7; 32]))),
            older: Vec::new(),
            keyring: Rc::new(|epoch| Some(DataKeys::derive(epoch, &ReserveSecret([7; 32])))),
            suite: Suite::ChaCha20Poly1305,
        };
        let key = |number| {
            PeerKey(
                SigningKey::from_bytes(&[number; 32])
                    .verifying_key()
                    .to_bytes(),
            )
        };
        let view = |key, name| {
            let name = SmolStr::new_static(name);
            MemberView {
                key,
                name: name.clone(),
                site: name,
            }
        };
        let names = ["office", "friend"];
        let keys = [key(2), key(3)];
        let members = vec![
            view(key(1), "home"),
            view(keys[0], names[0]),
            view(keys[1], names[1]),
        ];
        let mut reserve = Self {
            home: world.box_named("home"),
            identity,
            neighbours: Neighbours::new(key(1), members, (2, 2)),
            keepers: [0, 1].map(|number| (keys[number], world.box_named(names[number]))),
            world,
            retrievals: Cell::new(0),
        };
        for number in [0, 1] {
            reserve.open_keeper(number).await?;
        }
        Ok(reserve)
    }

    /// Starts a keeper, switching its Box on if it is off.
    pub async fn open_keeper(&mut self, number: usize) -> Answer<()> {
        let (key, home) = &mut self.keepers[number];
        *home = home.restart();
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        self.neighbours.start(*key, home.clone(), store);
        Ok(())
    }

    /// Cuts a keeper's power.
    pub fn cut_keeper(&self, number: usize, cut: Cut) {
        let (key, home) = &self.keepers[number];
        match cut {
            Cut::Clean => home.power_cut(),
            Cut::Torn => home.torn_power_cut(),
        }
        self.neighbours.stop(*key);
    }

    /// Home loses power in the middle of whatever it does, and starts again.
    pub fn restart_home(&mut self) {
        self.home.torn_power_cut();
        self.home = self.home.restart();
    }

    /// A keeper's Box.
    pub fn keeper(&self, number: usize) -> &SimBox {
        &self.keepers[number].1
    }

    /// A keeper is lost with all it held.
    pub fn flood_keeper(&self, number: usize) {
        let (key, home) = &self.keepers[number];
        home.flood();
        self.neighbours.stop(*key);
    }

    /// Puts files of every sort under /data at home.
    pub fn plant(&self) -> io::Result<()> {
        let tree = self.home.tree();
        let bytes = |len: usize| {
            let mut bytes = vec![0; len];
            self.home.entropy().fill(&mut bytes);
            bytes
        };
        for number in 0..40 {
            let text = format!("note {number}\n").repeat(number);
            tree.write_file(&format!("/data/notes/{number}.txt"), text.as_bytes())?;
            tree.write_file(
                &format!("/data/photos/{:02}/{number}.jpg", number % 7),
                &bytes(number * 97),
            )?;
        }
        tree.write_file("/data/video.mp4", &bytes(100_000))?;
        tree.write_file("/data/copy of video.mp4", &vec![7; 30_000])?;
        tree.write_file("/data/empty", b"")?;
        tree.write_file("/data/a/b/c/d/e/f/deep", b"down here")?;
        tree.write_file("/data/a.b", b"sorts between a and a/")?;
        tree.mkdir("/data/nothing in it")?;
        tree.symlink("/data/latest", "photos/06")?;
        tree.symlink("/data/dangling", "/nowhere/at/all")?;
        tree.hard_link("/data/video.mp4", "/data/second name.mp4")?;
        tree.hard_link("/data/notes/7.txt", "/data/a/seven")?;
        tree.special("/data/pipe", FileKind::Fifo)?;
        tree.special("/data/disk", FileKind::BlockDevice)?;
        tree.special("/data/tty", FileKind::CharDevice)?;
        let mut sparse = vec![0; 200_000];
        sparse[90_000..100_000].copy_from_slice(&bytes(10_000));
        tree.write_file("/data/sparse", &sparse)?;
        for path in [
            "/data",
            "/data/video.mp4",
            "/data/latest",
            "/data/pipe",
            "/data/notes/7.txt",
        ] {
            tree.set_xattr(path, "user.of", path.as_bytes())?;
        }
        tree.set_owner("/data/notes/3.txt", 1000, 100)?;
        tree.set_mode("/data/notes/3.txt", 0o4751)?;
        tree.set_mode("/data/nothing in it", 0o1777)?;
        tree.set_mtime(
            "/data/notes/5.txt",
            Stamp {
                seconds: -5,
                nanos: 999_999_999,
            },
        )?;
        tree.set_mtime(
            "/data/a/b",
            Stamp {
                seconds: 1_000_000_000,
                nanos: 1,
            },
        )?;
        tree.set_mtime(
            "/data/latest",
            Stamp {
                seconds: 1_234_567_890,
                nanos: 0,
            },
        )
    }

    /// Changes, adds, renames and removes some of what was planted.
    pub fn tend(&self) -> io::Result<()> {
        let tree = self.home.tree();
        tree.write_file("/data/notes/7.txt", b"written anew")?;
        tree.write_file("/data/notes/new.txt", &[1; 5000])?;
        tree.rename_path("/data/copy of video.mp4", "/data/renamed.mp4")?;
        tree.remove("/data/photos/03/3.jpg")?;
        tree.remove("/data/dangling")?;
        tree.symlink("/data/dangling", "/still/nowhere")
    }

    /// Starts a snapshot at home that ends when it is protected.
    pub fn begin_snapshot(&self) -> impl Future<Output = Answer<SnapshotReport>> + use<> {
        let (home, neighbours) = (self.home.clone(), self.neighbours.clone());
        let identity = self.identity.clone();
        let options = Options {
            wait_protected: true,
            accept_loss: false,
            only_news: false,
            try_anyway: false,
            sizes: Sizes::small(),
        };
        let data_set = DataSetConfig {
            name: SmolStr::new_static("data"),
            path: b"/data".to_vec(),
        };
        let taken = tokio::task::spawn_local(async move {
            let world = home.clone();
            let taken = home.run(async move {
                let progress = Rc::new(author::Progress::default());
                Box::pin(author::snapshot(
                    &world,
                    &neighbours,
                    &identity,
                    &[data_set],
                    &options,
                    &progress,
                ))
                .await
            });
            taken.await
        });
        async move { Ok(taken.await???) }
    }

    /// Takes a snapshot at home and waits until it is protected.
    pub async fn snapshot(&self) -> Answer<SnapshotReport> {
        self.begin_snapshot().await
    }

    /// The newest snapshot of home that the keepers know.
    pub async fn latest(&self) -> Option<SignedHead> {
        let heads = Heads::new(
            self.neighbours.seen_by(NEW_BOX),
            self.world.box_named("new"),
        );
        let collected = heads.latest(self.identity.peer(), &[]).await;
        collected.heads.into_iter().next()
    }

    /// Retrieves the newest snapshot on a new Box.
    pub async fn retrieve(&self) -> Answer<TreeSnapshot> {
        let head = self.latest().await.ok_or("no keeper knows a snapshot")?;
        let new = self.world.box_named("new");
        self.retrievals.set(self.retrievals.get() + 1);
        let target = format!("/back/{}", self.retrievals.get());
        let (world, keys) = (new.clone(), Rc::clone(&self.identity.keys));
        let keepers = self.neighbours.seen_by(NEW_BOX);
        let source = move || {
            let keyring = move |epoch| (epoch == EPOCH).then(|| (*keys).clone());
            Gather::new(keepers, world, keyring)
        };
        bring_back(&new, head.head, &target, source).await
    }

    /// What a keeper acknowledged and does not have any more.
    pub async fn lost_by(&self, number: usize) -> Answer<Vec<ChunkId>> {
        let (key, _) = &self.keepers[number];
        let keeper = self
            .neighbours
            .reach(*key)
            .ok_or("the keeper does not run")?;
        let mut lost = Vec::new();
        for id in self.neighbours.acknowledged_by(*key) {
            if keeper.get(id).await?.is_none() {
                lost.push(id);
            }
        }
        Ok(lost)
    }
}
