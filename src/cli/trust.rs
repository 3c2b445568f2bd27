//! `pitstop inventory trust`: what machines prove themselves by is shown to a person, and pinned in `trust.toml` once that person agrees.
//! A first meeting is all it can witness: compare with the machine's own console. What is pinned already changes only with `--replace`.
use super::{args::TrustArgs, context::Context, failure::Failure, trust_file};
use crate::{
    drivers::{bmc, host},
    inventory::{Inventory, trust_file as beside},
    kinds,
    model::{Certificate, Fault, FaultKind, HostKey, NodeName, Trust},
    report::plural,
};
use futures::{StreamExt, stream};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// BMCs and hosts asked side by side.
const AT_ONCE: usize = 32;

/// A proof as it is seen and as it is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pinned,
    New,
    Changed,
}

#[derive(Debug, Serialize)]
struct Shown {
    node: NodeName,
    /// Where, what, and how it stands to what is pinned. Several where a BMC has several ways in with certificates.
    certificates: Vec<(String, Certificate, State)>,
    host_keys: Vec<(String, HostKey, State)>,
    faults: Vec<Fault>,
    #[serde(skip)]
    pinned: Trust,
}

impl Shown {
    fn states(&self) -> impl Iterator<Item = State> {
        self.certificates.iter().map(|(.., s)| *s).chain(self.host_keys.iter().map(|(.., s)| *s))
    }
    fn has(&self, state: State) -> bool {
        self.states().any(|s| s == state)
    }
    /// What would be written: new proofs, and changed ones where that is asked for.
    fn pins(&self, replace: bool) -> bool {
        self.has(State::New) || (replace && self.has(State::Changed))
    }
    /// Only what was seen is touched: an identity, and a host that was silent, stay as they are.
    fn write(&self, trust: &mut Trust, replace: bool) {
        let take = |s: &State| *s == State::New || (replace && *s == State::Changed);
        for (_, certificate, _) in self.certificates.iter().filter(|(.., s)| take(s)) {
            trust.certificate = Some(certificate.sha256.clone());
        }
        for (_, key, _) in self.host_keys.iter().filter(|(.., s)| take(s)) {
            trust.host_keys = vec![key.line.clone()];
        }
    }
}

pub async fn run(cx: &Context, args: TrustArgs) -> Result<u8, Failure> {
    let inventory = cx.inventory()?;
    let nodes = cx.selected(&inventory, &args.selection)?;
    let file = beside(&cx.inventory_path()?);
    let pinned = trust_file::read(&file)?;
    let asked = stream::iter(&nodes).map(|name| Box::pin(look(cx, &inventory, name, pinned.get(name).cloned().unwrap_or_default())));
    let mut seen: Vec<Shown> = asked.buffer_unordered(AT_ONCE).collect().await;
    seen.sort_by(|a, b| a.node.cmp(&b.node));

    if !cx.json {
        seen.iter().for_each(|s| out!("{}", text(s)));
    }
    let wanted: Vec<&Shown> = seen.iter().filter(|s| s.pins(args.replace)).collect();
    let write = !wanted.is_empty() && (args.yes || agreed(&wanted, &file, cx.json));
    if write {
        trust_file::change(&file, |all| wanted.iter().for_each(|s| s.write(all.entry(s.node.clone()).or_default(), args.replace)))?;
    }
    let silent = seen.iter().filter(|s| !s.faults.is_empty()).count();
    let changed: Vec<&str> = seen.iter().filter(|s| !args.replace && s.has(State::Changed)).map(|s| s.node.0.as_str()).collect();
    let written = if write { wanted.len() } else { 0 };
    if cx.json {
        cx.data(&serde_json::json!({ "file": file, "written": written, "nodes": seen }))?;
    } else {
        match (write, wanted.len()) {
            (true, n) => outln!("{} written into {}", plural(n, "node"), file.display()),
            (false, 0) if silent == 0 && changed.is_empty() => outln!("nothing to write: {} in {} as seen", plural(seen.len(), "node"), file.display()),
            (false, 0) => outln!("nothing was written"),
            (false, n) => outln!("nothing was written. Once {} compared: the same command with --yes", if n == 1 { "it is" } else { "they are" }),
        }
        if !changed.is_empty() {
            outln!("kept as pinned: {}\nnext: find out why it changed; then pitstop inventory trust {} --replace", changed.join(", "), changed.join(" "));
        }
    }
    let open = silent + changed.len() + if write { 0 } else { wanted.len() };
    Ok(match open {
        0 => 0,
        _ if written > 0 || open < seen.len() => 5,
        _ => 4,
    })
}

async fn look(cx: &Context, inventory: &Inventory, name: &NodeName, pinned: Trust) -> Shown {
    let entry = &inventory.nodes[name];
    let connect = cx.connect(&inventory.base, Some(name), pinned.clone());
    let mut shown = Shown { node: name.clone(), certificates: Vec::new(), host_keys: Vec::new(), faults: Vec::new(), pinned };
    let senseless = |what: String| Fault::new(FaultKind::Invalid, what);
    for setting in &entry.bmc {
        let seen = match kinds::make(bmc::KINDS, setting).map_err(senseless) {
            Ok(config) => config.certificate(&connect).await.map(|c| c.map(|c| (config.endpoint(), c))),
            Err(fault) => Err(fault),
        };
        match seen {
            Ok(Some((endpoint, certificate))) => {
                let same = |pin: &String| pin.replace(':', "").eq_ignore_ascii_case(&certificate.sha256);
                let state = state(shown.pinned.certificate.as_ref().map(same));
                shown.certificates.push((endpoint, certificate, state));
            }
            Ok(None) => {}
            Err(fault) => shown.faults.push(fault),
        }
    }
    if let Some(setting) = &entry.host {
        let seen = match kinds::make(host::KINDS, setting).map_err(senseless) {
            Ok(config) => config.host_key(&connect).await.map(|k| k.map(|k| (config.endpoint(), k))),
            Err(fault) => Err(fault),
        };
        match seen {
            Ok(Some((endpoint, key))) => {
                // Behind type and key a comment may stand.
                let same = |line: &String| line.split_whitespace().take(2).eq(key.line.split_whitespace().take(2));
                let keys = &shown.pinned.host_keys;
                let state = state((!keys.is_empty()).then(|| keys.iter().any(same)));
                shown.host_keys.push((endpoint, key, state));
            }
            Ok(None) => {}
            Err(fault) => shown.faults.push(fault),
        }
    }
    shown
}

fn state(same: Option<bool>) -> State {
    match same {
        None => State::New,
        Some(true) => State::Pinned,
        Some(false) => State::Changed,
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Pinned => "as pinned",
        State::New => "not pinned yet",
        State::Changed => "CHANGED",
    }
}

fn text(shown: &Shown) -> String {
    let mut lines = vec![shown.node.to_string()];
    for (endpoint, c, state) in &shown.certificates {
        let issuer = if c.self_issued { format!("{} (itself)", c.issuer) } else { c.issuer.clone() };
        lines.push(format!("  certificate of {endpoint}: {}", word(*state)));
        lines.push(format!("    sha256   {}", c.sha256));
        if *state == State::Changed {
            lines.push(format!("    pinned   {}", shown.pinned.certificate.as_deref().unwrap_or_default()));
        }
        lines.push(format!("    subject  {}", c.subject));
        lines.push(format!("    issuer   {issuer}"));
        lines.push(format!("    valid    {} to {}", c.not_before, c.not_after));
        lines.extend(c.not_believed.iter().map(|why| format!("    without a pin it is refused: {why}")));
    }
    for (endpoint, key, state) in &shown.host_keys {
        lines.push(format!("  host key of {endpoint}: {}", word(*state)));
        lines.push(format!("    {} {}", key.line.split_whitespace().next().unwrap_or_default(), key.fingerprint));
        if *state == State::Changed {
            lines.push(format!("    pinned   {}", shown.pinned.host_keys.join("\n             ")));
        }
    }
    for fault in &shown.faults {
        lines.push(format!("  FAILED     {fault}"));
    }
    if lines.len() == 1 {
        lines.push("  shows no certificate and no host key: IPMI has none".into());
    }
    lines.join("\n") + "\n"
}

/// A person at a terminal says so in full. Nobody else is asked.
fn agreed(wanted: &[&Shown], file: &std::path::Path, json: bool) -> bool {
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let names: Vec<&str> = wanted.iter().map(|s| s.node.0.as_str()).collect();
    eprint!("Compared with what their own consoles show? Pin {} in {}? Type yes: ", names.join(", "), file.display());
    std::io::stderr().flush().ok(); // the question may lie there unseen; the answer then is no
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_pin_is_replaced_only_when_asked_and_the_rest_of_the_line_stays() {
        let certificate = |sha256: String| Certificate {
            sha256,
            subject: String::new(),
            issuer: String::new(),
            not_before: String::new(),
            not_after: String::new(),
            self_issued: true,
            not_believed: None,
        };
        let identity = crate::model::Identity { serial: Some("J4X12S3".into()), ..Default::default() };
        let pinned = Trust { certificate: Some("aa".repeat(32)), host_keys: vec![], identity: Some(identity.clone()) };
        let key = HostKey { line: "ssh-ed25519 AAAA".into(), fingerprint: "SHA256:x".into() };
        let shown = Shown {
            node: NodeName("edge-01".into()),
            certificates: vec![("https://192.0.2.1".into(), certificate("bb".repeat(32)), State::Changed)],
            host_keys: vec![("root@192.0.2.2:22".into(), key, State::New)],
            faults: vec![],
            pinned: pinned.clone(),
        };
        let mut all = BTreeMap::from([(shown.node.clone(), pinned.clone())]);
        shown.write(all.get_mut(&shown.node).unwrap(), false);
        assert_eq!(all[&shown.node], Trust { host_keys: vec!["ssh-ed25519 AAAA".into()], ..pinned });
        shown.write(all.get_mut(&shown.node).unwrap(), true);
        assert_eq!((all[&shown.node].certificate.clone(), all[&shown.node].identity.clone()), (Some("bb".repeat(32)), Some(identity)));
        assert!(text(&shown).contains("CHANGED") && text(&shown).contains(&"aa".repeat(32)), "{}", text(&shown));
    }
}
