//! Check `chrony`: the clock is synchronized, and near the right time.
use super::{
    Check, Probe, Repair, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, FaultKind, Span},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The clock may be so far off.
    #[serde(default = "offset")]
    pub offset: Span,
    /// The clock is stepped to the right time; once per boot.
    #[serde(default)]
    pub repair: bool,
    /// Without chronyc on the host.
    #[serde(default)]
    pub missing: Missing,
    #[serde(default = "limit")]
    pub limit: Span,
}
fn offset() -> Span {
    Span::seconds(1)
}
fn limit() -> Span {
    Span::seconds(15)
}

impl kinds::Config<dyn Check> for Config {
    const NAME: &'static str = "chrony";
    const ABOUT: &'static str = "chrony has synchronized the clock, and it is near the right time";
    fn validate(&self) -> Result<(), String> {
        if self.offset.0.is_zero() || self.limit.0.is_zero() { Err("`offset` and `limit` must be longer than nothing".into()) } else { Ok(()) }
    }
    fn make(self) -> Box<dyn Check> {
        Box::new(self)
    }
}

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        "chrony".to_owned()
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let out = match tool::ask(probe, "chronyc", "chronyc -n -c tracking", false, self.limit, self.missing).await? {
            Asked::Said(out) if out.status == 0 => out,
            // `506 Cannot talk to daemon`: it does not run, which is what this check is there to find.
            Asked::Said(out) if out.stdout.starts_with("506") || out.stderr.starts_with("506") => {
                return Ok(Verdict::Unhealthy(vec![Blocker::new("chrony", "chronyd does not answer")]));
            }
            Asked::Said(out) => return Err(tool::failed(probe, "chronyc", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        // reference id, name, stratum, reference time, correction of the system clock, …, leap status
        let fields: Vec<&str> = out.stdout.trim().split(',').collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).filter(|n| n.is_finite());
        let (Some(stratum), Some(off), Some(leap), true) = (number(2), number(4), fields.last(), fields.len() >= 14) else {
            return Err(tool::garbage(probe, "chronyc tracking", &out.stdout));
        };
        let mut wrong = Vec::new();
        if *leap == "Not synchronised" || stratum == 0.0 {
            wrong.push(Blocker::new("clock", "not synchronized"));
        }
        if off.abs() > self.offset.0.as_secs_f64() {
            wrong.push(Blocker::new("clock", format!("{:.3} s off, at most {}", off.abs(), self.offset)));
        }
        let source = fields.get(1).copied().unwrap_or_default();
        Ok(if wrong.is_empty() { Verdict::Healthy(json!({ "source": source, "offset_s": off })) } else { Verdict::Unhealthy(wrong) })
    }
    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        let off = wrong.iter().any(|b| b.why.contains(" s off"));
        (self.repair && off).then(|| Repair { what: "step the clock".into(), args: json!(null) })
    }
    async fn mend(&self, probe: &Probe<'_>, _: &Repair) -> Result<(), Fault> {
        let host = probe.host.ok_or_else(|| Fault::new(FaultKind::Unable, format!("{}: no host to step the clock of", probe.node)))?;
        let out = host.exec(&Command::as_root("chronyc makestep", self.limit)).await?;
        if out.status == 0 { Ok(()) } else { Err(tool::failed(probe, "chronyc makestep", &out)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};

    fn config(missing: Missing) -> Config {
        Config { offset: offset(), repair: true, missing, limit: limit() }
    }
    // chrony 4.3, Debian 12.
    const WELL: &str =
        "C0000201,192.0.2.1,3,1763737415.123456789,0.000012345,-0.000004321,0.000052106,-12.345,0.001,0.032,0.012345678,0.001234567,1035.2,Normal\n";

    #[tokio::test]
    async fn near_off_and_alone() {
        assert_eq!(well(of(&config(Missing::Fail), 0, WELL).await)["source"], "192.0.2.1");
        let off = of(&config(Missing::Fail), 0, &WELL.replace("0.000012345", "-7.5")).await;
        assert_eq!(wrong(off), ["clock: 7.500 s off, at most 1s"]);
        let alone = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,-4.861,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n";
        assert_eq!(wrong(of(&config(Missing::Fail), 0, alone).await), ["clock: not synchronized"]);
        assert_eq!(wrong(of(&config(Missing::Fail), 1, "506 Cannot talk to daemon\n").await), ["chrony: chronyd does not answer"]);
    }
    #[tokio::test]
    async fn repaired_only_where_a_step_helps() {
        assert_eq!(config(Missing::Fail).repair(&[Blocker::new("clock", "7.500 s off, at most 1s")]).unwrap().what, "step the clock");
        assert_eq!(config(Missing::Fail).repair(&[Blocker::new("clock", "not synchronized")]), None);
    }
    #[tokio::test]
    async fn nonsense() {
        let nonsense = [(0, ""), (0, "hello"), (0, "a,b,c,d,e,f,g,h,i,j,k,l,m,Normal"), (0, "x,y,3,1,NaN,0,0,0,0,0,0,0,0,Normal"), (1, "?")];
        never_silently_healthy(&config(Missing::Fail), Some(&config(Missing::Skip)), &nonsense).await;
    }
}
