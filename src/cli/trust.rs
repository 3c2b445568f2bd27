//! `pitstop inventory trust`: what machines prove themselves by is shown to a person, and pinned in `trust.toml` once that person agrees.
//! A first meeting is all it can witness: compare with the machine's own console. What is pinned already changes only with `--replace`.
use super::{
    args::TrustArgs,
    context::Context,
    failure::{CONFIGURATION, Failure, USAGE},
    identities::{self, SeenIdentity},
    trust_file,
};
use crate::{
    drivers::{bmc, host},
    inventory::{Inventory, trust_file as beside},
    kinds,
    model::{Certificate, Fault, FaultKind, HostKey, NodeName, Trust},
    report::plural,
};
use futures::{StreamExt, stream};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
};

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

pub async fn run(cx: &Context, mut args: TrustArgs) -> Result<u8, Failure> {
    let mut inventory = cx.inventory()?;
    let nodes = cx.selected(&inventory, &args.selection)?;
    let file = beside(&cx.inventory_path()?);
    let pinned = trust_file::read(&file)?;
    if args.new_identity {
        alone(cx, &inventory, &nodes, &pinned)?;
        // Another board brings another BMC.
        args.replace = true;
    }
    let asked = stream::iter(&nodes).map(|name| Box::pin(look(cx, &inventory, name, pinned.get(name).cloned().unwrap_or_default())));
    let mut seen: Vec<Shown> = asked.buffer_unordered(AT_ONCE).collect().await;
    seen.sort_by(|a, b| a.node.cmp(&b.node));

    if !cx.json {
        seen.iter().for_each(|s| out!("{}", text(s)));
    }
    let wanted: Vec<&Shown> = seen.iter().filter(|s| s.pins(args.replace)).collect();
    let write = !wanted.is_empty() && (args.yes || agreed(&names(wanted.iter().map(|s| &s.node)), &file, cx.json));
    if write {
        trust_file::change(&file, |all| wanted.iter().for_each(|s| s.write(all.entry(s.node.clone()).or_default(), args.replace)))?;
        inventory = cx.inventory()?;
    }

    // Who they are is asked of those that are trusted by now: there a password is shown.
    let who = identities::read(cx, &inventory, &nodes, &pinned).await;
    if !cx.json {
        who.iter().for_each(|s| out!("{}", s.text()));
    }
    let new: Vec<&SeenIdentity> = who.iter().filter(|s| s.pins(args.new_identity).is_some()).collect();
    let write_new = !new.is_empty() && (args.yes || agreed(&names(new.iter().map(|s| &s.node)), &file, cx.json));
    if write_new {
        trust_file::change(&file, |all| new.iter().for_each(|s| pin(cx, s, args.new_identity, all.entry(s.node.clone()).or_default())))?;
    }

    let unwritten = |node: &NodeName| wanted.iter().any(|s| !write && s.node == *node) || new.iter().any(|s| !write_new && s.node == *node);
    let failed = |node: &NodeName| seen.iter().any(|s| s.node == *node && !s.faults.is_empty());
    let other = |node: &NodeName| who.iter().any(|s| s.node == *node && s.open(args.new_identity));
    let kept = |node: &NodeName| seen.iter().any(|s| s.node == *node && !args.replace && s.has(State::Changed));
    let written = nodes.iter().filter(|n| (write && wanted.iter().any(|s| s.node == **n)) || (write_new && new.iter().any(|s| s.node == **n))).count();
    if cx.json {
        cx.data(&serde_json::json!({ "file": file, "written": written, "nodes": seen, "identities": who }))?;
    } else {
        let open = nodes.iter().filter(|n| unwritten(n)).count();
        match (written, open) {
            (0, 0) if !nodes.iter().any(|n| failed(n) || other(n) || kept(n)) => {
                outln!("nothing to write: {} in {} as seen", plural(nodes.len(), "node"), file.display())
            }
            (0, 0) => outln!("nothing was written"),
            (0, n) => outln!("nothing was written. Once {} compared: the same command with --yes", if n == 1 { "it is" } else { "they are" }),
            (n, _) => outln!("{} written into {}", plural(n, "node"), file.display()),
        }
        let changed = names(nodes.iter().filter(|n| kept(n)));
        if !changed.is_empty() {
            outln!("kept as pinned: {}\nnext: find out why it changed; then pitstop inventory trust {} --replace", changed.join(", "), changed.join(" "));
        }
        if let Some(node) = who.iter().find(|s| s.changed() && s.open(args.new_identity)).map(|s| &s.node) {
            outln!("next: if its board was replaced: pitstop inventory trust {node} --new-identity --reason TEXT; else find out which machine answers there");
        }
    }
    let open = nodes.iter().filter(|n| unwritten(n) || failed(n) || other(n) || kept(n)).count();
    Ok(match open {
        0 => 0,
        _ if written > 0 || open < nodes.len() => 5,
        _ => 4,
    })
}

fn names<'a>(nodes: impl Iterator<Item = &'a NodeName>) -> Vec<&'a str> {
    nodes.map(|n| n.0.as_str()).collect()
}

/// Another machine in the place of one: said of one node, with the reason, where that can be written at all.
fn alone(cx: &Context, inventory: &Inventory, nodes: &BTreeSet<NodeName>, pinned: &BTreeMap<NodeName, Trust>) -> Result<(), Failure> {
    let Some(name) = nodes.first().filter(|_| nodes.len() == 1) else {
        return Err(Failure::new(USAGE, format!("--new-identity is for one node, these are {}", nodes.len())).next("name one node"));
    };
    if cx.global.reason.is_none() {
        let what = "--new-identity needs --reason TEXT: it is kept beside the new identity";
        return Err(Failure::new(USAGE, what).next(format!("pitstop inventory trust {name} --new-identity --reason TEXT")));
    }
    let in_file = pinned.get(name).and_then(|t| t.identity.as_ref());
    if let (Some(said), false) = (inventory.identity(name), inventory.identity(name) == in_file) {
        let at = inventory.nodes.get(name).map(|n| n.defined_at.clone()).unwrap_or_default();
        return Err(Failure::new(CONFIGURATION, format!("{name} is pinned to {} in its own table, at {at}; trust.toml does not decide there", said.shown()))
            .next(format!("change or take away `identity` there, then pitstop inventory trust {name}")));
    }
    Ok(())
}

fn pin(cx: &Context, seen: &SeenIdentity, new_identity: bool, trust: &mut Trust) {
    let before = std::mem::replace(&mut trust.identity, seen.pins(new_identity).cloned());
    if let (true, Some(reason)) = (new_identity, &cx.global.reason) {
        let was = before.map_or_else(|| "not pinned before".to_owned(), |before| format!("was {}", before.shown()));
        trust.note = Some(format!("{:.0}: {reason} ({was})", cx.clock.now()));
    }
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
fn agreed(names: &[&str], file: &std::path::Path, json: bool) -> bool {
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprint!("Compared with what their own consoles show? Pin {} in {}? Type yes: ", names.join(", "), file.display());
    std::io::stderr().flush().ok(); // the question may lie there unseen; the answer then is no
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let pinned = Trust { certificate: Some("aa".repeat(32)), host_keys: vec![], identity: Some(identity.clone()), note: None };
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
