//! `reserve events`, answered: the journal, and then what happens.

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Service;
use super::control::say;
use super::views::name_of;
use crate::console::cli::Since;
use crate::console::control::Reply;
use crate::console::event_view::{self, EventView};
use crate::console::events::after;
use crate::world::World;

impl<W: World> Service<W> {
    /// Warnings and failures that stand now.
    pub(super) fn standing_events(&self) -> Vec<EventView> {
        let roster = self.roster();
        let named = |peer| name_of(&roster, peer);
        let events = self.reporter().standing();
        events
            .iter()
            .filter(|event| event.event_type > crate::dispatcher::EventType::Normal)
            .map(|event| event_view::view(event, &named))
            .collect()
    }
}

/// Tells events after one; with `follow`, goes on until the command or the service ends.
pub async fn tell<W: World>(
    service: &Service<W>,
    since: Option<&Since>,
    follow: bool,
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> std::io::Result<()> {
    let dispatcher = &service.0.dispatcher;
    let mut seen = match after(since, &service.0.name, &service.me().to_string()) {
        Ok(after) => after,
        Err(fault) => return say(&mut writer, &Reply::Fault(fault)).await,
    };
    loop {
        seen = dispatcher
            .read_after(seen, async |event| {
                let roster = service.roster();
                let view = event_view::view(&event, &|peer| name_of(&roster, peer));
                say(&mut writer, &Reply::Event(Box::new(view))).await
            })
            .await?;
        if !follow {
            return say(&mut writer, &Reply::NoMore {}).await;
        }
        let newer = dispatcher.newer_than(seen);
        let mut nothing = [0];
        tokio::select! {
            biased;
            // The command went away.
            _ = reader.read(&mut nothing) => return Ok(()),
            () = newer => {}
        }
        if dispatcher.newest() <= seen {
            // There will be no more.
            return Ok(());
        }
    }
}
