//! The corpora of the benchmark: which files, how long, and what version 2 changes in them.
//!
//! MEDIA is 402 files no compressor can shorten, 3,048 MiB. SMALL is 40,000 of half a KiB to 16 KiB in 400 directories,
//! SMALL10 ten times as many, MIXED 200,000 of them and 1.5 GiB of media. Everything comes from names, so two runs measure the same bytes.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::dice::Dice;
use super::writing::Language;

const MIB: u64 = 1 << 20;
/// Bytes of MEDIA at full size.
const MEDIA_BYTES: u64 = 3_048 * MIB;
/// Its large files, and how long each is.
const MEDIA_LARGE: (usize, u64) = (2, 512 * MIB);
/// Its other files.
const MEDIA_FILES: usize = 400;
const MEDIA_FILE_BYTES: (u64, u64) = (2 * MIB, 8 * MIB);
/// Files of SMALL at full size, and in each of its directories.
const SMALL_FILES: usize = 40_000;
const SMALL_FILES_A_DIRECTORY: usize = 100;
/// The shortest, and how often it doubles up to the longest.
const SMALL_BYTES_MIN: f64 = 512.0;
const SMALL_DOUBLINGS: f64 = 5.0;
/// Where the text is.
const TEXT: &str = "notes";
/// Bytes put into the middle of a file that changes.
const INSERTED_BYTES: u64 = 100;
/// Bytes made at a time.
const PIECE_BYTES: usize = 4 << 20;

/// Which corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Corpus {
    /// Photos and videos.
    Media,
    /// Text, JSON, LevelDB.
    Small,
    /// Ten times as many.
    Small10,
    /// Half of MEDIA and half of SMALL10: what a Box has to hold its memory with.
    Mixed,
}

impl Corpus {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "MEDIA",
            Self::Small => "SMALL",
            Self::Small10 => "SMALL10",
            Self::Mixed => "MIXED",
        }
    }

    /// Its files, with everything divided by `divisor`.
    pub fn plan(self, divisor: u32) -> Plan {
        let files = match self {
            Self::Media => media(divisor),
            Self::Small => small(SMALL_FILES, divisor),
            Self::Small10 => small(SMALL_FILES * 10, divisor),
            Self::Mixed => {
                let mut files = small(SMALL_FILES * 5, divisor);
                files.extend(media(divisor * 2));
                files
            }
        };
        Plan {
            is_media: self == Self::Media,
            files,
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Below the corpus.
    pub path: PathBuf,
    /// How long.
    pub bytes: u64,
}

/// The files of a corpus.
pub struct Plan {
    is_media: bool,
    /// In order of their paths.
    pub files: Vec<Planned>,
}

fn divided(count: usize, divisor: u32, least: usize) -> usize {
    (count / divisor as usize).max(least)
}

fn media(divisor: u32) -> Vec<Planned> {
    let count = divided(MEDIA_FILES, divisor, 4);
    let large_bytes = MEDIA_LARGE.1 / u64::from(divisor);
    let (least, most) = MEDIA_FILE_BYTES;
    let mut dice = Dice::new("media sizes");
    let mut sizes: Vec<u64> = (0..count)
        .map(|_| least + dice.below(most - least))
        .collect();
    // The sum is exact: what chance left over or took too much is spread over all.
    let wanted =
        (MEDIA_BYTES - MEDIA_LARGE.0 as u64 * MEDIA_LARGE.1) * count as u64 / MEDIA_FILES as u64;
    loop {
        let sum: u64 = sizes.iter().sum();
        if sum == wanted {
            break;
        }
        let step = (sum.abs_diff(wanted) / count as u64).max(1);
        let mut left = sum.abs_diff(wanted);
        for size in &mut sizes {
            let step = step.min(left);
            let room = if sum < wanted {
                most - *size
            } else {
                *size - least
            };
            let moved = step.min(room);
            *size = if sum < wanted {
                *size + moved
            } else {
                *size - moved
            };
            left -= moved;
        }
    }
    let photos = sizes.iter().enumerate().map(|(number, bytes)| Planned {
        path: format!("photos/{:02}/IMG_{number:04}.jpg", number / 40).into(),
        bytes: *bytes,
    });
    let videos = (0..MEDIA_LARGE.0).map(|number| Planned {
        path: format!("videos/MOV_{number:04}.mp4").into(),
        bytes: large_bytes,
    });
    photos.chain(videos).collect()
}

fn small(count: usize, divisor: u32) -> Vec<Planned> {
    let mut dice = Dice::new("small sizes");
    let ending = ["txt", "json", "ldb"];
    (0..divided(count, divisor, 20))
        .map(|number| {
            let bytes = SMALL_BYTES_MIN * (SMALL_DOUBLINGS * dice.unit()).exp2();
            Planned {
                path: format!(
                    "{TEXT}/{:04}/{number:06}.{}",
                    number / SMALL_FILES_A_DIRECTORY,
                    ending[dice.index(3)]
                )
                .into(),
                // From 512 to 16,384.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                bytes: bytes as u64,
            }
        })
        .collect()
}

impl Plan {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes they take on a disk of 4 KiB blocks, with their directories.
    pub fn disk_bytes(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.bytes.next_multiple_of(4096) + 512)
            .sum()
    }

    /// Writes all of them below a directory that is not there yet.
    pub fn make(&self, root: &Path, is_stopped: &dyn Fn() -> bool) -> Result<()> {
        let maker = Maker::new(self.is_media);
        for file in &self.files {
            if is_stopped() {
                break;
            }
            maker.make(root, file)?;
        }
        Ok(())
    }

    /// What version 2 changes.
    pub fn changes(&self) -> Changes {
        let of_photos: Vec<usize> = (0..self.files.len())
            .filter(|place| !self.is_media || !self.files[*place].path.starts_with("videos"))
            .collect();
        let count = |percent: usize| (self.files.len() * percent / 100).max(1);
        let mut dice = Dice::new("version 2");
        let chosen = dice.choose(count(2) + count(1), of_photos.len());
        // Every third of those chosen goes, so that neither gathers in one directory.
        let (mut changed, mut deleted) = (Vec::new(), Vec::new());
        for (nth, place) in chosen.iter().enumerate() {
            let list = if nth % 3 == 2 && deleted.len() < count(1) {
                &mut deleted
            } else {
                &mut changed
            };
            list.push(of_photos[*place]);
        }
        let new = (0..count(1))
            .map(|number| {
                let like = &self.files[of_photos[dice.index(of_photos.len())]];
                let ending = like.path.extension().unwrap_or_default().to_string_lossy();
                let dir = like.path.parent().unwrap_or(Path::new(""));
                Planned {
                    path: dir.join(format!("new-{number:05}.{ending}")),
                    bytes: like.bytes,
                }
            })
            .collect();
        let renamed = self.is_media.then(|| {
            let last = self.files.len() - 1;
            (
                self.files[last].path.clone(),
                PathBuf::from("videos/holidays.mp4"),
            )
        });
        let path = |place: usize| self.files[place].path.clone();
        Changes {
            is_media: self.is_media,
            changed: changed.into_iter().map(path).collect(),
            deleted: deleted.into_iter().map(path).collect(),
            new,
            renamed,
        }
    }
}

/// Makes contents.
struct Maker {
    language: Option<Language>,
}

impl Maker {
    fn new(is_media: bool) -> Self {
        Self {
            language: (!is_media).then(Language::new),
        }
    }

    fn make(&self, root: &Path, file: &Planned) -> Result<()> {
        let path = root.join(&file.path);
        let dir = path.parent().unwrap_or(root);
        let told = || format!("{} cannot be written", path.display());
        fs::create_dir_all(dir).with_context(told)?;
        let name = file.path.to_string_lossy();
        let is_text = file.path.starts_with(TEXT);
        let Some(language) = self.language.as_ref().filter(|_| is_text) else {
            let mut out = File::create(&path).with_context(told)?;
            let mut dice = Dice::new(&name);
            let mut piece = vec![0; PIECE_BYTES];
            let mut left = file.bytes;
            while left > 0 {
                let len = usize::try_from(left)
                    .unwrap_or(PIECE_BYTES)
                    .min(PIECE_BYTES);
                dice.fill(&mut piece[..len]);
                out.write_all(&piece[..len]).with_context(told)?;
                left -= len as u64;
            }
            return Ok(());
        };
        let bytes = usize::try_from(file.bytes).context("a small file")?;
        fs::write(&path, language.contents(&name, bytes)).with_context(told)
    }
}

/// What version 2 changes; done in place and undone again, so that what stays is really untouched.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes {
    is_media: bool,
    changed: Vec<PathBuf>,
    deleted: Vec<PathBuf>,
    new: Vec<Planned>,
    renamed: Option<(PathBuf, PathBuf)>,
}

impl Changes {
    /// Makes version 2 of what stands in `root`; `aside` (on the same file system) takes what has to come back.
    pub fn make(&self, root: &Path, aside: &Path) -> Result<()> {
        for path in self.changed.iter().chain(&self.deleted) {
            let kept = aside.join(path);
            fs::create_dir_all(kept.parent().unwrap_or(aside))?;
            fs::rename(root.join(path), &kept)?;
        }
        for path in &self.changed {
            let mut bytes = fs::read(aside.join(path))?;
            let mut more = vec![0; usize::try_from(INSERTED_BYTES)?];
            Dice::new(&format!("inserted into {}", path.display())).fill(&mut more);
            if !self.is_media {
                more.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
            }
            let middle = bytes.len() / 2;
            bytes.splice(middle..middle, more);
            fs::write(root.join(path), bytes)?;
        }
        let maker = Maker::new(self.is_media);
        for file in &self.new {
            maker.make(root, file)?;
        }
        if let Some((from, to)) = &self.renamed {
            fs::rename(root.join(from), root.join(to))?;
        }
        Ok(())
    }

    /// Makes version 1 again.
    pub fn undo(&self, root: &Path, aside: &Path) -> Result<()> {
        if let Some((from, to)) = &self.renamed {
            fs::rename(root.join(to), root.join(from))?;
        }
        for file in &self.new {
            fs::remove_file(root.join(&file.path))?;
        }
        for path in self.changed.iter().chain(&self.deleted) {
            fs::rename(aside.join(path), root.join(path))?;
        }
        Ok(())
    }
}
