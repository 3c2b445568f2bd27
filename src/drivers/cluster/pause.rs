//! After a server asked for fewer requests: nothing is sent until it may be asked again. Nobody waits here; the next look comes by itself.
use crate::model::{Fault, FaultKind};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// Where the server itself says that it may be asked again at once.
const AT_ONCE: Duration = Duration::from_millis(50);

#[derive(Default)]
pub struct Pause(Mutex<State>);

#[derive(Default)]
struct State {
    until: Option<Instant>,
    /// Refusals in a row: each doubles the pause.
    refused: u32,
}

impl Pause {
    /// May it be asked now? The text is the same at every look, so that a journal does not fill with it.
    pub fn over(&self, what: &str) -> Result<(), Fault> {
        self.over_at(what, Instant::now())
    }
    fn over_at(&self, what: &str, now: Instant) -> Result<(), Fault> {
        match self.state().until {
            Some(until) if now < until => Err(Fault::new(FaultKind::Unwilling, what).cause("not sent: the server asked for fewer requests a moment ago")),
            _ => Ok(()),
        }
    }

    /// It said so, perhaps with a `retry-after` in seconds.
    pub fn refused(&self, retry_after: Option<&str>) {
        // Many clients that were refused at once do not come back at once.
        let jitter = Duration::from_millis((uuid::Uuid::new_v4().as_u128() % 500) as u64);
        self.refused_at(retry_after, Instant::now(), jitter);
    }
    fn refused_at(&self, retry_after: Option<&str>, now: Instant, jitter: Duration) {
        let mut state = self.state();
        let asked = retry_after.and_then(|s| s.trim().parse().ok()).map(Duration::from_secs);
        let first = asked.map_or(FIRST, |asked| asked.clamp(AT_ONCE, FIRST));
        let doubled = (first * 2u32.pow(state.refused.min(10))).min(LONGEST);
        state.refused += 1;
        state.until = Some(now + asked.unwrap_or_default().max(doubled).min(LONGEST * 10) + jitter.min(doubled / 4));
    }

    pub fn answered(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("BUG: a holder of the pause panicked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_doubles_the_pause_and_an_answer_ends_it() {
        let (pause, t0, none) = (Pause::default(), Instant::now(), Duration::ZERO);
        let open = |pause: &Pause, ms: u64| pause.over_at("x", t0 + Duration::from_millis(ms)).is_ok();
        assert!(open(&pause, 0));
        pause.refused_at(None, t0, none);
        assert!(!open(&pause, 1999) && open(&pause, 2000));
        pause.refused_at(None, t0, none);
        assert!(!open(&pause, 3999) && open(&pause, 4000));
        pause.refused_at(Some("30"), t0, none);
        assert!(!open(&pause, 29_999) && open(&pause, 30_000), "what the server asks for counts where it is longer");
        (0..20).for_each(|_| pause.refused_at(None, t0, none));
        assert!(!open(&pause, 59_999) && open(&pause, 60_000), "and it has an end");
        pause.refused_at(Some("Wed, 21 Oct 2026 07:28:00 GMT"), t0, none);
        assert!(!open(&pause, 59_999), "a date is not understood: our own pause");
        pause.answered();
        assert!(open(&pause, 0));
        pause.refused_at(Some("0"), t0, none);
        assert!(!open(&pause, 49) && open(&pause, 50), "it knows best, the first time");
        pause.refused_at(Some("0"), t0, none);
        assert!(!open(&pause, 99) && open(&pause, 100));
    }
}
