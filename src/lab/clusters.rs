//! The cluster systems the lab can put up, a row each. To add one: write its server, a function like those below that starts it, and a row of `KINDS`.
use super::{command, faults::Fault, kubernetes, openvcloud, palette, rack::Rack, tls::Tls, vergeos};
use std::{
    fs,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    pin::Pin,
};
use tokio::net::TcpListener;

/// One kind of cluster.
#[derive(Debug)]
pub struct Kind {
    /// As in `[clusters.edge.kubernetes]` and `--cluster kubernetes`.
    pub name: &'static str,
    /// The cluster's name in the lab's inventory, and what its nodes' names begin with.
    pub cluster: &'static str,
    pub up: fn(Site<'_>, TcpListener) -> io::Result<Up>,
    /// Services that its hosts run beside the usual ones.
    pub services: &'static [&'static str],
    /// Commands that its hosts have beside the usual ones: a script, and the names it answers to.
    pub tools: &'static [(&'static str, &'static [&'static str])],
}

pub const KINDS: &[Kind] = &[
    Kind { name: "kubernetes", cluster: "edge", up: kubernetes, services: &[], tools: &[] },
    Kind {
        name: "openvcloud",
        cluster: "cpu",
        up: openvcloud,
        services: &["ovs-workers", "ovs-arakoon-ovsdb", "ovs-webapp-api", "ays-jsagent", "ays-redis"],
        tools: &[(include_str!("openvcloud/tools/ovs.sh"), &["ovs", "ays", "initctl"])],
    },
    Kind { name: "vergeos", cluster: "vault", up: vergeos, services: &[], tools: &[] },
    Kind { name: "palette", cluster: "dc", up: palette, services: &[], tools: &[] },
    Kind { name: "command", cluster: "rig", up: command, services: &[], tools: &[] },
    Kind { name: "node_maintenance", cluster: "metal", up: node_maintenance, services: &[], tools: &[] },
    Kind { name: "kubevirt", cluster: "virt", up: kubevirt, services: &[], tools: &[] },
];

/// By its name, or what to say about it.
pub fn kind(name: &str) -> Result<&'static Kind, String> {
    let known = || KINDS.iter().map(|k| k.name).collect::<Vec<_>>().join(", ");
    KINDS.iter().find(|k| k.name == name).ok_or_else(|| format!("the lab has no `{name}` cluster; there are {}", known()))
}

/// Where a cluster is put up.
pub struct Site<'a> {
    pub cluster: &'static str,
    pub rack: Rack,
    /// The lab's directory: secrets go to `secrets/`, the inventory that names them lies in `inventory/`.
    pub dir: &'a Path,
    pub tls: Tls,
    pub members: Vec<Member>,
    pub faults: &'a [Fault],
}
pub struct Member {
    pub name: String,
    /// Where its BMC answers.
    pub bmc: IpAddr,
}

/// A cluster that is put up.
pub struct Up {
    /// What the inventory says about it: `[clusters.…]` and whatever belongs to it.
    pub inventory: String,
    /// Files that commands on its hosts read: machine, name in its tree, text.
    pub files: Vec<(String, &'static str, String)>,
    pub server: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
}

impl Site<'_> {
    /// A fresh secret, readable for its owner alone; the inventory names it `../secrets/NAME`.
    pub fn secret(&self, name: &str) -> io::Result<String> {
        let text = random();
        secret(&self.dir.join("secrets").join(name), &text)?;
        Ok(text)
    }
}

fn kubernetes(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    plain(site, listener, Default::default())
}

/// No kind of its own to the driver: Kubernetes with VMs.
fn kubevirt(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    plain(site, listener, kubernetes::addons::Addons { kubevirt: true, ..Default::default() })
}

fn plain(site: Site<'_>, listener: TcpListener, addons: kubernetes::addons::Addons) -> io::Result<Up> {
    let token = random();
    let address: SocketAddr = listener.local_addr()?;
    secret(&site.dir.join("kubeconfig"), &kubernetes::kubeconfig(site.cluster, address, &site.tls, &token))?;
    let inventory = format!("[clusters.{}.kubernetes]\nkubeconfig = \"../kubeconfig\"\n\n", site.cluster);
    let members = site.members.iter().map(|m| (m.name.clone(), m.name.clone())).collect();
    let Site { rack, tls, .. } = site;
    Ok(Up { inventory, files: Vec::new(), server: Box::pin(async move { kubernetes::serve_with(rack, members, listener, &tls, &token, addons).await }) })
}

/// Watched for a second instead of thirty: the driver knows nothing of scaled time.
fn node_maintenance(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    let token = random();
    let address: SocketAddr = listener.local_addr()?;
    secret(&site.dir.join("kubeconfig"), &kubernetes::kubeconfig(site.cluster, address, &site.tls, &token))?;
    let inventory = format!("[clusters.{}.node_maintenance]\nkubeconfig = \"../kubeconfig\"\nwatch_after = \"1s\"\n\n", site.cluster);
    let members = site.members.iter().map(|m| (m.name.clone(), m.name.clone())).collect();
    let Site { rack, tls, .. } = site;
    let addons = kubernetes::addons::Addons { node_maintenance: true, ..Default::default() };
    Ok(Up { inventory, files: Vec::new(), server: Box::pin(async move { kubernetes::serve_with(rack, members, listener, &tls, &token, addons).await }) })
}

fn vergeos(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    let api_key = site.secret("vergeos-key")?;
    let inventory = format!(
        "[clusters.{}.vergeos]\nurl = \"https://{}\"\napi_key = {{ file = \"../secrets/vergeos-key\" }}\ntls = {{ ca_file = \"../ca.pem\" }}\n\
         # Its hours are a hundred times as short.\nrequests_per_hour = 100000\n\n",
        site.cluster,
        listener.local_addr()?
    );
    let mut nodes: Vec<vergeos::NodeSpec> = site.members.iter().map(|m| vergeos::NodeSpec::new(&m.name, &m.name, &m.bmc.to_string())).collect();
    if let Some(second) = nodes.get_mut(1).filter(|_| site.faults.contains(&Fault::Cluster("pinned-vm"))) {
        let (pinned, off) = (format!("pinned-{}", second.name), format!("off-{}", second.name));
        second.vms.push(vergeos::VmSpec { movable: false, ..vergeos::VmSpec::new(&pinned) });
        second.vms.push(vergeos::VmSpec { running: false, ..vergeos::VmSpec::new(&off) });
    }
    let creds = vergeos::Creds { api_key, username: "admin".into(), password: random() };
    let setup = vergeos::Setup { nodes, creds, shape: vergeos::Shape::default(), faults: vergeos::Faults::default(), asked: Default::default() };
    Ok(Up { inventory, files: Vec::new(), server: Box::pin(vergeos::serve(site.rack, setup, listener, Some(site.tls))) })
}

/// No server: a script and its files, in `command/`.
fn command(site: Site<'_>, _: TcpListener) -> io::Result<Up> {
    let token = site.secret("rackctl-token")?;
    let asked = [("resolve", "nodes"), ("status", "status"), ("workloads", "running"), ("enter", "drain"), ("leave", "undrain")];
    let commands: String = asked.iter().map(|(name, verb)| format!("{name} = [\"../command/rackctl\", \"{verb}\"]\n")).collect();
    let inventory = format!("[clusters.{}.command]\n{commands}env = {{ RACKCTL_TOKEN = {{ file = \"../secrets/rackctl-token\" }} }}\n\n", site.cluster);
    let names: Vec<String> = site.members.into_iter().map(|m| m.name).collect();
    let world = command::World::new(site.rack, &names, site.dir.join("command"), &token)?;
    Ok(Up { inventory, files: Vec::new(), server: Box::pin(world.serve()) })
}

fn palette(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    let api_key = site.secret("palette-key")?;
    let inventory = format!(
        "[clusters.{}.palette]\nurl = \"https://{}\"\napi_key = {{ file = \"../secrets/palette-key\" }}\nproject = \"edge\"\ncluster = \"dc1\"\n\
         tls = {{ ca_file = \"../ca.pem\" }}\n\n",
        site.cluster,
        listener.local_addr()?
    );
    let nodes: Vec<palette::NodeSpec> = (1..).zip(&site.members).map(|(n, m)| palette::NodeSpec::new(&m.name, n)).collect();
    let files =
        nodes.iter().map(|n| (n.machine.clone(), "addresses", format!("2: eth0    inet {}/24 brd 192.0.2.255 scope global eth0\n", n.address))).collect();
    let faults = palette::Faults::named(site.faults.iter().filter_map(|f| if let Fault::Cluster(name) = f { Some(*name) } else { None }));
    let setup = palette::Setup { nodes, api_key, faults, record: Default::default() };
    Ok(Up { inventory, files, server: Box::pin(palette::serve(site.rack, setup, listener, Some(site.tls))) })
}

fn openvcloud(site: Site<'_>, listener: TcpListener) -> io::Result<Up> {
    let secret = site.secret("openvcloud-secret")?;
    // Every other wait is scaled by the rack's pace; this one by `[time]`, with the run's.
    let inventory = format!(
        "[clusters.{}.openvcloud]\nurl = \"https://{}\"\nportal_secret = {{ file = \"../secrets/openvcloud-secret\" }}\n\
         tls = {{ ca_file = \"../ca.pem\" }}\nleftovers = \"move\"\n\n\
         [[checks]]\nat = \"booted\"\novs = {{ services = [\"ovs-workers\"], monitor_for = \"400ms\" }}\n\n[[checks]]\nat = \"booted\"\nays = {{}}\n\n",
        site.cluster,
        listener.local_addr()?
    );
    // Hosts and grid have addresses in common: by them the grid's node is known to be the host that answers.
    let address = |n: usize| format!("198.51.{}.{}", 100 + n / 250, n % 250 + 1);
    let files = (site.members.iter().enumerate())
        .map(|(n, m)| (m.name.clone(), "addresses", format!("2: backplane1    inet {}/24 scope global backplane1\n", address(n))))
        .chain(site.members.iter().enumerate().flat_map(|(n, m)| {
            // Hosts of three ages: upstart with `watch`, systemd, systemd with a loop of its own.
            let (format, init) = [("3", "systemd"), ("1", "init"), ("2", "systemd")][n % 3];
            [(m.name.clone(), "ovs-format", format!("{format}\n")), (m.name.clone(), "init", format!("{init}\n"))]
        }))
        .collect();
    let nodes = site.members.iter().enumerate().map(|(n, m)| openvcloud::NodeSpec::new(&m.name, &address(n))).collect();
    let creds = openvcloud::Creds { jwt: random(), username: "ops@itsyouonline".into(), password: random(), secret, groups: vec!["level2", "admin"] };
    let setup = openvcloud::Setup {
        nodes,
        creds,
        version: openvcloud::Version::default(),
        faults: openvcloud::Faults::default(),
        destroyed: 0,
        asked: Default::default(),
    };
    Ok(Up { inventory, files, server: Box::pin(openvcloud::serve(site.rack, setup, listener, Some(site.tls))) })
}

pub fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// For its owner's eyes.
pub fn secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}
