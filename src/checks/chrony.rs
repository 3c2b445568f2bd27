//! Check `chrony`: the clock is synchronized, and near the right time.
use super::{
    Check, Probe, Repair, Verdict,
    tool::{self, Asked, Missing},
};
use crate::{
    kinds,
    model::{Blocker, Command, Fault, Span},
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

/// The reference of a chronyd that serves its own clock (`local stratum 10`).
const ITSELF: &str = "7F7F0101";

#[async_trait]
impl Check for Config {
    fn describe(&self) -> String {
        "chrony".to_owned()
    }
    async fn look(&self, probe: &Probe<'_>) -> Result<Verdict, Fault> {
        let out = match tool::ask(probe, "chronyc", "chronyc -n -c tracking", false, self.limit, self.missing).await? {
            // `506 Cannot talk to daemon`: it does not run, which is what this check is there to find.
            Asked::Said(out) if out.stdout.starts_with("506 ") || out.stderr.starts_with("506 ") => {
                return Ok(Verdict::Unhealthy(vec![Blocker::new("chrony", "chronyd does not answer")]));
            }
            Asked::Said(out) if out.status == 0 => out,
            Asked::Said(out) => return Err(tool::failed(probe, "chronyc", &out)),
            Asked::Settled(verdict) => return Ok(verdict),
        };
        // reference id, name, stratum, reference time, correction of the system clock, …, leap status
        let fields: Vec<&str> = out.stdout.trim().split(',').collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).filter(|n| n.is_finite());
        let known = ["Normal", "Insert second", "Delete second", "Not synchronised"];
        let leap = fields.last().filter(|leap| known.contains(leap) && fields.len() >= 14);
        let (Some(stratum), Some(off), Some(delay), Some(dispersion), Some(leap)) = (number(2), number(4), number(10), number(11), leap) else {
            return Err(tool::garbage(probe, "chronyc tracking", &out.stdout));
        };
        let mut wrong = Vec::new();
        if *leap == "Not synchronised" || stratum == 0.0 {
            wrong.push(Blocker::new("clock", "not synchronized"));
        } else if fields[0] == ITSELF {
            wrong.push(Blocker::new("clock", "follows only itself: no source can be reached"));
        }
        // chrony's own bound of the error: it grows while its sources are silent.
        let bound = off.abs() + dispersion + delay / 2.0;
        if off.abs() > self.offset.0.as_secs_f64() {
            wrong.push(Blocker::new("clock", format!("{:.3} s off, at most {}", off.abs(), self.offset)));
        } else if wrong.is_empty() && bound > self.offset.0.as_secs_f64() {
            wrong.push(Blocker::new("clock", format!("may be {bound:.3} s off, at most {}", self.offset)));
        }
        let source = fields.get(1).copied().unwrap_or_default();
        Ok(tool::verdict(wrong, json!({ "source": source, "offset_s": off })))
    }
    fn repair(&self, wrong: &[Blocker]) -> Option<Repair> {
        let off = wrong.iter().any(|b| b.why.contains(" s off") && !b.why.starts_with("may be"));
        (self.repair && off).then(|| Repair { what: "step the clock".into(), args: json!(null) })
    }
    async fn mend(&self, probe: &Probe<'_>, _: &Repair) -> Result<(), Fault> {
        let out = tool::host(probe, "chronyc")?.exec(&Command::as_root("chronyc makestep", self.limit)).await?;
        if out.status == 0 { Ok(()) } else { Err(tool::failed(probe, "chronyc makestep", &out)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tool::test::*, *};

    fn config(missing: Missing) -> Config {
        Config { offset: offset(), repair: true, missing, limit: limit() }
    }
    /// In the form of chrony 4.3; 4.x and 3.x write the same fourteen fields.
    const WELL: &str =
        "C0000201,192.0.2.1,3,1763737415.123456789,0.000012345,-0.000004321,0.000052106,-12.345,0.001,0.032,0.012345678,0.001234567,1035.2,Normal\n";
    const ALONE: &str = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,-4.861,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n";

    #[tokio::test]
    async fn a_synchronized_clock_is_healthy() {
        assert_eq!(well(of(&config(Missing::Fail), 0, WELL).await)["source"], "192.0.2.1");
        let by_gps = WELL.replace("C0000201,192.0.2.1,3", "50505300,PPS0,1").replace("Normal", "Insert second");
        assert_eq!(well(of(&config(Missing::Fail), 0, &by_gps).await)["source"], "PPS0");
    }
    #[tokio::test]
    async fn off_alone_and_silent_are_named() {
        for (said, line) in [
            (WELL.replace("0.000012345", "-7.5"), "clock: 7.500 s off, at most 1s"),
            (ALONE.to_owned(), "clock: not synchronized"),
            (WELL.replace("C0000201,192.0.2.1,3", "7F7F0101,127.127.1.1,10"), "clock: follows only itself: no source can be reached"),
            (WELL.replace("0.001234567,1035.2", "3.25,1035.2"), "clock: may be 3.256 s off, at most 1s"),
        ] {
            assert_eq!(wrong(of(&config(Missing::Fail), 0, &said).await), [line]);
        }
        for status in [0, 1] {
            // Not all versions say it by their status too.
            let silent = of(&config(Missing::Fail), status, "506 Cannot talk to daemon\n").await;
            assert_eq!(wrong(silent), ["chrony: chronyd does not answer"]);
        }
    }
    #[tokio::test]
    async fn repaired_only_where_a_step_helps() {
        let repair = config(Missing::Fail).repair(&[Blocker::new("clock", "7.500 s off, at most 1s")]).unwrap();
        assert_eq!(repair.what, "step the clock");
        for why in ["not synchronized", "may be 3.256 s off, at most 1s", "chronyd does not answer"] {
            assert_eq!(config(Missing::Fail).repair(&[Blocker::new("clock", why)]), None, "{why}");
        }
        assert_eq!(Config { repair: false, ..config(Missing::Fail) }.repair(&[Blocker::new("clock", "7.500 s off, at most 1s")]), None);
        let host = mended(&config(Missing::Fail), &repair, 0, "200 OK\n").await;
        assert!(host.unwrap()[0].contains("chronyc makestep"));
        let refused = mended(&config(Missing::Fail), &repair, 1, "501 Not authorised\n").await.unwrap_err();
        assert!(refused.to_string().contains("501 Not authorised"), "{refused}");
    }
    #[tokio::test]
    async fn nonsense_and_a_missing_tool_are_never_healthy() {
        let nonsense = [
            (0, ""),
            (0, "hello"),
            (0, "a,b,c,d,e,f,g,h,i,j,k,l,m,Normal"),
            (0, "x,y,3,1,NaN,0,0,0,0,0,0,0,0,Normal"),
            (0, &WELL[..100]),
            (0, &WELL.replace("Normal", "Norm")),
            (1, "?"),
        ];
        never_silently_healthy(&config(Missing::Fail), Some(&config(Missing::Skip)), &nonsense).await;
    }
}
