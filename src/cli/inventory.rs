//! `pitstop inventory`: is it right, what is in it, what does a selection mean? Contacts nothing.
use super::{
    args::{InventoryArgs, InventoryCommand},
    context::Context,
    failure::{CONFIGURATION, Failure},
    import, trust,
};
use crate::report::plural;

pub async fn run(cx: &Context, args: InventoryArgs) -> Result<u8, Failure> {
    match args.what {
        Some(InventoryCommand::Trust(args)) => return trust::run(cx, args).await,
        Some(InventoryCommand::Import(args)) => return import::run(cx, args).await,
        None => {}
    }
    let inventory = cx.inventory()?;
    let gaps = import::gaps(&inventory);
    // Valid, and not yet complete: nothing can be done with such a node.
    let code = if gaps.is_empty() { 0 } else { CONFIGURATION };
    gaps.iter().for_each(|gap| cx.say(gap));
    let everything = args.selection.nodes.is_empty() && args.selection.filter.is_none();
    let selection = super::args::Selection { all: args.selection.all || everything, ..args.selection };
    let nodes = cx.selected(&inventory, &selection)?;
    let shown = nodes.iter().filter_map(|name| Some((name, inventory.nodes.get(name)?)));
    if cx.json {
        let nodes: std::collections::BTreeMap<_, _> = shown.collect();
        cx.data(
            &serde_json::json!({ "base": inventory.base, "time": inventory.time, "clusters": inventory.clusters, "nodes": nodes, "checks": inventory.checks }),
        )?;
        return Ok(code);
    }
    let width = nodes.iter().map(|n| n.0.len()).max().unwrap_or(0);
    for (name, node) in shown {
        let clusters: Vec<String> = node.seats.iter().map(|s| s.cluster.to_string()).collect();
        let ways: Vec<&str> = node.bmc.iter().map(|b| b.kind.as_str()).chain(node.host.as_ref().map(|h| h.kind.as_str())).collect();
        let labels: Vec<String> = node.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        outln!("{name:width$}  {}  {}  {}", clusters.join(","), ways.join(" "), labels.join(","));
    }
    outln!("{} in {}; nothing was contacted", plural(nodes.len(), "node"), plural(inventory.clusters.len(), "cluster"));
    Ok(code)
}
