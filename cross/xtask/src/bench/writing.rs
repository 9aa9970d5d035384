//! What small files of a Box look like to a compressor: letters, JSON records with hashes in them, LevelDB tables.
//!
//! Nothing here is sense; only how often things return is like the real ones. The shares are chosen so that zstd leaves
//! what it leaves of such files; a test measures it.

use std::fmt::Write;

use super::dice::Dice;

/// Words of a language that does not exist, frequent ones first.
pub struct Language {
    words: Vec<String>,
}

/// Words it has.
const WORDS: usize = 2_400;
/// Bytes of binary values in a LevelDB table's entry, at most.
const VALUE_BYTES_MAX: usize = 10;

impl Language {
    /// The one and only.
    pub fn new() -> Self {
        const HEADS: [&str; 14] = [
            "b", "ch", "d", "f", "gr", "k", "l", "m", "n", "p", "r", "st", "t", "v",
        ];
        const HEARTS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
        const TAILS: [&str; 9] = ["", "", "n", "r", "s", "l", "nd", "ck", "tion"];
        let mut dice = Dice::new("language");
        let mut word = |place: usize| {
            let syllables = 1 + dice.index(2) + usize::from(place > 300) * dice.index(2);
            (0..syllables)
                .flat_map(|_| {
                    [
                        HEADS[dice.index(HEADS.len())],
                        HEARTS[dice.index(HEARTS.len())],
                        TAILS[dice.index(TAILS.len())],
                    ]
                })
                .collect::<String>()
        };
        Self {
            words: (0..WORDS).map(&mut word).collect(),
        }
    }

    /// A word, frequent ones oftener (by Zipf's law).
    fn word(&self, dice: &mut Dice) -> &str {
        let rank = (WORDS as f64).powf(dice.unit());
        // The rank is at most WORDS.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let place = (rank as usize).min(WORDS) - 1;
        &self.words[place]
    }

    /// The contents of the small file of this name, and the kind of thing it is.
    pub fn contents(&self, name: &str, bytes: usize) -> Vec<u8> {
        let mut dice = Dice::new(name);
        let mut out = Vec::with_capacity(bytes + 1024);
        let kind = Kind::of(name);
        while out.len() < bytes {
            match kind {
                Kind::Text => self.sentence(&mut dice, &mut out),
                Kind::Json => self.record(&mut dice, &mut out),
                Kind::Table => self.entry(&mut dice, &mut out),
            }
        }
        out.truncate(bytes);
        out
    }

    fn sentence(&self, dice: &mut Dice, out: &mut Vec<u8>) {
        let words = 4 + dice.index(14);
        for place in 0..words {
            let word = self.word(dice);
            if place == 0 {
                out.push(word.as_bytes()[0].to_ascii_uppercase());
                out.extend(&word.as_bytes()[1..]);
            } else {
                out.push(b' ');
                out.extend(word.as_bytes());
            }
        }
        out.extend(if dice.index(5) == 0 { b".\n" } else { b". " });
    }

    fn record(&self, dice: &mut Dice, out: &mut Vec<u8>) {
        let mut line = String::new();
        let hash = |dice: &mut Dice| {
            format!(
                "zdpu{:016x}{:016x}",
                dice.below(u64::MAX),
                dice.below(u64::MAX)
            )
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            line,
            "{{\"hash\":\"{}\",\"id\":\"/orbitdb/{}\",\"payload\":{{\"op\":\"PUT\",\"key\":\"{}\",\"value\":{{\"title\":\"{} {} {}\",\"tags\":[\"{}\",\"{}\"],\"size\":{}}}}},\"next\":[\"{}\"],\"clock\":{{\"id\":\"{}\",\"time\":{}}},\"v\":2}}",
            hash(dice),
            self.word(dice),
            self.word(dice),
            self.word(dice),
            self.word(dice),
            self.word(dice),
            self.word(dice),
            self.word(dice),
            dice.below(5_000_000),
            hash(dice),
            self.words[dice.index(7)],
            dice.below(100_000),
        );
        out.extend(line.as_bytes());
    }

    fn entry(&self, dice: &mut Dice, out: &mut Vec<u8>) {
        let shared = u8::try_from(dice.below(24)).unwrap_or(0);
        let len = u8::try_from(dice.index(VALUE_BYTES_MAX)).unwrap_or(0);
        out.extend([shared, 9, len, 0]);
        out.extend(b"!docs!");
        out.extend(self.word(dice).as_bytes());
        let mut bytes = [0; VALUE_BYTES_MAX];
        dice.fill(&mut bytes[..usize::from(len)]);
        out.extend(&bytes[..usize::from(len)]);
        out.extend([1, 0, 0, 0, 0, 0, 0]);
        for _ in 0..dice.index(5) {
            out.extend(self.word(dice).as_bytes());
            out.push(0);
        }
    }
}

/// What a small file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    Table,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name.rsplit('.').next() {
            Some("json") => Self::Json,
            Some("ldb") => Self::Table,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What zstd leaves of a MiB of small files of these kinds in turn, in percent.
    fn percent_left(endings: &[&str]) -> usize {
        let language = Language::new();
        let all: Vec<u8> = (0..230)
            .flat_map(|number| {
                let ending = endings[number % endings.len()];
                language.contents(&format!("{number}.{ending}"), 4_600)
            })
            .collect();
        let packed = zstd::bulk::compress(&all, 3).expect("it fits into memory");
        packed.len() * 100 / all.len()
    }

    #[test]
    fn small_files_compress_like_real_ones() {
        let left = [&["txt"][..], &["json"], &["ldb"], &["txt", "json", "ldb"]].map(percent_left);
        assert!((25..=40).contains(&left[0]), "text: {left:?}");
        assert!((20..=40).contains(&left[1]), "JSON: {left:?}");
        assert!((30..=50).contains(&left[2]), "LevelDB: {left:?}");
        // bupstash, which packs about so much together, keeps 65 MiB of 176.
        assert!((33..=36).contains(&left[3]), "all: {left:?}");
    }

    #[test]
    fn a_file_has_the_length_asked_for_and_is_the_same_every_time() {
        let language = Language::new();
        for bytes in [0, 1, 511, 16_384] {
            assert_eq!(language.contents("a.json", bytes).len(), bytes);
        }
        assert_eq!(
            language.contents("a.txt", 900),
            Language::new().contents("a.txt", 900)
        );
        assert_ne!(
            language.contents("a.txt", 900),
            language.contents("b.txt", 900)
        );
    }
}
