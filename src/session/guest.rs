//! Calls by somebody who is no member (yet): with a ticket, or with the recovery words. What is said then is the caller's business.

use tokio::io::{AsyncRead, AsyncWrite};
use x25519_dalek::StaticSecret;

use super::handshake::{Shared, begin, blank, call, in_time};
use super::noise::Side;
use super::pool::Pool;
use super::surroundings::Surroundings;
use super::{OpenError, Session};
use crate::format::keys::RecoveryWay;
use crate::format::opening::Wish;
use crate::format::ticket::Ticket;
use crate::terms::Suite;

/// Calls the inviter of a ticket over a fresh link, with the Noise key this Box will keep.
///
/// # Errors
/// Says why there is no session; the link is closed then.
pub async fn join<W, L>(
    world: &W,
    link: L,
    noise: &StaticSecret,
    ticket: &Ticket,
    suite: Suite,
    pool: &Pool,
) -> Result<Session, OpenError>
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let keys = Shared::of_ticket(ticket.secret);
    let wish = (Wish::Join(ticket.number), suite);
    reach(world, link, wish, &keys, noise, &ticket.noise, pool).await
}

/// Calls a Box of the reserve the recovery words belong to, with the Noise key this Box will keep. That it is one of its Boxes, the
/// answer to the first request must prove.
///
/// # Errors
/// Says why there is no session; the link is closed then.
pub async fn recover<W, L>(
    world: &W,
    link: L,
    noise: &StaticSecret,
    way: &RecoveryWay,
    suite: Suite,
    pool: &Pool,
) -> Result<Session, OpenError>
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let called = way.noise_public;
    let wish = (Wish::Recover, suite);
    reach(
        world,
        link,
        wish,
        &Shared::of_way(way),
        noise,
        &called,
        pool,
    )
    .await
}

async fn reach<W, L>(
    world: &W,
    mut link: L,
    wish: (Wish, Suite),
    keys: &Shared,
    noise: &StaticSecret,
    called: &[u8; 32],
    pool: &Pool,
) -> Result<Session, OpenError>
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let agreed = in_time(world, call(world, &mut link, wish, keys, noise, called)).await?;
    let side = Side::Initiator;
    Ok(begin(world, link, (wish.0, agreed), blank(), side, 0, pool))
}
