//! The cluster's own lock: one Lease that pitstops elsewhere see too. All its times are the API server's, from its `Date` header.
use super::{Api, Call, answer};
use crate::model::{Fault, FaultKind, LeaseAnswer, Timestamp, marks};
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use serde_json::{Value, json};
use std::time::Duration;

pub struct Lock<'a> {
    pub api: &'a Api,
    pub namespace: &'a str,
}

const NAME: &str = marks::PROGRAM;

impl Lock<'_> {
    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
    fn what(&self, verb: &str) -> String {
        format!("{verb} lease {}/{NAME}", self.namespace)
    }

    /// The lease, if there is one, and the server's time.
    async fn read(&self) -> Result<(Option<Lease>, Timestamp), Fault> {
        let what = self.what("read");
        let reply = self.api.send(&what, Call::Get { path: &self.path(), name: NAME }).await?;
        let now = reply.date.ok_or_else(|| Fault::new(FaultKind::Invalid, format!("{what}: the answer has no Date")))?;
        match reply.code {
            404 => Ok((None, now)),
            _ if reply.ok() => Ok((Some(reply.parse(&what)?), now)),
            _ => Err(answer::refused(&what, &reply.status(), false)),
        }
    }

    pub async fn holder(&self, owner: Option<&str>) -> Result<Option<LeaseAnswer>, Fault> {
        let (lease, now) = self.read().await?;
        Ok(lease.and_then(|l| held(&l, now)).map(|held| if Some(held.by.as_str()) == owner { LeaseAnswer::Ours } else { held.answer() }))
    }

    pub async fn take(&self, owner: &str, ttl: Duration) -> Result<LeaseAnswer, Fault> {
        let (lease, now) = self.read().await?;
        let current = lease.as_ref().and_then(|l| held(l, now));
        if let Some(other) = current.as_ref().filter(|h| h.by != owner) {
            return Ok(other.answer());
        }
        let micro = json!(MicroTime(now));
        let since = current.map_or(micro.clone(), |ours| ours.since);
        // Whole seconds, never less than asked for.
        let seconds = ttl.as_millis().div_ceil(1000).max(1) as u64;
        let spec = json!({ "holderIdentity": owner, "leaseDurationSeconds": seconds, "acquireTime": since, "renewTime": micro });
        self.write(lease.as_ref(), spec, owner).await
    }

    pub async fn drop(&self, owner: &str) -> Result<(), Fault> {
        let (lease, now) = self.read().await?;
        match lease {
            Some(lease) if lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()) == Some(owner) => {
                // Kept without a holder, as client-go does: deleting would need one more right.
                let spec = json!({ "leaseDurationSeconds": 1, "renewTime": MicroTime(now) });
                self.write(Some(&lease), spec, owner).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    async fn write(&self, was: Option<&Lease>, spec: Value, owner: &str) -> Result<LeaseAnswer, Fault> {
        let mut metadata = json!({ "name": NAME, "namespace": self.namespace });
        let what = self.what("write");
        let path = self.path();
        let body = |metadata: Value| json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec });
        let call = match was {
            None => Call::Create { path: &path, body: body(metadata) },
            Some(lease) => {
                // Another's write since our read is a conflict, never overwritten.
                metadata["resourceVersion"] = json!(lease.metadata.resource_version);
                Call::Replace { path: &path, name: NAME, body: body(metadata) }
            }
        };
        let reply = self.api.send(&what, call).await?;
        match reply.code {
            _ if reply.ok() => Ok(LeaseAnswer::Ours),
            409 => match self.holder(Some(owner)).await? {
                Some(answer) => Ok(answer),
                None => Err(answer::refused(&what, &reply.status(), true)),
            },
            _ => Err(answer::refused(&what, &reply.status(), true)),
        }
    }
}

struct Held {
    by: String,
    since: Value,
}
impl Held {
    fn answer(&self) -> LeaseAnswer {
        LeaseAnswer::Held { by: self.by.clone(), since: self.since.as_str().unwrap_or("unknown").to_owned() }
    }
}

/// Who holds it at `now`, the server's time. A lease without times is held: it cannot be judged.
fn held(lease: &Lease, now: Timestamp) -> Option<Held> {
    let spec = lease.spec.as_ref()?;
    let by = spec.holder_identity.clone().filter(|h| !h.is_empty())?;
    if let (Some(renewed), Some(seconds)) = (&spec.renew_time, spec.lease_duration_seconds) {
        // `Date` is cut to whole seconds.
        if now.as_second() > renewed.0.as_second() + i64::from(seconds) + 1 {
            return None;
        }
    }
    Some(Held { by, since: json!(spec.acquire_time) })
}
