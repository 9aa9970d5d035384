//! Founding a reserve: its first Box, its first secret, its recovery words.

use std::fmt;
use std::io;

use bip39::{Language, Mnemonic};
use serde_bytes::ByteBuf;
use smol_str::SmolStr;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::config::check_name;
use super::{
    Config, IDENTITY_FILE, Identity, LoadedBox, Roster, RosterError, Secrets, is_initialised,
};
use crate::format::keys::{RecoveryKeys, ReserveSecret};
use crate::format::roster::{EpochNote, Fact, Facts, SignedFact, Subject, Value};
use crate::format::{encode, sealed_note};
use crate::terms::{KeyEpoch, PeerKey, ReserveId, Suite};
use crate::world::{Disk, Entropy};

/// What a person says when founding a reserve.
pub struct Founding {
    /// The first Box's configuration, its name and data sets in it.
    pub config: Config,
    /// Where it stands; its own name if not said.
    pub site: Option<SmolStr>,
    /// Whether it has AES instructions.
    pub fast_aes: bool,
}

/// What came of it.
pub enum Founded {
    /// The reserve is there. The words are to be shown now and never again.
    New(RecoveryWords),
    /// The directory already is the Box of that name; nothing was changed, its words were shown when it was made.
    Already,
}

/// The 24 words; wiped when dropped, never printed by accident.
pub struct RecoveryWords(Zeroizing<String>);

impl RecoveryWords {
    /// The words of 256 bits.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        let words = Mnemonic::from_entropy_in(Language::English, entropy)
            .expect("256 bits are a length that has words");
        Self(Zeroizing::new(words.to_string()))
    }

    /// Reads words a person typed, in any case and spacing.
    pub fn from_text(text: &str) -> Result<Self, RosterError> {
        let words = Zeroizing::new(text.to_lowercase());
        let words: Vec<&str> = words.split_whitespace().collect();
        if words.len() != 24 {
            return Err(RosterError::BadWords(format!("{} words", words.len())));
        }
        let joined = Zeroizing::new(words.join(" "));
        Mnemonic::parse_in_normalized(Language::English, &joined)
            .map_err(|error| RosterError::BadWords(error.to_string()))?;
        Ok(Self(joined))
    }

    /// Reads the words from a sheet as it was written when they were made, or as somebody typed them: numbers and what stands above
    /// them are left out.
    pub fn from_sheet(text: &str) -> Result<Self, RosterError> {
        let text = Zeroizing::new(text.to_lowercase());
        let is_number = |word: &str| {
            let digits = word.trim_end_matches('.');
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        let plain: Vec<&str> = text.split_whitespace().collect();
        // Numbered words: each stands behind its number.
        let numbered = plain.windows(2).filter(|pair| is_number(pair[0]));
        let numbered: Vec<&str> = numbered.map(|pair| pair[1]).collect();
        let words = if numbered.len() == 24 {
            numbered
        } else {
            plain
        };
        Self::from_text(&Zeroizing::new(words.join(" ")))
    }

    /// The words with one space between them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The keys they stand for.
    #[must_use]
    pub fn keys(&self) -> RecoveryKeys {
        let words = Mnemonic::parse_in_normalized(Language::English, &self.0)
            .expect("both ways to make one checked the words");
        let (entropy, _) = words.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        let entropy = entropy.first_chunk().expect("the array has 33 bytes");
        RecoveryKeys::derive(entropy)
    }
}

impl fmt::Debug for RecoveryWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryWords(24 words)")
    }
}

/// Makes the directory the first Box of a new reserve. May be run again without harm.
///
/// `show` is given the words before the last write: a Box is never made whose words nobody saw.
pub async fn init(
    disk: &impl Disk,
    entropy: &impl Entropy,
    founding: Founding,
    show: impl FnOnce(&RecoveryWords) -> io::Result<()>,
) -> Result<Founded, RosterError> {
    if is_initialised(disk).await? {
        let name = LoadedBox::load(disk).await?.config.name;
        if name == founding.config.name {
            return Ok(Founded::Already);
        }
        return Err(RosterError::AlreadyInitialised { name: name.into() });
    }
    let name = founding.config.name.clone();
    let site = founding.site.unwrap_or_else(|| name.clone());
    for said in [&name, &site] {
        check_name(said).map_err(RosterError::Edit)?;
    }
    let words = RecoveryWords::from_entropy(&Zeroizing::new(entropy.bytes()));
    let recovery = words.keys();
    let identity = Identity::make(entropy);
    let secret = ReserveSecret(entropy.bytes());
    let (sign, seal) = (
        PeerKey(recovery.sign.verifying_key().to_bytes()),
        PublicKey::from(&recovery.open).to_bytes(),
    );
    let secrets = Secrets::first(secret);
    let pairs = Zeroizing::new(encode(&secrets.to_pairs()));
    let note = EpochNote {
        epoch: KeyEpoch::FIRST,
        held: vec![KeyEpoch::FIRST],
        without: Vec::new(),
        note: ByteBuf::from(sealed_note::seal(entropy.bytes(), &seal, &pairs)),
    };
    let me = Subject::Peer(identity.peer());
    let suite = if founding.fast_aes {
        Suite::Aes256Gcm
    } else {
        Suite::ChaCha20Poly1305
    };
    let member = Value::member(identity.noise_public(), &identity.signing);
    let said = [
        (Subject::Reserve, Value::Recovery { sign, seal }),
        (Subject::Reserve, Value::ChunkSuite(suite)),
        (Subject::Reserve, Value::EpochSecret(note)),
        (me, member),
        (me, Value::Name(name)),
        (me, Value::Site(site)),
        (me, Value::FastAes(founding.fast_aes)),
    ];
    let reserve = reserve_id(identity.peer(), sign, &seal);
    let sign_fact = |(subject, value)| {
        let signer = identity.peer();
        let counter = 1;
        let fact = Fact {
            subject,
            value,
            counter,
            signer,
        };
        SignedFact::sign(reserve, fact, &identity.signing)
    };
    let facts = said.into_iter().map(sign_fact).collect();
    let roster = Roster::from_facts(&Facts { reserve, facts })
        .expect("its id was made of its founder a moment ago");
    settle(disk, &secrets, &roster, &founding.config).await?;
    show(&words).map_err(RosterError::WordsNotShown)?;
    identity.save(disk, IDENTITY_FILE).await?;
    Ok(Founded::New(words))
}

/// The id of the reserve with this founder and recovery key.
pub(super) fn reserve_id(founder: PeerKey, sign: PeerKey, seal: &[u8; 32]) -> ReserveId {
    let mut hasher = blake3::Hasher::new_derive_key("reserve 2026-11-24 reserve id v1");
    hasher.update(&founder.0).update(&sign.0).update(seal);
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    ReserveId(id)
}

/// Writes a new Box's files but the identity, which makes it one and comes last.
pub(super) async fn settle(
    disk: &impl Disk,
    secrets: &Secrets,
    roster: &Roster,
    config: &Config,
) -> Result<(), RosterError> {
    Config::from_toml(&config.to_toml())?;
    secrets.save(disk).await?;
    roster.save(disk).await?;
    config.save(disk).await
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Invitations, prepare_join};
    use super::*;

    fn founding(name: &str) -> Founding {
        Founding {
            config: Config::new(name),
            site: None,
            fast_aes: true,
        }
    }

    #[tokio::test]
    async fn a_power_cut_while_founding_leaves_nothing_usable_or_a_box() {
        for writes in 0..5 {
            let disk = MemoryDisk::new();
            disk.writes_left.set(writes);
            let done = init(&disk, &Counting::default(), founding("home"), |_| Ok(())).await;
            assert_eq!(done.is_ok(), writes == 4, "{writes} writes");
            let loaded = LoadedBox::load(&disk).await;
            assert_eq!(loaded.is_ok(), writes == 4);
            disk.writes_left.set(usize::MAX);
            let again = init(&disk, &Counting::default(), founding("home"), |_| Ok(())).await;
            assert_eq!(matches!(again, Ok(Founded::Already)), writes == 4);
            assert!(LoadedBox::load(&disk).await.is_ok());
        }
    }

    #[tokio::test]
    async fn the_words_open_the_reserve_and_are_nowhere_on_the_disk() {
        let disk = MemoryDisk::new();
        let made = init(&disk, &Counting::default(), founding("home"), |_| Ok(())).await;
        let Ok(Founded::New(words)) = made else {
            panic!("a new reserve");
        };
        let typed = RecoveryWords::from_text(&words.text().to_uppercase().replace(' ', "\n  "));
        let keys = typed.expect("the same words").keys();
        let there = LoadedBox::load(&disk).await.expect("a Box");
        assert_eq!(
            there.roster.recovery().0,
            keys.sign.verifying_key().to_bytes()
        );
        let sealed = there.roster.secrets_for_recovery(&keys.open);
        let sealed = sealed.expect("sealed to the words");
        assert_eq!(sealed.to_pairs(), there.secrets.to_pairs());
        for (name, (bytes, private)) in disk.files.borrow().iter() {
            assert_eq!(*private, name == "identity" || name == "secrets", "{name}");
            let entropy = keys.sign.to_bytes();
            assert!(!bytes.windows(32).any(|part| part == entropy), "{name}");
        }
        let me = there.roster.by_name("home").expect("the founder");
        assert!(me.key == there.identity.peer() && me.site == "home" && me.fast_aes);
        assert_eq!(there.roster.chunk_suite(), Suite::Aes256Gcm);
    }

    #[tokio::test]
    async fn another_name_or_a_damaged_box_is_refused_unchanged() {
        let disk = MemoryDisk::new();
        assert!(matches!(
            LoadedBox::load(&disk).await,
            Err(RosterError::NotABox)
        ));
        init(&disk, &Counting::default(), founding("home"), |_| Ok(()))
            .await
            .expect("new");
        let before = disk.files.borrow().clone();
        let other = init(&disk, &Counting::default(), founding("other"), |_| Ok(())).await;
        assert!(matches!(other, Err(RosterError::AlreadyInitialised { name }) if name == "home"));
        assert_eq!(*disk.files.borrow(), before);
        for file in ["secrets", "roster", "identity"] {
            let mut bytes = before[file].0.clone();
            bytes[9] ^= 1;
            disk.files.borrow_mut().insert(file.into(), (bytes, true));
            let error = LoadedBox::load(&disk)
                .await
                .err()
                .expect("damaged")
                .to_string();
            assert!(error.contains(file) && error.contains("damaged"), "{error}");
            disk.files.borrow_mut().remove(file);
            assert!(LoadedBox::load(&disk).await.is_err());
            disk.files
                .borrow_mut()
                .insert(file.into(), before[file].clone());
        }
    }

    #[tokio::test]
    async fn a_box_that_lost_its_identity_is_no_empty_place() {
        let disk = MemoryDisk::new();
        init(&disk, &Counting::default(), founding("home"), |_| Ok(()))
            .await
            .expect("new");
        let segment = ("store/seg-000000001".to_owned(), (vec![1], false));
        disk.files.borrow_mut().extend([segment]);
        disk.files.borrow_mut().remove("identity");
        let before = disk.files.borrow().clone();
        let is_told = |error: RosterError| matches!(error, RosterError::Missing { file } if file == "identity");
        let again = init(&disk, &Counting::default(), founding("home"), |_| Ok(())).await;
        assert!(again.is_err_and(is_told));
        let joined = prepare_join(&disk, &Counting::default()).await;
        assert!(joined.is_err_and(is_told));
        assert!(LoadedBox::load(&disk).await.is_err_and(is_told));
        assert_eq!(*disk.files.borrow(), before);
    }

    #[tokio::test]
    async fn a_missing_configuration_is_written_anew_not_joined_anew() {
        let disk = MemoryDisk::new();
        init(&disk, &Counting::default(), founding("home"), |_| Ok(()))
            .await
            .expect("new");
        disk.files.borrow_mut().remove("box.toml");
        let told = LoadedBox::load(&disk)
            .await
            .err()
            .expect("told")
            .to_string();
        assert!(told.contains("name =") && !told.contains("join"), "{told}");
    }

    #[tokio::test]
    async fn a_damaged_list_of_tickets_stops_nobody() {
        let disk = MemoryDisk::new();
        for bytes in [&b""[..], b"nonsense"] {
            let file = (bytes.to_vec(), false);
            disk.files.borrow_mut().insert("tickets".to_owned(), file);
            assert!(Invitations::load(&disk).await.is_ok());
        }
    }

    #[test]
    fn a_sheet_is_read_as_it_was_written() {
        let words = RecoveryWords::from_entropy(&[3; 32]);
        let numbered = words.text().split(' ').enumerate();
        let lines: Vec<_> = numbered
            .map(|(at, word)| format!("{:>2}. {word:<9}", at + 1))
            .collect();
        let sheet = format!("Recovery words of a reserve.\n\n{}\n", lines.join(" "));
        for text in [sheet.as_str(), words.text()] {
            let read = RecoveryWords::from_sheet(text).expect("the same words");
            assert_eq!(read.text(), words.text());
        }
    }

    #[test]
    fn a_mistyped_word_is_refused() {
        let words = RecoveryWords::from_entropy(&[3; 32]);
        let (first, rest) = words.text().split_once(' ').expect("24 words");
        assert!(RecoveryWords::from_text(rest).is_err());
        assert!(RecoveryWords::from_text(&format!("{first}x {rest}")).is_err());
    }
}
