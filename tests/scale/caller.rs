//! A member of the reserve played by the test: it joined as any Box does, and calls a running keeper over real sessions.

use std::net::SocketAddr;
use std::path::Path;

use reserve::format::keys::{NetworkKeys, RecoveryWay};
use reserve::format::message::{Message, Refusal};
use reserve::keeper::RemoteKeeper;
use reserve::roster::LoadedBox;
use reserve::session::{self, Callee, Gate, HelloFacts, LocalKeys, Pool};
use reserve::terms::limits::{RECEIVE_CREDIT_BYTES, RECEIVE_POOL_BYTES};
use reserve::terms::{KeyEpoch, PeerKey, Suite};
use reserve::world::uring::Uring;
use reserve::world::{Net, World};
use serde_json::Value;

use super::stage::{BoxProcess, Stage};

struct Keys(LoadedBox);

impl Gate for Keys {
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        self.0.secrets.network_keys_of(epoch)
    }

    fn ticket_secret(&self, _: u64) -> Option<[u8; 32]> {
        None
    }

    fn recovery_way(&self) -> Option<RecoveryWay> {
        None
    }

    fn knows(&self, noise_static: &[u8; 32]) -> bool {
        let members = self.0.roster.members();
        members.iter().any(|member| member.noise == *noise_static)
    }

    fn admits(&self, peer: &PeerKey, noise_static: &[u8; 32]) -> bool {
        let member = self.0.roster.member(peer);
        member.is_some_and(|member| member.noise == *noise_static)
    }

    fn hello(&self) -> HelloFacts {
        HelloFacts {
            boot: 1,
            version: "test".into(),
            roster: self.0.roster.hash(),
            credit_bytes: RECEIVE_CREDIT_BYTES,
            heads: Vec::new(),
        }
    }
}

/// A Box that joined and whose keeper does not run: the test plays it.
pub fn invited(stage: &Stage, name: &str, inviter: &BoxProcess) -> BoxProcess {
    let newcomer = stage.new_box(name);
    let ticket = inviter.succeeds(&["invite"]);
    newcomer.succeeds(&["join", "--name", name, ticket.trim()]);
    newcomer
}

/// Where a running keeper listens.
pub fn address_of(keeper: &BoxProcess) -> String {
    let peers = keeper.json(&["peers", "--json"]);
    let me = peers
        .as_array()
        .unwrap()
        .iter()
        .find(|peer| peer["is_me"] == true);
    me.unwrap()["addresses"][0].as_str().unwrap().to_owned()
}

/// What a keeper says of its store, whether or not files are safe.
pub fn store_of(keeper: &BoxProcess) -> Value {
    let output = keeper.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["running"], true, "{status}");
    status["store"].clone()
}

/// Calls the keeper of the member `name` at `address` as the Box whose state directory is `dir`.
pub async fn call(dir: &Path, name: &str, address: &str) -> RemoteKeeper {
    let world = Uring::new(dir).expect("the world starts");
    let loaded = LoadedBox::load(world.disk()).await.expect("it joined");
    let member = loaded
        .roster
        .members()
        .into_iter()
        .find(|member| member.name == name)
        .expect("it is a member");
    let (sign, noise) = (
        loaded.identity.signing.clone(),
        loaded.identity.noise.clone(),
    );
    let me = LocalKeys::new(sign, noise);
    let to = Callee {
        peer: member.key,
        noise: member.noise,
        epoch: loaded.secrets.epoch(&loaded.roster),
        suite: Suite::ChaCha20Poly1305,
    };
    let address: SocketAddr = address.parse().expect("it is an address");
    let link = world.net().connect(address).await.expect("it listens");
    let pool = Pool::new(RECEIVE_POOL_BYTES);
    let session = session::open(&world, link, &me, &Keys(loaded), &to, &pool)
        .await
        .expect("it answers");
    let asked = session.clone();
    world.spawn(async move {
        while let Some(incoming) = asked.next().await {
            // It keeps nothing, and says so.
            let no = Message::Refused(Refusal::NotUnderstood);
            incoming.answer(no, None).await;
        }
    });
    RemoteKeeper::new(session)
}
