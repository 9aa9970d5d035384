//! Every way in which two keepers can disagree, each with its verdict and the reason. Pure, and a closed list.
//!
//! The verdict is found where the two versions meet: bytes where they are read (`keeper`, `retriever`), heads in [`super::judge`],
//! facts of the roster in `roster/order`. Whoever tells people about it takes the words from here, so that there is one reason for each.
//!
//! Always so: no verdict deletes anything, and none but [`Verdict::PersonDecides`] waits for anybody.

use crate::format::message::Refusal;

/// What two keepers can disagree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disagreement {
    /// Two contents under one chunk name.
    ChunkContent,
    /// A head that its author did not sign.
    ForgedHead,
    /// Two signed heads of one author and one number.
    HeadsOfOneNumber,
    /// An author that was restored from an old image.
    RestoredAuthor,
    /// Two processes that are one Box.
    BoxRunsTwice,
    /// A Box and the former one whose history it continues both have a snapshot of one number.
    FormerAuthor,
    /// Two choices between the same snapshots.
    Choices,
    /// Two values of one field of the roster.
    RosterField,
    /// Whether a Box belongs.
    Membership,
    /// Two key epochs that were begun apart.
    KeyEpochs,
    /// Who holds a chunk.
    Holders,
    /// Whose a chunk is.
    Claims,
    /// Where chunks belong.
    Places,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The hash of the bytes.
    Hash,
    /// The author's signature.
    Signature,
    /// The chain of heads, and where it does not, a person.
    ChainThenPerson,
    /// A person.
    PersonDecides,
    /// Nothing has to: the author goes on with numbers nobody used.
    NewNumbers,
    /// The author that lives.
    LivingAuthor,
    /// The order of edits, field by field.
    OrderOfEdits,
    /// The removal.
    Removal,
    /// Both stay.
    Both,
    /// The disk of the one it is about.
    HoldersDisk,
    /// The rosters, which are merged first.
    RosterFirst,
}

impl Disagreement {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::ChunkContent,
        Self::ForgedHead,
        Self::HeadsOfOneNumber,
        Self::RestoredAuthor,
        Self::BoxRunsTwice,
        Self::FormerAuthor,
        Self::Choices,
        Self::RosterField,
        Self::Membership,
        Self::KeyEpochs,
        Self::Holders,
        Self::Claims,
        Self::Places,
    ];

    /// Its name, as programs read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChunkContent => "chunk_content",
            Self::ForgedHead => "forged_head",
            Self::HeadsOfOneNumber => "heads_of_one_number",
            Self::RestoredAuthor => "restored_author",
            Self::BoxRunsTwice => "box_runs_twice",
            Self::FormerAuthor => "former_author",
            Self::Choices => "choices",
            Self::RosterField => "roster_field",
            Self::Membership => "membership",
            Self::KeyEpochs => "key_epochs",
            Self::Holders => "holders",
            Self::Claims => "claims",
            Self::Places => "places",
        }
    }

    /// What decides it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::ChunkContent => Verdict::Hash,
            Self::ForgedHead => Verdict::Signature,
            Self::HeadsOfOneNumber => Verdict::ChainThenPerson,
            Self::RestoredAuthor => Verdict::NewNumbers,
            Self::BoxRunsTwice => Verdict::PersonDecides,
            Self::FormerAuthor => Verdict::LivingAuthor,
            Self::Choices | Self::RosterField => Verdict::OrderOfEdits,
            Self::Membership => Verdict::Removal,
            Self::KeyEpochs | Self::Claims => Verdict::Both,
            Self::Holders => Verdict::HoldersDisk,
            Self::Places => Verdict::RosterFirst,
        }
    }

    /// Why, in one sentence for people.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ChunkContent => {
                "a chunk is named by the hash of its bytes: the keeper whose bytes do not match it fetches it anew from the others"
            }
            Self::ForgedHead => {
                "a snapshot counts only with its author's signature: without it nothing is kept"
            }
            Self::HeadsOfOneNumber => {
                "both are signed by their author, so both are kept: the one its history goes on from stands, and where it does not go on a person chooses"
            }
            Self::RestoredAuthor => {
                "a Box that remembers less than its keepers do goes on behind what they know, as a new incarnation: no number is used twice"
            }
            Self::BoxRunsTwice => {
                "two machines with one Box's identity cannot be told apart: switch off the copy, and join it anew in an empty directory"
            }
            Self::FormerAuthor => {
                "whoever goes on with a former Box's history speaks for it: its own snapshots stand"
            }
            Self::Choices => {
                "of two choices made apart the later one stands, else the one that keeps more"
            }
            Self::RosterField => {
                "of two edits made apart the later one stands, else the safer value, else the smaller hash"
            }
            Self::Membership => {
                "a removal stands for ever, whatever is said beside it; only the recovery words undo it"
            }
            Self::KeyEpochs => "the secrets of both are kept, the greater one is in force",
            Self::Holders => {
                "what a keeper has on its disk counts, not what others remember of it; what it lacks it takes"
            }
            Self::Claims => "a claim too many only keeps something longer: both count",
            Self::Places => {
                "who reckons with other members, sites or numbers of copies is asked again when the rosters are one"
            }
        }
    }

    /// What a keeper's refusal says that the two disagree about, if it does.
    #[must_use]
    pub const fn behind(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::Damaged => Some(Self::ChunkContent),
            Refusal::HeadConflict => Some(Self::HeadsOfOneNumber),
            Refusal::OtherPlaces => Some(Self::Places),
            Refusal::TableFull
            | Refusal::DiskFull
            | Refusal::DiskFailed
            | Refusal::HeadsFull
            | Refusal::QuotaFull
            | Refusal::TicketInvalid
            | Refusal::NameTaken
            | Refusal::ReserveFull
            | Refusal::NothingToReplace
            | Refusal::ReleaseWaits { .. }
            | Refusal::ClaimedSince
            | Refusal::NewestStays
            | Refusal::OtherIncarnation
            | Refusal::Forgotten
            | Refusal::NotUnderstood => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::limits::EVENT_TEXT_BYTES_MAX;

    #[test]
    fn each_has_a_name_of_its_own_and_a_reason_that_an_event_can_carry() {
        let mut names: Vec<_> = Disagreement::ALL.iter().map(|one| one.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Disagreement::ALL.len());
        let mut listed = Disagreement::ALL;
        listed.sort_unstable();
        assert_eq!(
            listed,
            Disagreement::ALL,
            "in the order they are declared in, each once"
        );
        for one in Disagreement::ALL {
            assert!(one.reason().len() <= EVENT_TEXT_BYTES_MAX, "{one:?}");
        }
    }

    #[test]
    fn the_list_in_the_readme_is_this_one() {
        let told = include_str!("../README.md");
        for one in Disagreement::ALL {
            let row = format!("| `{}` |", one.name());
            assert_eq!(told.matches(&row).count(), 1, "{row}");
        }
    }

    #[test]
    fn only_what_cannot_be_decided_waits_for_a_person() {
        let waits = |one: &Disagreement| {
            matches!(
                one.verdict(),
                Verdict::PersonDecides | Verdict::ChainThenPerson
            )
        };
        let waiting: Vec<_> = Disagreement::ALL.into_iter().filter(waits).collect();
        let wanted = [Disagreement::HeadsOfOneNumber, Disagreement::BoxRunsTwice];
        assert_eq!(waiting, wanted);
    }
}
