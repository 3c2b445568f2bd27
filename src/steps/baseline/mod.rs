//! Takes the picture of the machine before it is touched, which verify compares with what came back (safety.md, 4).
use super::{Cx, Next, Step};
use crate::{
    drivers::host::Host,
    kinds,
    model::{Act, Blocker, BootSetup, Command, Difference, Fault, FaultKind, NodeName, Past, Picture, Rules, Span, Timestamp, picture},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[cfg(test)]
mod items;
mod read;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Items that are not compared: `link:eth7`, `unit:backup*`, `port`.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Items that this playbook means to change: noted, never a reason to hold.
    #[serde(default)]
    pub expect: Vec<String>,
    /// Categories of which a loss holds the node although by default it is only noted: `module`, `port`.
    #[serde(default)]
    pub strict: Vec<String>,
    /// How long after the boot what is missing may take to come back, before the node is held.
    #[serde(default = "patience")]
    pub patience: Span,
    /// Of one look at the host.
    #[serde(default = "limit")]
    pub limit: Span,
}
fn patience() -> Span {
    Span::minutes(5)
}
fn limit() -> Span {
    Span::minutes(2)
}
const NAME: &str = "baseline";

impl kinds::Config<dyn Step> for Config {
    const NAME: &'static str = NAME;
    const ABOUT: &'static str = "takes the picture of the machine before it is touched: verify holds the node if something of it is lost";
    fn validate(&self) -> Result<(), String> {
        let all = [&self.ignore, &self.expect, &self.strict];
        match all.into_iter().flatten().find(|p| p.trim().is_empty() || p.as_str() == "*") {
            Some(p) => Err(format!("`{p}` means everything: name a category, such as `module`, or an item, such as `link:eth7`")),
            None if self.limit.0.is_zero() => Err("`limit` must be longer than nothing".into()),
            None => Ok(()),
        }
    }
    fn make(self) -> Box<dyn Step> {
        Box::new(self)
    }
}

/// What the host says of itself, in one command.
pub async fn of_host(node: &NodeName, host: &dyn Host, limit: Span) -> Result<Picture, Fault> {
    let script: String = include_str!("look.sh").lines().filter(|l| !l.trim_start().starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    let out = host.exec(&Command { line: script, limit, stdin: None }).await?;
    let odd = |why: String| Fault::new(FaultKind::Invalid, format!("{node}: the picture of the host: {why}"));
    if out.dropped > 0 {
        return Err(odd(format!("{} bytes more than are read", out.dropped)));
    }
    read::read(&out.stdout).map_err(odd)
}

/// Host, and what the BMC lists.
async fn take(cx: &Cx, limit: Span) -> Result<Picture, Fault> {
    let mut picture = match &cx.host {
        None => Picture::default(),
        Some(host) => of_host(&cx.node, host.as_ref(), limit).await?,
    };
    match cx.bmc.firmware().await {
        Ok(list) => list.iter().for_each(|f| picture.put("firmware", &f.id, &[("name", &f.name), ("version", f.version.as_deref().unwrap_or_default())])),
        // It never had one: that is no answer to wait for.
        Err(fault) if fault.kind == FaultKind::Unable => drop(picture.unread.insert("firmware".into(), fault.to_string())),
        Err(fault) => return Err(fault),
    }
    match cx.bmc.boot_setup().await {
        Ok(setup) => boots(&mut picture, &setup),
        Err(fault) if fault.kind == FaultKind::Unable => ["bmc-boot-order", "bmc-secure-boot", "bios"].into_iter().for_each(|category| {
            picture.unread.insert(category.into(), fault.to_string());
        }),
        Err(fault) => return Err(fault),
    }
    Ok(picture)
}

/// How the BMC is set up to boot the machine (safety.md, 16).
fn boots(picture: &mut Picture, setup: &BootSetup) {
    match &setup.order {
        Some(order) => picture.put("bmc-boot-order", "value", &[("value", &order.join(","))]),
        None => drop(picture.unread.insert("bmc-boot-order".into(), "the BMC does not say it".into())),
    }
    if !setup.secure_boot.is_empty() {
        let said: Vec<(&str, &str)> = setup.secure_boot.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        picture.put("bmc-secure-boot", "value", &said);
    }
    setup.bios.iter().for_each(|(name, value)| picture.put("bios", name, &[("value", value)]));
    for (part, category) in [("SecureBoot", "bmc-secure-boot"), ("Bios", "bios")] {
        if let Some(why) = setup.unread.get(part) {
            picture.unread.insert(category.into(), why.clone());
        }
    }
}

#[async_trait]
impl Step for Config {
    async fn look(&self, cx: &Cx, past: &Past, _: Timestamp) -> Result<Next, Fault> {
        match take(cx, self.limit).await {
            // Where the BMC's log stands: what comes after is new. A log that cannot be read leaves no mark, and a check that asks for it says so.
            Ok(picture) => {
                let log = cx.bmc.log_since(None).await.ok().map(|entries| entries.last().map(|e| e.id.clone()).unwrap_or_default());
                Ok(Next::Done(json!({ "picture": picture, "rules": self, "log": log })))
            }
            // An earlier run left it out, perhaps dark: what it was before is not known any more.
            Err(fault) if past.inherited => Ok(Next::Done(json!({ "picture": null, "why": fault.to_string() }))),
            Err(fault) => Ok(Next::Wait(vec![Blocker::new("picture", fault.to_string())])),
        }
    }
    async fn act(&self, cx: &Cx, act: &Act) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Unable, format!("BUG: baseline of {} has no act `{}`", cx.node, act.what)))
    }
}

/// What came back, beside what went.
pub struct Compared {
    pub found: Vec<Difference>,
    pub patience: Span,
}
impl Compared {
    pub fn worse(&self) -> Vec<&Difference> {
        self.found.iter().filter(|d| d.level.holds()).collect()
    }
    pub fn evidence(&self) -> Value {
        json!(self.found)
    }
    /// What is lost, by name, for a wait.
    pub fn blockers(&self) -> Vec<Blocker> {
        self.worse().into_iter().map(|d| Blocker::new(d.item.clone(), d.line.clone())).collect()
    }
    pub fn fault(&self, cx: &Cx) -> Fault {
        let worse = self.worse();
        let lines: Vec<&str> = worse.iter().map(|d| d.line.as_str()).collect();
        let what = if lines.is_empty() { "as before".to_owned() } else { lines.join("; ") };
        let accept: String = worse.iter().map(|d| format!(" --accept '{}'", d.item)).collect();
        Fault::new(FaultKind::Invalid, what)
            .next(format!("repair it, then pitstop release {0} verify; or accept it as it is: pitstop release {0} verify{accept}", cx.node))
    }
}

/// None: this run took no picture.
pub async fn compare(cx: &Cx, past: &Past) -> Option<Result<Compared, Fault>> {
    let taken = past.evidence.get(NAME)?;
    let before: Picture = serde_json::from_value(taken["picture"].clone()).ok()?;
    let config: Config = serde_json::from_value(taken["rules"].clone()).ok()?;
    let after = match take(cx, config.limit).await {
        Ok(after) => after,
        Err(fault) => return Some(Err(fault)),
    };
    let rules = Rules { ignore: config.ignore, expect: config.expect, strict: config.strict };
    Some(Ok(Compared { found: picture::diff(&before, &after, &rules, &past.accepted), patience: config.patience }))
}
