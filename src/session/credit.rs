//! The two books of credit for `Put` bodies: what we may still send, and what the peer may.
//!
//! Both follow one rule, so that an honest sender is never cut off: a body may go if it and all that is outstanding fit into
//! the grant, or if nothing is outstanding; what has no bytes always. The receiver's book runs behind the sender's only to the sender's advantage.

/// Bytes granted and bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Book {
    granted: u64,
    outstanding: u64,
}

impl Book {
    pub(super) fn new(granted: u32) -> Self {
        Self {
            granted: u64::from(granted),
            outstanding: 0,
        }
    }

    /// Enters a body if the rule allows it now.
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        let then = self.outstanding + u64::from(bytes);
        let allowed = bytes == 0 || self.outstanding == 0 || then <= self.granted;
        if allowed {
            self.outstanding = then;
        }
        allowed
    }

    /// Strikes bytes out; `false` if there were not so many.
    pub(super) fn give_back(&mut self, bytes: u32) -> bool {
        match self.outstanding.checked_sub(u64::from(bytes)) {
            Some(rest) => {
                self.outstanding = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_goes_within_the_grant_or_alone() {
        let mut book = Book::new(10);
        assert!(book.take(6) && book.take(4) && !book.take(1));
        assert!(book.give_back(4) && !book.take(5) && book.take(4));
        assert!(book.give_back(10) && !book.give_back(1));
        assert!(book.take(100) && !book.take(1), "alone, it may be longer");
        assert!(book.take(0), "nothing needs no room");
    }

    #[test]
    fn a_sender_within_its_book_is_within_the_receivers() {
        // Every order of sending, arriving and giving back up to some length, by counting in base three.
        for mut plan in 0..3_u32.pow(9) {
            let (mut sender, mut receiver) = (Book::new(5), Book::new(5));
            let (mut flying, mut here, mut returning) = (vec![], vec![], vec![]);
            let mut bytes = 1;
            for _ in 0..9 {
                match plan % 3 {
                    0 => {
                        if sender.take(bytes) {
                            flying.insert(0, bytes);
                        }
                        bytes = bytes % 4 + 1;
                    }
                    1 => {
                        if let Some(body) = flying.pop() {
                            assert!(receiver.take(body));
                            here.push(body);
                        }
                    }
                    _ => {
                        if let Some(body) = here.pop() {
                            assert!(receiver.give_back(body));
                            returning.push(body);
                        } else if let Some(body) = returning.pop() {
                            assert!(sender.give_back(body));
                        }
                    }
                }
                plan /= 3;
            }
        }
    }
}
