//! Which credentials servers have refused in this process. Three refusals of one, wherever they were, end its use everywhere: a directory account locks for the
//! whole fleet (safety.md, 8). While nobody knows whether it is right, no more are under way than may still be refused.
use crate::model::{Credential, Fault, FaultKind, Login, Secret, Told, Turn};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// So often, and no more.
const MOST: usize = 3;
/// Logins under way at once with a credential that was taken when it was last tried: as many as a survey has connections, or the fleet's latency would be waited for in line.
const AT_ONCE: usize = 900;
/// Who has taken it before and then refuses it may only be starting: asked once more, so much later.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Logins {
    accounts: Mutex<BTreeMap<Credential, Account>>,
    changed: Notify,
    /// Tells one value from another without keeping either.
    digest: RandomState,
}

#[derive(Default)]
struct Account {
    under_way: usize,
    taken_by: BTreeSet<String>,
    /// Each refusal, in order.
    refused_by: Vec<String>,
    /// It was taken when it was last tried.
    sure: bool,
    places: BTreeMap<String, Place>,
}

/// One address at which it is shown.
#[derive(Default)]
struct Place {
    taken: bool,
    /// What was refused there, when, and how often since it was last taken.
    refused: Option<(Option<u64>, Instant, u32)>,
}

enum May {
    Go,
    /// Others are under way that say whether it is right.
    Wait,
    Never(Fault),
}

impl Account {
    fn may(&self, login: &Login, digest: Option<u64>, now: Instant) -> May {
        let never = |what: String| Fault { credential: Some(login.credential.0.clone()), ..Fault::new(FaultKind::Denied, what) };
        if self.refused_by.len() >= MOST {
            return May::Never(self.stopped(&login.credential, &format!("{}: not logged in", login.at)));
        }
        let before = self.places.get(&login.at).and_then(|place| Some((place.taken, place.refused?)));
        if let Some((taken, (what, when, times))) = before
            && digest.is_some()
            && what == digest
            && !(taken && times == 1 && now.saturating_duration_since(when) >= AGAIN)
        {
            let what = format!("{}: not logged in again: it has refused {}, which has not changed since", login.at, login.credential);
            return May::Never(never(what).next("correct it, or look there whether the account is locked; then the same command again"));
        }
        let most = if self.sure { AT_ONCE } else { MOST - self.refused_by.len() };
        if self.under_way < most { May::Go } else { May::Wait }
    }

    fn stopped(&self, credential: &Credential, what: &str) -> Fault {
        let what = format!("{what}: {credential} was refused {} times in this run and is not used any more", self.refused_by.len());
        let fault = Fault::new(FaultKind::Denied, what).cause(format!("refused by {}", self.refused_by.join(", ")));
        let fault = match self.taken_by.len() {
            0 => fault,
            n => fault.cause(format!("it had been taken by {n} others: a directory's account may be locked by now, or those have a password of their own")),
        };
        let next = "correct it, and look whether the account is locked; or leave those out that refuse it; then the same command again (a run: pitstop resume)";
        Fault { credential: Some(credential.0.clone()), ..fault.next(next) }
    }
}

impl Logins {
    pub async fn turn(self: &Arc<Self>, login: Login) -> Result<Turn, Fault> {
        let digest = self.digest_of(&login.shown);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable(); // before we look, so that no change is missed
            let may = {
                let mut accounts = self.accounts();
                let account = accounts.entry(login.credential.clone()).or_default();
                let may = account.may(&login, digest, Instant::now());
                account.under_way += usize::from(matches!(may, May::Go));
                may
            };
            match may {
                May::Go => return Ok(Turn::of(Box::new(Given { logins: self.clone(), login: Login { shown: Vec::new(), ..login }, digest }))),
                May::Never(fault) => return Err(fault),
                May::Wait => changed.await,
            }
        }
    }

    /// A credential that nobody uses any more: the run has lost its sight.
    pub fn lost(&self) -> Option<Fault> {
        let accounts = self.accounts();
        let lost = accounts.iter().find(|(_, account)| account.refused_by.len() >= MOST);
        lost.map(|(credential, account)| account.stopped(credential, "paused"))
    }

    fn digest_of(&self, shown: &[Secret]) -> Option<u64> {
        (!shown.is_empty()).then(|| self.digest.hash_one(shown.iter().map(Secret::expose).collect::<Vec<_>>()))
    }
    fn accounts(&self) -> MutexGuard<'_, BTreeMap<Credential, Account>> {
        self.accounts.lock().expect("BUG: a holder of the accounts panicked")
    }
}

/// One login under way.
struct Given {
    logins: Arc<Logins>,
    login: Login,
    digest: Option<u64>,
}
impl Given {
    /// `edge-01 (https://192.0.2.11)`.
    fn who(&self) -> String {
        self.login.node.as_ref().map_or_else(|| self.login.at.clone(), |node| format!("{node} ({})", self.login.at))
    }
}
impl Told for Given {
    fn taken(&mut self) {
        let mut accounts = self.logins.accounts();
        let account = accounts.entry(self.login.credential.clone()).or_default();
        account.sure = true;
        account.taken_by.insert(self.who());
        *account.places.entry(self.login.at.clone()).or_default() = Place { taken: true, refused: None };
    }
    fn refused(&mut self, mut fault: Fault) -> Fault {
        let mut accounts = self.logins.accounts();
        let account = accounts.entry(self.login.credential.clone()).or_default();
        account.sure = false;
        account.refused_by.push(self.who());
        let place = account.places.entry(self.login.at.clone()).or_default();
        let times = place.refused.map_or(0, |(.., times)| times) + 1;
        place.refused = Some((self.digest, Instant::now(), times));
        let (count, elsewhere) = (account.refused_by.len(), account.taken_by.iter().filter(|who| **who != self.who()).count());
        let credential = &self.login.credential;
        fault = fault.cause(match count < MOST {
            true => format!("refusal {count} of {MOST} of {credential}: after the last nobody uses it any more"),
            false => format!("the {MOST}rd refusal of {credential}: nobody uses it any more in this run"),
        });
        if elsewhere > 0 {
            fault = fault.cause(format!("it was taken by {elsewhere} others: a matter of this one alone"));
        }
        Fault { credential: Some(credential.0.clone()), ..fault }
    }
}
impl Drop for Given {
    fn drop(&mut self) {
        if let Some(account) = self.logins.accounts().get_mut(&self.login.credential) {
            account.under_way -= 1;
        }
        self.logins.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeName;

    fn login(node: usize, password: &str) -> Login {
        let credential = Credential("the password in file /p".into());
        Login { credential, at: format!("https://192.0.2.{node}"), node: Some(NodeName(format!("n{node}"))), shown: vec![Secret::new(password.into())] }
    }
    fn no() -> Fault {
        Fault::new(FaultKind::Denied, "401")
    }

    #[tokio::test(start_paused = true)]
    async fn inv_08_a_wrong_password_is_shown_three_times_by_however_many() {
        let logins = Arc::new(Logins::default());
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let all = (0..200).map(|n| {
            let (logins, sent) = (logins.clone(), sent.clone());
            async move {
                let turn = logins.turn(login(n, "wrong")).await?;
                sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err::<(), Fault>(turn.refused(no()))
            }
        });
        let faults: Vec<Fault> = futures::future::join_all(all).await.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), MOST);
        assert!(faults.iter().all(|f| f.kind == FaultKind::Denied && f.credential.as_deref() == Some("the password in file /p")), "{faults:?}");
        let last = faults.last().unwrap();
        assert!(last.what.contains("refused 3 times in this run") && last.causes[0].contains("n0 (https://192.0.2.0)") && last.next.is_some(), "{last:?}");
        assert!(!format!("{faults:?}").contains("wrong") && logins.lost().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_one_is_held_up_by_nobody_for_long() {
        let logins = Arc::new(Logins::default());
        // Three of them never answer.
        let dead: Vec<Turn> =
            vec![logins.turn(login(1, "p")).await.unwrap(), logins.turn(login(2, "p")).await.unwrap(), logins.turn(login(3, "p")).await.unwrap()];
        let waits = logins.turn(login(4, "p"));
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::from_secs(9), &mut waits).await.is_err(), "three at once while nobody knows");
        drop(dead);
        waits.await.unwrap().taken();
        let many = futures::future::join_all((5..5 + AT_ONCE).map(|n| logins.turn(login(n, "p")))).await;
        assert!(many.iter().all(Result::is_ok));
        // One refuses what the others take: counted, and said to be its own matter.
        drop(many);
        let fault = logins.turn(login(50, "p")).await.unwrap().refused(no());
        assert!(fault.to_string().contains("refusal 1 of 3") && fault.to_string().contains("a matter of this one alone"), "{fault}");
        assert!(logins.lost().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_refused_is_not_asked_again_with_the_same() {
        let logins = Arc::new(Logins::default());
        logins.turn(login(1, "old")).await.unwrap().refused(no());
        let again = logins.turn(login(1, "old")).await.err().unwrap();
        assert!(again.what.contains("has not changed since"), "{again}");
        logins.turn(login(1, "new")).await.unwrap().taken();
        // It had taken it: perhaps it only starts. Once more, later.
        logins.turn(login(1, "new")).await.unwrap().refused(no());
        assert!(logins.turn(login(1, "new")).await.is_err());
        tokio::time::advance(AGAIN).await;
        logins.turn(login(1, "new")).await.unwrap().taken();
        assert!(logins.turn(login(1, "new")).await.is_ok());
    }
}
