//! Small closed lists that stand as one byte on disk and on the wire.

use serde::{Deserialize, Serialize};

macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),+ }

        impl $name {
            /// The byte that stands for it.
            #[must_use]
            pub const fn byte(self) -> u8 {
                self as u8
            }

            /// What a byte stands for, if anything.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

byte_enum!(
    /// What a chunk holds.
    Kind {
        /// Bytes of files: a piece of one, or several small ones in a pack.
        Data = 1,
        /// A page of index entries.
        Page = 2,
        /// A node of the page tree.
        Node = 3,
        /// A manifest.
        Manifest = 4,
    }
);

byte_enum!(
    /// How a chunk's body was made from its plaintext.
    Codec {
        /// The body is the plaintext.
        Plain = 0,
        /// One zstd frame.
        Zstd = 1,
    }
);

byte_enum!(
    /// The authenticated cipher of a chunk or a session.
    Suite {
        /// ChaCha20-Poly1305: fast without AES instructions.
        ChaCha20Poly1305 = 1,
        /// AES-256-GCM: fast with them.
        Aes256Gcm = 2,
    }
);

byte_enum!(
    /// What may be expected of a data set that came back.
    ConsistencyLabel {
        /// The program that writes it was asked to hold still.
        Application = 1,
        /// As after a power cut.
        Crash = 2,
        /// It changed while it was read.
        BestEffort = 3,
    }
);

byte_enum!(
    /// What can be used up. People are told before it is, by the warning time window.
    Limitation {
        /// Room on a keeper's disk.
        Disk = 1,
        /// Places in a keeper's chunk table.
        Table = 2,
        /// Places in a keeper's list of snapshots.
        Snapshots = 3,
        /// What an author may keep on a keeper.
        Quota = 4,
        /// Boxes the reserve can have.
        Boxes = 5,
        /// Key epochs the reserve can have.
        Epochs = 6,
        /// Writes a drive bears.
        Wear = 7,
    }
);

impl Limitation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Disk,
        Self::Table,
        Self::Snapshots,
        Self::Quota,
        Self::Boxes,
        Self::Epochs,
        Self::Wear,
    ];

    /// What people type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Table => "table",
            Self::Snapshots => "snapshots",
            Self::Quota => "quota",
            Self::Boxes => "boxes",
            Self::Epochs => "epochs",
            Self::Wear => "wear",
        }
    }
}
