//! Who may ask: the lab BMC's one account, by session or by Basic. The session table is as small as those of real BMCs.
use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub const LIMIT: usize = 8;
/// Unused for this long, a session is gone.
pub const TIMEOUT: Duration = Duration::from_secs(1800);

/// The BMC's only user. No Debug: it holds a password.
#[derive(Clone)]
pub struct Account {
    pub username: String,
    pub password: String,
}
impl Account {
    pub fn is(&self, username: &str, password: &str) -> bool {
        self.username == username && self.password == password
    }
}

#[derive(Default)]
pub struct Sessions {
    by_id: BTreeMap<u64, Session>,
    last_id: u64,
}
struct Session {
    token: String,
    used: Instant,
}

impl Sessions {
    fn expire(&mut self, now: Instant) {
        self.by_id.retain(|_, session| now.duration_since(session.used) < TIMEOUT);
    }

    /// Id and token, or nothing where the table is full.
    pub fn open(&mut self, now: Instant) -> Option<(u64, String)> {
        self.expire(now);
        if self.by_id.len() >= LIMIT {
            return None;
        }
        self.last_id += 1;
        let token = uuid::Uuid::new_v4().simple().to_string();
        self.by_id.insert(self.last_id, Session { token: token.clone(), used: now });
        Some((self.last_id, token))
    }

    pub fn close(&mut self, id: u64) -> bool {
        self.by_id.remove(&id).is_some()
    }

    pub fn ids(&mut self, now: Instant) -> Vec<u64> {
        self.expire(now);
        self.by_id.keys().copied().collect()
    }

    /// Does this token belong to an open session? Using it keeps it.
    fn admits(&mut self, token: &str, now: Instant) -> bool {
        self.expire(now);
        let session = self.by_id.values_mut().find(|session| session.token == token);
        session.map(|session| session.used = now).is_some()
    }

    /// A token decides alone where there is one, as on real BMCs.
    pub fn admit(&mut self, headers: &HeaderMap, account: &Account, now: Instant) -> bool {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        match (text("x-auth-token"), text(header::AUTHORIZATION.as_str())) {
            (Some(token), _) => self.admits(token, now),
            (None, Some(basic)) => basic_account(basic).is_some_and(|(user, password)| account.is(&user, &password)),
            (None, None) => false,
        }
    }
}

fn basic_account(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_full_at_its_limit_and_frees_itself() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let opened: Vec<_> = (0..LIMIT).filter_map(|_| sessions.open(start)).collect();
        assert_eq!((opened.len(), sessions.open(start)), (LIMIT, None));
        assert!(sessions.close(opened[0].0) && !sessions.close(opened[0].0));
        assert!(sessions.open(start).is_some());
        // One is used, and outlives the others.
        assert!(sessions.admits(&opened[1].1, start + TIMEOUT / 2));
        assert!(!sessions.admits(&opened[2].1, start + TIMEOUT));
        assert!(sessions.admits(&opened[1].1, start + TIMEOUT));
        assert_eq!(sessions.ids(start + TIMEOUT), [opened[1].0]);
    }
}
