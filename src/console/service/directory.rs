//! The directory of keepers, as the rooms ask for it: members from the roster, ways from the mesh.

use std::cell::Cell;

use super::Service;
use crate::keeper::{AnyKeeper, Keepers, MemberView, RemoteKeeper};
use crate::terms::PeerKey;
use crate::world::World;

/// The directory of keepers. Each clone remembers for itself which comings and goings it has seen.
pub struct Directory<W: World> {
    service: Service<W>,
    seen: Cell<u64>,
}

impl<W: World> Directory<W> {
    /// Of this service.
    pub fn new(service: Service<W>) -> Self {
        // What came before is no news.
        let seen = service.mesh().map_or(0, crate::path::Mesh::generation);
        Self {
            service,
            seen: Cell::new(seen),
        }
    }
}

impl<W: World> Clone for Directory<W> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            seen: self.seen.clone(),
        }
    }
}

impl<W: World> Keepers for Directory<W> {
    type Keeper = AnyKeeper<W>;

    fn me(&self) -> PeerKey {
        self.service.me()
    }

    fn members(&self) -> Vec<MemberView> {
        let roster = self.service.roster();
        let view = |member: crate::roster::Member| MemberView {
            key: member.key,
            name: member.name,
            site: member.site,
        };
        let mut members: Vec<_> = roster.members().into_iter().map(view).collect();
        members.sort_by_key(|member| member.key);
        members
    }

    fn factors(&self) -> (u8, u8) {
        self.service.roster().factors()
    }

    fn reach(&self, peer: PeerKey) -> Option<AnyKeeper<W>> {
        let mesh = self.service.mesh()?;
        self.seen.set(mesh.generation());
        if peer == self.service.me() {
            return Some(AnyKeeper::Local {
                store: self.service.store().clone(),
                me: peer,
            });
        }
        mesh.session(peer)
            .map(|session| AnyKeeper::Remote(RemoteKeeper::new(session)))
    }

    async fn changed(&self) {
        if let Some(mesh) = self.service.mesh() {
            mesh.changed_since(self.seen.get()).await;
        }
    }

    async fn returning(&self, peer: PeerKey) -> Option<AnyKeeper<W>> {
        let session = self.service.mesh()?.session_again(peer).await?;
        Some(AnyKeeper::Remote(RemoteKeeper::new(session)))
    }
}
