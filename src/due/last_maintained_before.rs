//! Due `last-maintained-before`: no run of this store has served the node since then. A service is an act on the machine itself, verified, and the node back in service.
use super::{Due, DueAnswer, DueProbe};
use crate::{
    kinds,
    model::{Fault, FaultKind, Span, Timestamp, since},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// `{ last-maintained-before = "30d" }`: longer ago than that; or a moment, `"2026-11-01T00:00:00Z"`: not since then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Config {
    Ago(Span),
    Since(Timestamp),
}

impl kinds::Config<dyn Due> for Config {
    const NAME: &'static str = "last-maintained-before";
    const ABOUT: &'static str = "no run of this store has served the node since: a span such as \"30d\", or a moment such as \"2026-11-01T00:00:00Z\"";
    fn validate(&self) -> Result<(), String> {
        if *self == Config::Ago(Span::default()) {
            Err("maintained longer than 0s ago is true of every node: a run could never clear it".into())
        } else {
            Ok(())
        }
    }
    fn make(self) -> Box<dyn Due> {
        Box::new(self)
    }
}

fn ago(last: Timestamp, now: Timestamp) -> String {
    match since(last, now).as_secs() {
        s @ 86_400.. => format!("{} d ago", s / 86_400),
        s => format!("{} ago", Span::seconds(s)),
    }
}

#[async_trait]
impl Due for Config {
    async fn look(&self, probe: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        let Some(served) = probe.served else {
            return Err(Fault::new(FaultKind::Unable, format!("{}: when it was last maintained stands in the store, and nobody looked there", probe.node)));
        };
        let Some(last) = served.last else { return Ok(DueAnswer::Due("no run of this store has maintained it yet".into())) };
        // A record of the future tells of a clock that was set back: neither yes nor no.
        if last > served.now {
            return Err(Fault::new(FaultKind::Invalid, format!("{}: last maintained at {last}, and it is only {}", probe.node, served.now)));
        }
        let due = match self {
            Config::Ago(span) => since(last, served.now) > span.0,
            Config::Since(moment) => last < *moment,
        };
        let said = format!("last maintained {}", ago(last, served.now));
        Ok(match (due, self) {
            (true, Config::Ago(span)) => DueAnswer::Due(format!("{said}, over {span}")),
            (true, Config::Since(moment)) => DueAnswer::Due(format!("{said}, not since {moment}")),
            (false, _) => DueAnswer::NotDue(said),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{due::Served, model::NodeName};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
    async fn look(config: &str, last: Option<&str>) -> Result<DueAnswer, Fault> {
        let text = format!("last-maintained-before = '{config}'");
        let kind = crate::due::KINDS.iter().find(|k| k.name == "last-maintained-before").unwrap();
        let (_, value) = toml::de::DeTable::parse(&text).unwrap().into_inner().into_iter().next().unwrap();
        let due = (kind.make)(&(kind.check)(value).unwrap()).unwrap();
        let served = Served { now: at("2026-11-21T03:00:00Z"), last: last.map(at) };
        due.look(&DueProbe { node: &NodeName("edge-01".into()), host: None, view: None, bmc: None, served: Some(served) }).await
    }

    #[tokio::test]
    async fn a_span_a_moment_and_never() {
        let due = |text: &str| Ok(DueAnswer::Due(text.into()));
        let not = |text: &str| Ok(DueAnswer::NotDue(text.into()));
        assert_eq!(look("30d", None).await, due("no run of this store has maintained it yet"));
        assert_eq!(look("30d", Some("2026-10-01T03:00:00Z")).await, due("last maintained 51 d ago, over 30d"));
        assert_eq!(look("30d", Some("2026-10-22T03:00:00Z")).await, not("last maintained 30 d ago"));
        assert_eq!(look("30d", Some("2026-11-21T02:59:00Z")).await, not("last maintained 1m ago"));
        assert_eq!(look("2026-11-01T00:00:00Z", Some("2026-10-31T23:59:59Z")).await, due("last maintained 20 d ago, not since 2026-11-01T00:00:00Z"));
        assert_eq!(look("2026-11-01T00:00:00Z", Some("2026-11-01T00:00:00Z")).await, not("last maintained 20 d ago"));
    }

    #[tokio::test]
    async fn what_cannot_be_known_is_neither_yes_nor_no() {
        assert_eq!(look("30d", Some("2026-11-22T00:00:00Z")).await.unwrap_err().kind, FaultKind::Invalid);
        let (config, node) = (Config::Ago(Span::minutes(1)), NodeName("edge-01".into()));
        let unread = config.look(&DueProbe { node: &node, host: None, view: None, bmc: None, served: None }).await;
        assert_eq!(unread.unwrap_err().kind, FaultKind::Unable);
        let kind = crate::due::KINDS.iter().find(|k| k.name == "last-maintained-before").unwrap();
        for bad in ["x = '0s'", "x = 'soon'", "x = 3", "x = {}"] {
            let (_, value) = toml::de::DeTable::parse(bad).unwrap().into_inner().into_iter().next().unwrap();
            assert!((kind.check)(value).is_err(), "{bad}");
        }
    }
}
