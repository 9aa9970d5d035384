//! What may happen to bytes on their way between two Boxes, besides that they are late.

use crate::dice::Dice;

/// What happens to some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// They are left out, and the next ones follow as if nothing was missing.
    Lost,
    /// They come twice.
    Twice,
    /// One bit of them is otherwise.
    Forged,
}

impl Meddling {
    /// What arrives.
    pub(crate) fn done_to(self, mut bytes: Vec<u8>, dice: &Dice) -> Vec<u8> {
        match self {
            Self::Lost => Vec::new(),
            Self::Twice => [bytes.as_slice(), bytes.as_slice()].concat(),
            Self::Forged => {
                let at = usize::try_from(dice.below(bytes.len().max(1) as u64)).unwrap_or(0);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
                bytes
            }
        }
    }
}
