//! The task that watches the time: asks a silent peer for a sign of life, and ends a session that gives none or takes nothing.
//!
//! It also gives a sign of life when this side has sent nothing for a while: a peer that spends half a minute sending one body
//! over a slow link could not get its own question for one through. It looks at marks the other tasks leave, and interrupts
//! no read or write.

use std::rc::Rc;
use std::time::Duration;

use super::SessionError;
use super::state::State;
use crate::terms::limits::{
    ANSWER_SECONDS_MAX, KEEPALIVE_CALLED_SECONDS, KEEPALIVE_SECONDS, SESSION_SILENCE_SECONDS_MAX,
    SESSION_STUCK_SECONDS_MAX,
};
use crate::world::{Clock, Moment};

/// How long what may last.
#[derive(Debug, Clone, Copy)]
struct Patience {
    keepalive: Duration,
    silence: Duration,
    stuck: Duration,
    answer: Duration,
}

impl Patience {
    fn of<C: Clock>(clock: &C, initiated: bool) -> Self {
        let idly = |seconds| clock.idly(Duration::from_secs(seconds));
        let keepalive = if initiated {
            KEEPALIVE_SECONDS
        } else {
            KEEPALIVE_CALLED_SECONDS
        };
        Self {
            keepalive: idly(keepalive),
            silence: idly(SESSION_SILENCE_SECONDS_MAX),
            stuck: idly(SESSION_STUCK_SECONDS_MAX),
            answer: idly(ANSWER_SECONDS_MAX),
        }
    }
}

/// The marks the other tasks leave.
#[derive(Debug, Clone, Copy)]
struct Marks {
    received_at: Moment,
    sent_at: Moment,
    is_reading: bool,
    stuck_since: Option<Moment>,
    unanswered_since: Option<Moment>,
    pinged_at: Moment,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    End(SessionError),
    Ping,
    Wait(Duration),
}

fn verdict(patience: Patience, marks: Marks, now: Moment) -> Verdict {
    let silent = now.since(marks.received_at);
    let stuck = marks.stuck_since.map_or(Duration::ZERO, |at| now.since(at));
    if stuck >= patience.stuck {
        return Verdict::End(SessionError::Stalled);
    }
    if marks.is_reading && silent >= patience.silence {
        return Verdict::End(SessionError::Silent);
    }
    let unanswered = marks
        .unanswered_since
        .filter(|_| marks.is_reading)
        .map_or(Duration::ZERO, |at| now.since(at));
    if unanswered >= patience.answer {
        return Verdict::End(SessionError::Unanswered);
    }
    let quiet = silent.max(now.since(marks.sent_at));
    let quiet = quiet.min(now.since(marks.pinged_at));
    if quiet >= patience.keepalive {
        return Verdict::Ping;
    }
    let mut wait = patience.keepalive - quiet;
    if marks.is_reading {
        wait = wait.min(patience.silence - silent);
    }
    Verdict::Wait(
        wait.min(patience.stuck - stuck)
            .min(patience.answer - unanswered),
    )
}

/// Watches until it ends the session.
pub(super) async fn watch<C: Clock>(state: Rc<State>, clock: C) -> SessionError {
    let patience = Patience::of(&clock, state.parties.initiated);
    let mut pinged_at = state.received_at.get();
    loop {
        let marks = Marks {
            received_at: state.received_at.get(),
            sent_at: state.sent_at.get(),
            is_reading: state.is_reading.get(),
            stuck_since: state.stuck_since.get(),
            unanswered_since: state.unanswered_since(),
            pinged_at,
        };
        match verdict(patience, marks, clock.now()) {
            Verdict::End(why) => return why,
            Verdict::Ping => {
                pinged_at = clock.now();
                state.ping();
            }
            Verdict::Wait(how_long) => clock.sleep(how_long).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// As it usually is.
    fn verdict(marks: Marks, now: Moment) -> Verdict {
        let usual = Patience {
            keepalive: Duration::from_secs(KEEPALIVE_SECONDS),
            silence: Duration::from_secs(SESSION_SILENCE_SECONDS_MAX),
            stuck: Duration::from_secs(SESSION_STUCK_SECONDS_MAX),
            answer: Duration::from_secs(ANSWER_SECONDS_MAX),
        };
        super::verdict(usual, marks, now)
    }

    const MARKS: Marks = Marks {
        received_at: Moment(Duration::from_secs(100)),
        sent_at: Moment(Duration::from_secs(100)),
        is_reading: true,
        stuck_since: None,
        unanswered_since: None,
        pinged_at: Moment(Duration::from_secs(100)),
    };

    #[test]
    fn a_quiet_peer_is_asked_and_a_silent_one_given_up() {
        let asked = Marks {
            pinged_at: at(110),
            ..MARKS
        };
        assert_eq!(
            verdict(MARKS, at(104)),
            Verdict::Wait(Duration::from_secs(2))
        );
        assert_eq!(verdict(MARKS, at(106)), Verdict::Ping);
        assert_eq!(
            verdict(asked, at(112)),
            Verdict::Wait(Duration::from_secs(3))
        );
        assert_eq!(verdict(asked, at(115)), Verdict::End(SessionError::Silent));
    }

    #[test]
    fn whoever_only_listens_gives_a_sign_of_life_as_well() {
        let marks = |pinged| Marks {
            received_at: at(106),
            pinged_at: at(pinged),
            ..MARKS
        };
        assert_eq!(verdict(marks(100), at(106)), Verdict::Ping);
        assert_eq!(
            verdict(marks(106), at(106)),
            Verdict::Wait(Duration::from_secs(6))
        );
    }

    #[test]
    fn nobody_is_blamed_for_silence_while_we_do_not_listen() {
        let marks = Marks {
            is_reading: false,
            ..MARKS
        };
        assert_eq!(verdict(marks, at(500)), Verdict::Ping);
    }

    #[test]
    fn a_peer_that_lives_but_takes_nothing_is_given_up_later() {
        let marks = |now| Marks {
            received_at: at(now),
            sent_at: at(now),
            stuck_since: Some(at(100)),
            ..MARKS
        };
        assert_eq!(
            verdict(marks(159), at(159)),
            Verdict::Wait(Duration::from_secs(1))
        );
        assert_eq!(
            verdict(marks(160), at(160)),
            Verdict::End(SessionError::Stalled)
        );
    }

    #[test]
    fn a_peer_that_lives_but_leaves_a_question_without_an_answer_is_given_up() {
        let marks = |now| Marks {
            received_at: at(now),
            sent_at: at(now),
            pinged_at: at(now),
            unanswered_since: Some(at(100)),
            ..MARKS
        };
        assert_eq!(
            verdict(marks(699), at(699)),
            Verdict::Wait(Duration::from_secs(1))
        );
        assert_eq!(
            verdict(marks(700), at(700)),
            Verdict::End(SessionError::Unanswered)
        );
        let ours_to_blame = Marks {
            is_reading: false,
            ..marks(700)
        };
        assert_ne!(
            verdict(ours_to_blame, at(700)),
            Verdict::End(SessionError::Unanswered)
        );
    }

    #[test]
    fn the_next_look_is_always_later_than_now() {
        for now in 100..200 {
            for (is_reading, stuck) in [(true, None), (false, Some(at(150))), (true, Some(at(120)))]
            {
                let marks = Marks {
                    is_reading,
                    stuck_since: stuck,
                    ..MARKS
                };
                assert_ne!(verdict(marks, at(now)), Verdict::Wait(Duration::ZERO));
            }
        }
    }
}
