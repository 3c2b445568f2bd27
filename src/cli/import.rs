//! `pitstop inventory import` and `pitstop init`: a first inventory, from somebody's list of machines or as a commented example.
use super::{
    args::{ImportArgs, InitArgs},
    connect,
    context::Context,
    failure::{CONFIGURATION, Failure, USAGE},
};
use crate::{
    inventory::import::{self, Found, GAP, Listed, Source},
    model::{ClusterName, Setting},
    report::plural,
};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

const NODES_OF_A_CLUSTER: &str = "kubeconfig";

pub async fn run(cx: &Context, args: ImportArgs) -> Result<u8, Failure> {
    let path = Path::new(&args.file);
    let wrong = |why: String| Failure::new(CONFIGURATION, format!("{} is not what {} writes: {why}", args.file, args.from));
    let (listed, table) = if args.from == NODES_OF_A_CLUSTER {
        let absolute = std::path::absolute(path).map_err(|e| wrong(e.to_string()))?;
        let context = args.context.as_ref().map(|c| format!("context = {}\n", toml::Value::String(c.clone()))).unwrap_or_default();
        let kubeconfig = toml::Value::String(absolute.display().to_string());
        (members(cx, &absolute, args.context.as_deref()).await?, format!("[clusters.{}.kubernetes]\nkubeconfig = {kubeconfig}\n{context}", args.cluster))
    } else {
        let source = Source::ALL.iter().find(|(name, _)| *name == args.from).map(|(_, source)| *source);
        let source = source.ok_or_else(|| Failure::new(USAGE, format!("no source `{}`; there are {}", args.from, sources())))?;
        let table = format!(
            "# GAP: which system these machines belong to; machines of no cluster are in one of kind `none`: pitstop help, docs/inventory.md\n[clusters.{}.none]\n",
            args.cluster
        );
        (import::read(source, &text(path)?).map_err(wrong)?, table)
    };
    let toml = import::toml(&format!("{} ({})", args.from, args.file), &args.cluster, &table, &listed);
    match &args.output {
        None => out!("{toml}"),
        Some(output) => new_file(output, &toml)?,
    }
    let gaps = toml.matches("# GAP: ").count();
    listed.left_out.iter().for_each(|left| cx.say(&format!("left out: {left}")));
    cx.say(&format!("{} imported, {} left", plural(listed.found.len(), "node"), plural(gaps, "gap")));
    if let Some(output) = &args.output {
        cx.say(&format!("next: pitstop -i {} inventory", output.display()));
    }
    Ok(0)
}

pub fn sources() -> String {
    let files: Vec<&str> = Source::ALL.iter().map(|(name, _)| *name).collect();
    format!("{}, {NODES_OF_A_CLUSTER}", files.join(", "))
}

fn text(path: &Path) -> Result<String, Failure> {
    let wrong = |e: std::io::Error| Failure::new(CONFIGURATION, format!("cannot read {}: {e}", path.display()));
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(wrong)?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(wrong)
}

/// The nodes that a kubeconfig's cluster itself lists. Reads only.
async fn members(cx: &Context, kubeconfig: &Path, context: Option<&str>) -> Result<Listed, Failure> {
    let mut body = json!({ "kubeconfig": kubeconfig.display().to_string() });
    if let Some(context) = context {
        body["context"] = json!(context);
    }
    let setting = Setting { kind: "kubernetes".into(), body };
    let driver = connect::cluster_of(cx, Path::new("/"), &ClusterName("import".into()), &setting)?;
    let members = driver.members().await?;
    let found = members.into_iter().map(|m| Found { name: m.name, ..Found::default() }).collect();
    Ok(Listed { found, left_out: Vec::new() })
}

/// Never over a file that is there.
fn new_file(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|e| Failure::new(CONFIGURATION, format!("cannot make {}: {e}", dir.display())))?;
    }
    let made = fs::OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    made.map_err(|e| Failure::new(CONFIGURATION, format!("cannot write {}: {e}; nothing was overwritten", path.display())).next("name another file"))
}

/// A commented inventory to start from: valid as it stands, with gaps where only its owner knows.
pub fn init(cx: &Context, args: &InitArgs) -> Result<u8, Failure> {
    let path = args.dir.join("inventory.toml");
    new_file(&path, &include_str!("init.toml.in").replace("GAP_HOST", GAP))?;
    cx.say(&format!("wrote {}", path.display()));
    cx.say(&format!("next: fill its gaps in, then pitstop -i {} inventory; or pitstop inventory import, where a list of the machines is", args.dir.display()));
    Ok(0)
}

/// Nodes of which something is still to be filled in.
pub fn gaps(inventory: &crate::inventory::Inventory) -> Vec<String> {
    let open = |text: &serde_json::Value| text.to_string().contains(GAP);
    let node = |(name, n): (&crate::model::NodeName, &crate::inventory::NodeEntry)| {
        let ways = n.bmc.iter().map(|s| (format!("bmc.{}", s.kind), &s.body)).chain(n.host.iter().map(|s| (format!("host.{}", s.kind), &s.body)));
        let named: Vec<String> = ways.filter(|(_, body)| open(body)).map(|(what, _)| what).collect();
        (!named.is_empty()).then(|| format!("{name}: {} is a gap ({})", named.join(" and "), n.defined_at))
    };
    inventory.nodes.iter().filter_map(node).collect()
}
