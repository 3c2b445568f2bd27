//! Puts the rack up: machines, their BMCs, hosts and clusters on loopback sockets, and the inventory that describes them.
use super::{
    clusters::{self, Kind, Member, Site, random, secret},
    faults::{self, Fault},
    ipmi,
    rack::{MachineSpec, Pace, Rack},
    redfish, ssh,
    tls::Tls,
};
use std::{
    fmt::Write,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

const BMC_USER: &str = "ops";
const IPMI_USER: &str = "ops-ipmi";

/// What to put up.
#[derive(Debug, Clone)]
pub struct Order {
    pub nodes: usize,
    pub faults: Vec<Fault>,
    /// One cluster of this kind alone, of `clusters::KINDS`.
    pub only: Option<&'static Kind>,
    pub pace: Pace,
}

/// Runs until dropped.
pub struct Lab {
    pub inventory: PathBuf,
    pub record: PathBuf,
    /// Names, each with its kind of cluster, in the order of the rack.
    pub nodes: Vec<(String, &'static Kind)>,
    servers: JoinSet<io::Result<()>>,
}

impl Lab {
    /// Ends only when a server does: with what it died of.
    pub async fn broken(&mut self) -> String {
        match self.servers.join_next().await {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => error.to_string(),
            _ => "a server ended".into(),
        }
    }
}

struct Ports {
    bmc: SocketAddr,
    ipmi: SocketAddr,
    ssh: SocketAddr,
}

pub async fn start(dir: &Path, order: &Order) -> io::Result<Lab> {
    let dir = std::path::absolute(dir)?;
    fs::create_dir_all(dir.join("secrets"))?;
    fs::create_dir_all(dir.join("inventory"))?;
    let nodes = names(order)?;
    let record = dir.join("rack.jsonl");
    let rack = Rack::new(
        nodes.iter().enumerate().map(|(i, (name, kind))| machine(order, i + 1, name, kind)).collect(),
        order.pace,
        Box::new(fs::File::create(&record)?),
    );

    let addresses: Vec<IpAddr> = (1..=nodes.len()).map(bmc_address).collect();
    let tls = Tls::for_addresses(&addresses);
    fs::write(dir.join("ca.pem"), tls.ca_pem())?;
    let (password, ipmi_password) = (random(), random()[..16].to_owned());
    for (name, text) in [("bmc-username", BMC_USER), ("bmc-password", &password), ("ipmi-username", IPMI_USER), ("ipmi-password", &ipmi_password)] {
        secret(&dir.join("secrets").join(name), text)?;
    }
    let client = ssh::new_key("pitstop lab");
    let key = client.to_openssh(Default::default()).map_err(io::Error::other)?;
    secret(&dir.join("secrets/ssh-key"), key.as_str())?;

    let mut servers = JoinSet::new();
    servers.spawn(rack.clone().keep_ticking_ok());
    let mut inventory_of_clusters = String::new();
    for kind in clusters::KINDS {
        let of = nodes.iter().zip(&addresses).filter(|((_, k), _)| k.name == kind.name);
        let members: Vec<Member> = of.map(|((name, _), bmc)| Member { name: name.clone(), bmc: *bmc }).collect();
        if members.is_empty() {
            continue;
        }
        let site = Site { cluster: kind.cluster, rack: rack.clone(), dir: &dir, tls: tls.clone(), members, faults: &order.faults };
        let up = (kind.up)(site, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)?;
        inventory_of_clusters += &up.inventory;
        servers.spawn(up.server);
        for (machine, name, text) in up.files {
            let root = dir.join("machines").join(machine).join("root");
            fs::create_dir_all(&root)?;
            fs::write(root.join(name), text)?;
        }
    }
    let mut ports = Vec::new();
    let mut known_hosts = String::new();
    for (i, (name, kind)) in nodes.iter().enumerate() {
        let bmc = TcpListener::bind((addresses[i], 0)).await?;
        let udp = UdpSocket::bind((addresses[i], 0)).await?;
        let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        ports.push(Ports { bmc: bmc.local_addr()?, ipmi: udp.local_addr()?, ssh: host.local_addr()? });
        let host_key = ssh::new_key(name);
        let public = host_key.public_key().to_openssh().map_err(io::Error::other)?;
        writeln!(known_hosts, "[127.0.0.1]:{} {public}", host.local_addr()?.port()).map_err(io::Error::other)?;
        let server = ssh::Server {
            rack: rack.clone(),
            machine: name.clone(),
            dir: dir.join("machines").join(name),
            host_key,
            authorized_key: client.public_key().clone(),
            tools: kind.tools,
        };
        let (account, tls) = (redfish::Account { username: BMC_USER.into(), password: password.clone() }, tls.clone());
        let (machine, of_ipmi) = ((rack.clone(), name.clone()), (rack.clone(), name.clone()));
        servers.spawn(async move { redfish::serve(machine.0, machine.1, bmc, &tls, account).await });
        servers.spawn(ipmi::serve(of_ipmi.0, of_ipmi.1, udp, (IPMI_USER.into(), ipmi_password.clone())));
        servers.spawn(ssh::serve(server, host));
    }
    fs::write(dir.join("known_hosts"), known_hosts)?;

    super::flash::files(&dir)?;
    // Last, and in one go: whoever waits for it finds everything listening.
    let inventory = dir.join("inventory");
    let text = inventory_text(order, &nodes, &inventory_of_clusters, &ports);
    fs::write(dir.join("rack.toml.new"), text)?;
    fs::rename(dir.join("rack.toml.new"), inventory.join("rack.toml"))?;
    Ok(Lab { inventory, record, nodes, servers })
}

/// Two thirds stand in the Kubernetes cluster, the rest in VergeOS, where one machine alone could hand its VMs to nobody.
fn names(order: &Order) -> io::Result<Vec<(String, &'static Kind)>> {
    let kind = |name: &str| clusters::kind(name).map_err(io::Error::other);
    let in_vergeos = if order.nodes < 4 { 0 } else { (order.nodes / 3).max(2) };
    let share = match order.only {
        Some(only) => vec![(only, order.nodes)],
        None => vec![(kind("kubernetes")?, order.nodes - in_vergeos), (kind("vergeos")?, in_vergeos)],
    };
    let width = order.nodes.to_string().len().max(2);
    Ok(share.into_iter().flat_map(|(kind, count)| (1..=count).map(move |n| (format!("{}-{n:0width$}", kind.cluster), kind))).collect())
}

fn machine(order: &Order, n: usize, name: &str, kind: &Kind) -> MachineSpec {
    let services = ["multipathd", faults::SERVICE, faults::UNNAMED, "sshd"].iter().chain(kind.services);
    MachineSpec {
        name: name.into(),
        uuid: uuid::Uuid::new_v4().to_string(),
        serial: format!("LAB{:05}", 41_000 + n * 7),
        machine_id: uuid::Uuid::new_v4().simple().to_string(),
        services: services.map(|s| s.to_string()).collect(),
        quirks: faults::quirks(&order.faults, n),
    }
}

/// Every BMC has an address of its own, as on a management network: VergeOS knows its nodes by it.
fn bmc_address(n: usize) -> IpAddr {
    IpAddr::from([127, 0, 1 + (n / 250) as u8, (n % 250) as u8 + 1])
}

fn inventory_text(order: &Order, nodes: &[(String, &'static Kind)], clusters: &str, ports: &[Ports]) -> String {
    let mut text = format!(
        "# Written by the lab for its simulated rack; every address is on this machine's loopback interface.\n\n\
         [time]\nscale = {}\n\n\
         [defaults.bmc.redfish]\nusername = {{ file = \"../secrets/bmc-username\" }}\npassword = {{ file = \"../secrets/bmc-password\" }}\n\
         tls = {{ ca_file = \"../ca.pem\" }}\ntimeout = \"10s\"\n\n\
         [defaults.bmc.ipmi]\nusername = {{ file = \"../secrets/ipmi-username\" }}\npassword = {{ file = \"../secrets/ipmi-password\" }}\n\n\
         [defaults.host.ssh]\nuser = \"root\"\nkey = {{ file = \"../secrets/ssh-key\" }}\nknown_hosts = \"../known_hosts\"\n\n{clusters}",
        order.pace.scale
    );
    for (i, (name, kind)) in nodes.iter().enumerate() {
        let (bmc, host) = faults::wiring(&order.faults, i + 1, nodes.len());
        let (bmc, host) = (&ports[bmc - 1], &ports[host - 1]);
        text += &format!(
            "[[nodes]]\nname = \"{name}\"\ncluster = \"{}\"\nlabels = {{ rack = \"r{}\" }}\n\
             bmc.redfish = {{ url = \"https://{}\" }}\nbmc.ipmi = {{ host = \"{}\", port = {} }}\n\
             host.ssh = {{ host = \"127.0.0.1\", port = {} }}\n{}\n",
            kind.cluster,
            i / 4 + 1,
            bmc.bmc,
            bmc.ipmi.ip(),
            bmc.ipmi.port(),
            host.ssh.port(),
            if i == 1 && order.faults.contains(&Fault::DnsOnNode) { "carries = [\"dns\"]\n" } else { "" }
        );
    }
    text + &format!("[[checks]]\nat = \"booted\"\nsystemd = {{ active = [\"multipathd\", \"{}\"] }}\n", faults::SERVICE)
}
