//! `reserve recover`: back in with the 24 words, through one Box that survived.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_bytes::{ByteArray, ByteBuf};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::cli::{self, FULL_WORDS};
use super::entry::{Entry, missing};
use super::fault::{Exit, Fault};
use super::joining::Hearing;
use super::service::{self, has_fast_aes, last_copies, session_suite};
use super::setup::{done, in_world, make_dir, told};
use super::text;
use crate::format::keys::{RecoveryKeys, RecoveryWay};
use crate::format::message::{JoinGrant, Message};
use crate::format::roster::Facts;
use crate::roster::{self, Identity, Recovering, RecoveryWords, Roster};
use crate::session::{self, OpenError, Pool, Session, Side};
use crate::terms::PeerKey;
use crate::terms::limits::RECEIVE_POOL_BYTES;
use crate::world::uring::Uring;
use crate::world::{Clock, Net, World};

/// How long the surviving Box may take to answer at all.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// More than 24 words and whatever stands around them on a sheet of `init`.
const SHEET_BYTES_MAX: u64 = 4096;

/// `reserve recover`
pub fn run(dir: &Path, args: &cli::Recover) -> Result<Exit, Fault> {
    let entry = Entry::of_recover(dir, args)?;
    let name = entry.config.name.clone();
    if entry.is_done(dir)? {
        return done(dir, &name, args.print);
    }
    let from = entry.from.ok_or_else(|| missing("from"))?;
    let words = words(entry.words_file.as_deref())?;
    let made = make_dir(dir)?;
    let _lock = service::lock(dir)?;
    let asked = Recovering {
        name: name.clone(),
        site: entry.site.unwrap_or_else(|| name.clone()),
        fast_aes: has_fast_aes(),
        lost: entry.lost,
        replaces: entry.replaces,
    };
    let there = in_world(dir, async |world| {
        let hearing = Hearing::begin(world.disk()).await?;
        let identity = roster::prepare_join(world.disk(), world.entropy())
            .await
            .map_err(|error| told(&error))?;
        let asking = (&asked, args.even_if_copies_are_lost);
        let back = come_back(&world, &identity, &words.keys(), from, asking, &hearing).await;
        let grant = hearing.end(world.disk(), back).await?;
        roster::accept(world.disk(), &grant, identity, entry.config)
            .await
            .map_err(|error| told(&error))
    });
    let there = there.inspect_err(|_| made.take_back())?;
    text::tell(&format!(
        "{name} belongs to the reserve again. Next: `reserve keeper`, then `reserve peers` and `reserve snapshots`."
    ));
    for lost in &asked.lost {
        text::tell(&still_readable(lost));
    }
    let guests = there.roster.brought_in_by(&[]);
    if !asked.lost.is_empty() && !guests.is_empty() {
        let names: Vec<_> = guests.iter().map(|guest| guest.name.as_str()).collect();
        text::tell(&format!(
            "By the word of a lost Box came in: {}. Whoever has it may have brought in a Box of their own: `reserve peers` shows where they are;\n  \
             shut out whoever is not yours with `reserve remove NAME --lost --guests keep`.",
            names.join(", ")
        ));
    }
    done(dir, &name, args.print)
}

/// What whoever has a lost Box can read all the same.
pub fn still_readable(name: &str) -> String {
    format!(
        "{name} is shut out for ever: no Box speaks with it, and it cannot read what is taken from now on.\n  \
         Whoever has it can still read what is on its own disk: its files, and the chunks it kept of what was taken before now."
    )
}

fn words(file: Option<&Path>) -> Result<RecoveryWords, Fault> {
    let unread = |error: &std::io::Error| {
        Fault::new(
            format!("the recovery words could not be read: {error}"),
            "Nothing was changed.",
            "Name the file with --words-file, or type them when asked.",
        )
    };
    let mut text = Zeroizing::new(String::new());
    if let Some(path) = file {
        let opened = std::fs::File::open(path).map_err(|error| unread(&error))?;
        opened
            .take(SHEET_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| unread(&error))?;
    } else if std::io::stdin().is_terminal() {
        let mut out = std::io::stderr().lock();
        // Typed in the open: whoever mistypes one of 24 words must see which.
        let _ = write!(
            out,
            "The 24 recovery words, over as many lines as you like, with their numbers or without:\n> "
        )
        .and_then(|()| out.flush());
        let mut lines = std::io::stdin().lock().take(SHEET_BYTES_MAX);
        while !are_all(&text) && lines.read_line(&mut text).map_err(|error| unread(&error))? > 0 {}
    } else {
        std::io::stdin()
            .take(SHEET_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| unread(&error))?;
    }
    RecoveryWords::from_sheet(&text).map_err(|error| told(&error).exit(Exit::Usage))
}

/// Whether no more words are to come, be they right or not. Whoever takes them from the sheet may have taken along what stands around
/// them. Pure.
fn are_all(text: &str) -> bool {
    if RecoveryWords::from_sheet(text).is_ok() {
        return true;
    }
    let is_number = |word: &&str| {
        let digits = word.trim_end_matches('.');
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words: Vec<_> = text.split_whitespace().collect();
    let numbers = words.iter().copied().filter(|word| is_number(word)).count();
    // All words of the list are short and plain, which no sentence is for long.
    let is_plain =
        |word: &&str| word.len() <= 8 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if numbers > 0 {
        let ends_with_word = words.last().is_some_and(|last| !is_number(last));
        numbers >= 24 && ends_with_word
    } else {
        words.len() >= 24 && words.iter().all(is_plain)
    }
}

async fn come_back(
    world: &Uring,
    own: &Identity,
    words: &RecoveryKeys,
    from: SocketAddr,
    asking: (&Recovering, bool),
    hearing: &Hearing,
) -> Result<JoinGrant, Fault> {
    let session = reach(world, own, words, from).await?;
    let made = speak(world, &session, own, words, asking, hearing).await;
    session.close();
    let (roster, secrets) = made?;
    Ok(JoinGrant {
        roster: ByteBuf::from(roster.to_facts().encode()),
        secrets: secrets.to_pairs(),
        seen_from: from,
    })
}

async fn speak(
    world: &Uring,
    session: &Session,
    own: &Identity,
    words: &RecoveryKeys,
    (asked, is_forced): (&Recovering, bool),
    hearing: &Hearing,
) -> Result<(Roster, roster::Secrets), Fault> {
    let hung_up = || {
        Fault::new(
            "the surviving Box hung up",
            "This Box is unchanged.",
            "Repeat the command; it may be run again without harm.",
        )
    };
    let strange = |what: &str| {
        Fault::new(
            format!("the Box that answered is not to be trusted: {what}"),
            "This Box is unchanged.",
            "Is it really a Box of yours? Try another one's address.",
        )
    };
    let hash = *session.handshake_hash();
    let proof = ByteArray::new(session::prove(&words.sign, &hash, Side::Initiator));
    let answer = session.ask(Message::Recover { proof }, None).await;
    let Ok((Message::Survivor { peer, proof }, body)) = answer else {
        return Err(hung_up());
    };
    if !session::verify(&peer, &hash, Side::Responder, &proof) {
        return Err(strange("it could not prove who it is"));
    }
    let facts = Facts::decode(&body).map_err(|error| strange(&error.to_string()))?;
    if !is_forced {
        refuse_last_copies(session, &facts, asked).await?;
    }
    let made = roster::recover(&facts, peer, words, own, asked, world.entropy());
    let (roster, secrets) = made.map_err(|error| told(&error))?;
    let news = Rc::new(roster.to_facts().encode());
    hearing.is_heard();
    match session.ask(Message::Roster, Some(news)).await {
        Ok((Message::Done, _)) => Ok((roster, secrets)),
        Ok((Message::Refused(refusal), _)) => Err(Fault::new(
            refusal.to_string(),
            "This Box is unchanged.",
            "Look at the surviving Box's log.",
        )),
        _ => Err(hung_up()),
    }
}

/// Shutting out with the words must not take away what nobody else has either.
async fn refuse_last_copies(
    session: &Session,
    facts: &Facts,
    asked: &Recovering,
) -> Result<(), Fault> {
    // What does not parse is told by whoever makes a roster of it.
    let Ok(there) = Roster::from_facts(facts) else {
        return Ok(());
    };
    let lost = asked.lost.iter().filter_map(|name| there.by_name(name));
    let (out, names): (Vec<_>, Vec<_>) = lost.map(|member| (member.key, member.name)).unzip();
    if out.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.iter().map(smol_str::SmolStr::as_str).collect();
    let unknown = || {
        (
            format!(
                "the surviving Box did not say whether {} has the last copy of something",
                names.join(" or ")
            ),
            format!("Repeat it; to shut out whatever that takes away, say {FULL_WORDS}."),
        )
    };
    let answer = session.ask(Message::AskLastCopies { out }, None).await;
    let told = match answer {
        Ok((Message::LastCopies(last), _)) => last_copies::refusal(&there, &names, &last),
        _ => Some(unknown()),
    };
    match told {
        None => Ok(()),
        Some((what, todo)) => Err(Fault::new(
            what,
            "Nobody was shut out; this Box is unchanged.",
            todo,
        )),
    }
}

async fn reach(
    world: &Uring,
    own: &Identity,
    words: &RecoveryKeys,
    from: SocketAddr,
) -> Result<Session, Fault> {
    let failed = |why: String| {
        Fault::new(
            format!("{from}: {why}"),
            "This Box is unchanged.",
            "Is its keeper running, and is it a Box of the reserve these words belong to? `reserve peers` there shows its addresses.",
        )
    };
    let called = world
        .clock()
        .within(CALL_PATIENCE, world.net().connect(from))
        .await;
    let link = called
        .unwrap_or_else(|| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| failed(error.to_string()))?;
    let sign = PeerKey(words.sign.verifying_key().to_bytes());
    let way = RecoveryWay::derive(&sign, &PublicKey::from(&words.open).to_bytes());
    let pool = Pool::new(RECEIVE_POOL_BYTES);
    // Who answers is not known yet; a recovery is a few kilobytes.
    let suite = session_suite(false, false);
    match session::recover(world, link, &own.noise, &way, suite, &pool).await {
        Ok(session) => Ok(session),
        Err(OpenError::HungUp) => Err(failed(
            "it hung up without a word, as a Box does that does not know these recovery words"
                .into(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_ends_with_the_last_word_whatever_is_typed_around_the_words() {
        let words = ["abandon"; 23].join(" ");
        let right = format!("{words} art\n");
        assert!(!are_all(&words) && !are_all("") && are_all(&right));
        // One is wrong: it is told, and nothing more is waited for.
        assert!(are_all(&format!("{words} wrong\n")));
        let numbered = |until: usize| {
            let line = |at: usize| format!("{at:>4}. abandon");
            (1..=until).map(line).collect::<Vec<_>>().join("\n")
        };
        assert!(!are_all(&numbered(12)), "numbers are no words");
        assert!(!are_all(&numbered(23)) && are_all(&numbered(24)));
        let head = "These are the words of home: whoever has them can do what you can. ".repeat(3);
        assert!(!are_all(&head), "what stands above them are no words");
        assert!(!are_all(&format!("{head}\n{}", numbered(12))));
        assert!(are_all(&format!("{head}\n{}", numbered(24))));
    }
}
