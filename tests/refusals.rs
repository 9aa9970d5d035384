//! Whoever may not come in hears nothing and changes nothing, and the Box that refused says why in its log: foreign, used and void
//! tickets, and everything a listener on the line recorded, played again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reserve::format::ticket::Ticket;
use reserve::roster::{LoadedBox, Secrets};
use reserve::world::World;
use reserve::world::uring::{self, Uring};
use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree};

/// What stands before the first Noise message of a call, and before every later one.
const OPENING_BYTES: usize = 13 + 16;

/// Somebody on the line: hands everything on, keeps what callers say, and counts what they are answered.
struct Listener {
    at: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    answered_bytes: Arc<AtomicU64>,
    /// The next message of a caller is handed on twice.
    twice: Arc<AtomicBool>,
}

impl Listener {
    fn before(to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            at: listener.local_addr().unwrap(),
            heard: Arc::default(),
            answered_bytes: Arc::default(),
            twice: Arc::default(),
        };
        let (heard, twice) = (Arc::clone(&this.heard), Arc::clone(&this.twice));
        let answered = Arc::clone(&this.answered_bytes);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let call = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let (from, into) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || {
                    let _ = hand_back(&from, &into, &answered);
                    let _ = into.shutdown(Shutdown::Both);
                });
                let (heard, twice) = (Arc::clone(&heard), Arc::clone(&twice));
                std::thread::spawn(move || {
                    let mut keep = |said: &[u8]| heard.lock().unwrap()[call].extend(said);
                    let _ = hand_on(near, &far, &twice, &mut keep);
                    let _ = far.shutdown(Shutdown::Both);
                });
            }
        });
        this
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }

    fn answered_bytes(&self) -> u64 {
        self.answered_bytes.load(Ordering::SeqCst)
    }
}

/// Hands back what a caller is answered. It is counted before the caller can have it.
fn hand_back(
    mut from: &TcpStream,
    mut into: &TcpStream,
    answered: &AtomicU64,
) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        answered.fetch_add(read as u64, Ordering::SeqCst);
        into.write_all(&piece[..read])?;
    }
}

/// Hands on message by message what a caller says.
fn hand_on(
    mut from: TcpStream,
    mut to: &TcpStream,
    twice: &AtomicBool,
    keep: &mut impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut opening = [0; OPENING_BYTES];
    from.read_exact(&mut opening)?;
    let first_bytes = usize::from(u16::from_le_bytes([opening[11], opening[12]]));
    let mut said = opening.to_vec();
    said.resize(OPENING_BYTES + first_bytes, 0);
    from.read_exact(&mut said[OPENING_BYTES..])?;
    loop {
        keep(&said);
        to.write_all(&said)?;
        if said.len() > 2 && twice.swap(false, Ordering::SeqCst) {
            to.write_all(&said)?;
        }
        let mut length = [0; 2];
        from.read_exact(&mut length)?;
        said = length.to_vec();
        said.resize(2 + usize::from(u16::from_le_bytes(length)), 0);
        from.read_exact(&mut said[2..])?;
    }
}

/// Says all of this to a Box and gives all it answers before it hangs up.
fn say(to: &str, said: &[u8]) -> Vec<u8> {
    let mut line = TcpStream::connect(to).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut half = line.try_clone().unwrap();
    let said = said.to_vec();
    // It may hang up before it has heard everything.
    let saying = std::thread::spawn(move || half.write_all(&said));
    let mut answered = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match line.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answered.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("it neither answers nor hangs up: {error}"),
        }
    }
    let _ = saying.join().unwrap();
    answered
}

/// What a Box knows: nothing of it may change by what strangers say.
fn known(of: &BoxProcess) -> (Value, Value, Vec<Value>) {
    let peers = of.json(&["peers", "--json"]);
    let peers = peers.as_array().unwrap().iter();
    let peers = peers.map(|peer| serde_json::json!([peer["name"], peer["key"], peer["connected"]]));
    let kinds = of.events(&[]);
    let kinds = kinds.iter().filter(|event| event["type"] != "normal");
    (
        peers.collect(),
        of.json(&["snapshots", "--json"]),
        kinds.map(|event| event["kind"].clone()).collect(),
    )
}

/// A fresh log and a fresh right to tell: each reason is told once in ten seconds, so that strangers do not flood the log.
fn restart(of: &mut BoxProcess) -> usize {
    of.stop();
    let before = of.log().len();
    of.start();
    before
}

/// The log comes after the silence.
#[track_caller]
fn said_why(of: &BoxProcess, from: usize, why: &str) {
    for _ in 0..300 {
        let log = of.log();
        let told = log[from..]
            .lines()
            .find(|line| line.contains("turned away"));
        if let Some(told) = told {
            assert!(told.contains(why), "{why}: {told}");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("nothing was told of {why}:\n{}", &of.log()[from..]);
}

#[track_caller]
fn is_not_taken_in(newcomer: &BoxProcess, ticket: &str) {
    let refused = newcomer.run(&["join", "--name", &newcomer.name, ticket, "--json"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&told["status"], &told["fault"]["exit"]),
        (&1.into(), &"failed".into())
    );
    let what = told["fault"]["what"].as_str().unwrap();
    assert!(what.contains("it does not know this ticket"), "{what}");
    assert_eq!(told["fault"]["unchanged"], "This Box is unchanged.");
    let todo = told["fault"]["todo"].as_str().unwrap();
    assert!(todo.contains("reserve invite"), "{todo}");
    assert!(
        !newcomer.dir.exists(),
        "nothing is left of a try that nobody heard of"
    );
}

#[test]
fn a_ticket_opens_one_door_once_and_not_after_a_restart() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut other = stage.first_box("other", &files);
    let office = stage.joined_box("office", &home);
    let carton = stage.new_box("carton");

    // Of this reserve, shown to another reserve's Box, which has given a ticket of the same number.
    let ticket = home.succeeds(&["invite"]);
    let mut foreign = Ticket::from_text(&ticket).unwrap();
    for _ in 0..foreign.number {
        other.succeeds(&["invite"]);
    }
    foreign.addresses = vec![other.address().parse().unwrap()];
    let before = (other.log().len(), known(&other));
    is_not_taken_in(&carton, &foreign.to_text());
    said_why(&other, before.0, "");
    assert_eq!(known(&other), before.1);

    // Shown to another Box of the same reserve, also to one whose key was put into it.
    let mut shown = Ticket::from_text(&ticket).unwrap();
    shown.addresses = vec![office.address().parse().unwrap()];
    let before = (office.log().len(), known(&office));
    is_not_taken_in(&carton, &shown.to_text());
    said_why(&office, before.0, "ticket");
    assert_eq!(known(&office), before.1);

    // Used.
    let guest = stage.new_box("guest");
    guest.succeeds(&["join", "--name", "guest", ticket.trim()]);
    let (before, log) = (known(&home), home.log().len());
    is_not_taken_in(&carton, ticket.trim());
    said_why(&home, log, "ticket");
    assert_eq!(known(&home), before);

    // Void, since its inviter was started anew.
    let ticket = home.succeeds(&["invite"]);
    let log = restart(&mut home);
    is_not_taken_in(&carton, ticket.trim());
    said_why(&home, log, "ticket");

    // A new one opens.
    let ticket = home.succeeds(&["invite"]);
    carton.succeeds(&["join", "--name", "carton", ticket.trim()]);
    other.stop();
}

fn advertise(of: &BoxProcess, at: &str) {
    let path = of.dir.join("box.toml");
    let said = std::fs::read_to_string(&path).unwrap();
    let kept = said.lines().filter(|line| !line.starts_with("advertise"));
    let said = kept.collect::<Vec<_>>().join("\n");
    std::fs::write(&path, format!("advertise = [\"{at}\"]\n{said}\n")).unwrap();
}

fn set_up(stage: &Stage, files: &Path) -> (BoxProcess, BoxProcess, Listener) {
    let mut home = stage.first_box("home", files);
    let line = Listener::before(home.address());
    home.stop();
    advertise(&home, &line.at.to_string());
    home.start();
    let mut office = stage.new_box("office");
    let ticket = home.succeeds(&["invite"]);
    let data = format!("files={}", files.display());
    office.succeeds(&["join", "--name", "office", "--data", &data, ticket.trim()]);
    // Nobody answers there: all sessions are called for by the office, over the line.
    advertise(&office, "127.0.0.1:9");
    office.start();
    home.until_met("office");
    (home, office, line)
}

#[test]
fn what_was_recorded_on_the_line_and_is_played_again_changes_nothing() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let (mut home, mut office, line) = set_up(&stage, &files);
    let outcome = office.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    office.kill();
    let heard = line.heard();
    assert!(
        heard.len() >= 2 && heard.iter().any(|said| said.len() > 3_000_000),
        "{}",
        heard.len()
    );

    // The join: its ticket is burned, so not a byte comes back.
    let log = restart(&mut home);
    let before = known(&home);
    assert!(say(home.address(), &heard[0]).is_empty());
    said_why(&home, log, "ticket");
    assert_eq!(known(&home), before);

    for said in heard.iter().skip(1).filter(|said| said.len() > 1000) {
        // A session, in which a whole snapshot was put: the handshake is answered, as Noise answers who knows the key, and says nothing
        // to whoever has not that key; what follows it does not verify.
        let log = restart(&mut home);
        let answered = say(home.address(), said);
        assert!(answered.len() < 2000, "{}", answered.len());
        said_why(&home, log, "verify");
        assert_eq!(known(&home), before);
    }

    // In a session that lives: a message that comes twice ends it, nothing is carried out twice, and the Boxes meet again.
    office.start();
    home.until_met("office");
    let log = home.log().len();
    line.twice.store(true, Ordering::SeqCst);
    std::fs::write(files.join("new"), "new").unwrap();
    let outcome = office.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    assert!(!line.twice.load(Ordering::SeqCst), "it was played");
    let told = &home.log()[log..];
    let ended = told.lines().find(|line| line.contains("session ended"));
    assert!(ended.is_some_and(|line| line.contains("verify")), "{told}");
    home.until_met("office");
}

#[test]
fn strangers_wrong_words_a_wrong_secret_and_a_box_that_is_out_get_no_byte_back() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let (mut home, mut office, line) = set_up(&stage, &files);
    office.stop();
    home.until(&["peers", "--json"], |peers| {
        let mut others = peers.as_array().unwrap().iter();
        others.all(|peer| peer["is_me"] == true || peer["connected"] == false)
    });
    let before = known(&home);

    // Whoever is no Box at all: what a browser, a scanner and another program say, and an opening with anything behind it.
    let anything = stage::noise("a stranger", 4096);
    let session = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 200, 0];
    let opening = [&session[..], &anything[..]].concat();
    let strangers = [
        b"GET / HTTP/1.1\r\nHost: home\r\n\r\n".to_vec(),
        [
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..],
            &anything[..512],
        ]
        .concat(),
        vec![0; 4096],
        vec![0xff; 4096],
        anything.clone(),
        opening,
    ];
    for said in &strangers {
        let answered = say(home.address(), said);
        assert!(answered.is_empty(), "{said:?}: {answered:?}");
    }

    // Recovery words that are words, of another reserve.
    let new = stage.new_box("new");
    let words = stage.path("wrong-words");
    std::fs::write(&words, "abandon ".repeat(23) + "art").unwrap();
    let (log, answered) = (restart(&mut home), line.answered_bytes());
    let at = line.at.to_string();
    let recover = ["recover", "--name", "new", "--from", &at, "--words-file"];
    let refused = new.run(&[&recover[..], &[words.to_str().unwrap()]].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(line.answered_bytes(), answered);
    said_why(&home, log, "");

    // A Box that knows everything of the reserve but its secret.
    let secrets = office.dir.join("secrets");
    let true_secrets = std::fs::read(&secrets).unwrap();
    with_another_secret(&office);
    let (log, answered) = (restart(&mut home), line.answered_bytes());
    let calls = line.heard().len();
    office.start();
    said_why(&home, log, "");
    assert!(line.heard().len() > calls, "it called");
    office.stop();
    assert_eq!(line.answered_bytes(), answered);
    std::fs::write(&secrets, true_secrets).unwrap();
    assert_eq!(known(&home), before);

    // With it, it is answered: the line counts. Then it is stolen, and out.
    office.start();
    home.until_met("office");
    assert!(line.answered_bytes() > answered);
    office.kill();
    home.succeeds(&["remove", "office", "--lost", "--even-if-copies-are-lost"]);
    let (log, answered) = (restart(&mut home), line.answered_bytes());
    office.start();
    said_why(&home, log, "not a member");
    office.stop();
    assert_eq!(line.answered_bytes(), answered);
}

/// The secret of each epoch becomes another one.
fn with_another_secret(of: &BoxProcess) {
    let made = uring::run(async {
        let world = Uring::new(&of.dir).unwrap();
        let loaded = LoadedBox::load(world.disk()).await.unwrap();
        let mut pairs = loaded.secrets.to_pairs();
        for (_, secret) in &mut pairs {
            secret.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        let secrets = Secrets::from_pairs(&pairs).unwrap();
        secrets.save(world.disk()).await.unwrap();
    });
    made.unwrap();
}
