//! 15, not the branch we sit on: what the run needs and this node carries has to answer from elsewhere too, asked afresh before the node is touched.
use crate::{
    drivers::{cluster::Cluster, net::Net},
    model::{
        Carried, ClusterName, Fault, FaultKind, NodeName, Span,
        carried::{self, CLUSTER_API, DNS},
    },
};
use futures::future::join_all;
use reqwest::Url;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What the run reaches at an address: `the BMC of edge-03`, `the jump host of edge-04`.
pub type Through = Arc<BTreeMap<IpAddr, BTreeSet<String>>>;

/// What is asked about one node.
pub struct Asked<'a> {
    pub node: &'a NodeName,
    pub net: &'a dyn Net,
    /// Of its operating system, as host and cluster tell them.
    pub own: &'a BTreeSet<IpAddr>,
    /// Said by the inventory.
    pub carries: &'a BTreeSet<Carried>,
    pub resolvers: &'a [IpAddr],
    pub through: &'a Through,
    pub clusters: &'a [(ClusterName, String, Arc<dyn Cluster>)],
}

/// Something that the run needs and the node carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// `dns`, `the API of cluster edge (https://…)`.
    pub what: String,
    /// Where another instance answered; else every place that was asked, with what it said.
    pub elsewhere: Result<String, Vec<String>>,
}

/// One probe. Several places are asked at the same time.
const LIMIT: Span = Span::seconds(3);
/// An API server's own port, where the run asks through another.
const KUBERNETES: u16 = 6443;
/// Answered by every resolver itself (RFC 6761).
const LOCAL: &str = "localhost";

/// Addresses at which a machine can be reached by others.
pub fn reachable<'a>(addresses: impl IntoIterator<Item = &'a String>) -> BTreeSet<IpAddr> {
    let parsed = addresses.into_iter().filter_map(|text| text.trim().parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
    parsed.filter(elsewhere).collect()
}
fn elsewhere(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !link_local
}

pub async fn read(asked: &Asked<'_>) -> Vec<Needed> {
    let mut needed: Vec<Needed> = Vec::new();
    for (ip, whats) in asked.own.iter().filter_map(|ip| Some((ip, asked.through.get(ip)?))) {
        // There is one way to it, and it ends here.
        needed.extend(whats.iter().map(|what| Needed { what: format!("{what}, which is reached at {ip}"), elsewhere: Err(Vec::new()) }));
    }
    let mut name = LOCAL.to_owned();
    for (cluster, here, driver) in asked.clusters {
        let Some((url, host, port)) = driver.api().await.and_then(|url| endpoint(&url)) else { continue };
        let (at, said) = (place_of(asked, &host).await, asked.carries.iter().any(|c| c.name == CLUSTER_API));
        if host.parse::<IpAddr>().is_err() {
            name.clone_from(&host);
        }
        let found = at.iter().any(|ip| asked.own.contains(ip));
        if !found && !said {
            continue;
        }
        let mut places: Vec<(String, u16)> = Vec::new();
        if !found {
            places.push((host.clone(), port));
        }
        places.extend(asked.carries.iter().filter(|c| c.name == CLUSTER_API).filter_map(|c| carried::place(c.tcp.as_deref()?)));
        let others = driver.api_elsewhere(here).await.unwrap_or_default();
        places.extend(others.iter().flat_map(|address| [(address.clone(), port), (address.clone(), KUBERNETES)]));
        needed.push(Needed { what: format!("the API of cluster {cluster} ({url})"), elsewhere: first(asked, &places).await });
    }
    for carried in asked.carries.iter().filter(|c| c.name != CLUSTER_API) {
        let elsewhere = match (&carried.tcp, carried.name.as_str()) {
            (Some(tcp), _) => match carried::place(tcp) {
                Some(place) => first(asked, &[place]).await,
                None => Err(vec![format!("`{tcp}` is not HOST:PORT")]),
            },
            (None, DNS) => names(asked, &name).await,
            (None, _) => Err(Vec::new()),
        };
        needed.push(Needed { what: carried.name.clone(), elsewhere });
    }
    needed
}

/// Pure.
pub fn judge(node: &NodeName, needed: &[Needed]) -> Result<(), Fault> {
    let Some((needed, asked)) = needed.iter().find_map(|n| Some((n, n.elsewhere.as_ref().err()?))) else { return Ok(()) };
    let what = format!("{node} carries what the run needs, and no other instance answers: {}", needed.what);
    // What did not answer may answer yet; where nobody can be asked, nothing will.
    let kind = if asked.is_empty() { FaultKind::Unwilling } else { FaultKind::Unreachable };
    let word = if needed.what.starts_with("the API of") { CLUSTER_API } else { needed.what.split(',').next().unwrap_or_default() };
    let next = match needed.what.starts_with("the BMC of") || needed.what.starts_with("the jump host") {
        true => format!("reach it by another way than through {node}, or run pitstop where it does not need {node}"),
        false => format!("bring another one up, or say in the inventory where it answers: carries = [{{ name = \"{word}\", tcp = \"HOST:PORT\" }}]"),
    };
    Err(asked.iter().fold(Fault::new(kind, what), Fault::cause).next(next))
}

/// For people: what it carries, and where else that answers.
pub fn shown(needed: &[Needed]) -> Vec<String> {
    needed.iter().filter_map(|n| Some(format!("{}; another answers: {}", n.what, n.elsewhere.as_ref().ok()?))).collect()
}

fn endpoint(url: &str) -> Option<(String, String, u16)> {
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((url.to_owned(), host, parsed.port_or_known_default()?))
}

/// An address is its own place; a name that nobody can resolve has none.
async fn place_of(asked: &Asked<'_>, host: &str) -> Vec<IpAddr> {
    match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip.to_canonical()],
        Err(_) => asked.net.addresses(host, LIMIT).await.unwrap_or_default(),
    }
}

/// The first of these places that answers, and is not on this node.
async fn first(asked: &Asked<'_>, places: &[(String, u16)]) -> Result<String, Vec<String>> {
    let probes = places.iter().map(|(host, port)| async move {
        let at = place_of(asked, host).await;
        match at.iter().any(|ip| asked.own.contains(ip)) {
            true => Err(format!("{host}:{port} is {} itself", asked.node)),
            false => asked.net.tcp(host, *port, LIMIT).await.map(|()| format!("{host}:{port}")).map_err(|fault| fault.to_string()),
        }
    });
    either(join_all(probes).await)
}

/// A name server on this machine's loopback only hands questions on, to whom nobody can see.
async fn names(asked: &Asked<'_>, name: &str) -> Result<String, Vec<String>> {
    let others = asked.resolvers.iter().filter(|ip| elsewhere(ip) && !asked.own.contains(&ip.to_canonical()));
    let probes = others.map(|server| async move { asked.net.dns(*server, name, LIMIT).await.map(|()| server.to_string()).map_err(|fault| fault.to_string()) });
    either(join_all(probes).await)
}

fn either(said: Vec<Result<String, String>>) -> Result<String, Vec<String>> {
    match said.iter().find_map(|s| s.as_ref().ok()) {
        Some(place) => Ok(place.clone()),
        None => Err(said.into_iter().filter_map(Result::err).collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        drivers::{
            cluster::{Ask, Reached},
            net::{HttpAsk, HttpSeen},
        },
        model::{Act, LeaseAnswer, Loan, Member, NodeView, Repeat},
    };
    use async_trait::async_trait;
    use std::time::Duration;

    /// Answers at these places alone.
    struct Rack(Vec<&'static str>);
    #[async_trait]
    impl Net for Rack {
        async fn http(&self, _: &HttpAsk) -> Result<HttpSeen, Fault> {
            Err(Fault::new(FaultKind::Unable, "no"))
        }
        async fn tcp(&self, host: &str, port: u16, _: Span) -> Result<(), Fault> {
            let place = format!("{host}:{port}");
            if self.0.contains(&place.as_str()) { Ok(()) } else { Err(Fault::new(FaultKind::Unreachable, format!("connect to {place}"))) }
        }
        async fn addresses(&self, _: &str, _: Span) -> Result<Vec<IpAddr>, Fault> {
            Ok(vec!["192.0.2.2".parse().unwrap()])
        }
        async fn dns(&self, server: IpAddr, _: &str, _: Span) -> Result<(), Fault> {
            self.tcp(&server.to_string(), 53, LIMIT).await
        }
    }

    async fn of(carries: &str, answers: &[&'static str], resolvers: &[&str]) -> Result<(), Fault> {
        let node = NodeName("edge-02".into());
        let own = reachable(&["192.0.2.2".to_owned(), "3c:ec:ef:00:00:01".into(), "127.0.0.1".into(), "fe80::1".into()]);
        assert_eq!(own.len(), 1);
        let carries: BTreeSet<Carried> = serde_json::from_str(carries).unwrap();
        let resolvers: Vec<IpAddr> = resolvers.iter().map(|r| r.parse().unwrap()).collect();
        let through: Through = Arc::new(BTreeMap::from([("192.0.2.7".parse().unwrap(), BTreeSet::from(["the BMC of edge-03".to_owned()]))]));
        let net = Rack(answers.to_vec());
        let asked = Asked { node: &node, net: &net, own: &own, carries: &carries, resolvers: &resolvers, through: &through, clusters: &[] };
        judge(&node, &read(&asked).await)
    }

    #[tokio::test]
    async fn inv_15_what_a_node_carries_has_to_answer_from_elsewhere() {
        of("[]", &[], &[]).await.unwrap();
        of(r#"["dns"]"#, &["192.0.2.53:53"], &["192.0.2.2", "192.0.2.53"]).await.unwrap();
        for (resolvers, answers) in [(&["192.0.2.2"][..], &["192.0.2.2:53"][..]), (&["127.0.0.53"], &["127.0.0.53:53"]), (&[], &[])] {
            let alone = of(r#"["dns"]"#, answers, resolvers).await.unwrap_err();
            assert_eq!(alone.kind, FaultKind::Unwilling, "{alone}");
            assert!(alone.what.contains("edge-02") && alone.what.ends_with("dns") && alone.next.unwrap().contains("name = \"dns\""), "{resolvers:?}");
        }
        let silent = of(r#"["dns"]"#, &[], &["192.0.2.2", "192.0.2.53"]).await.unwrap_err();
        assert!(silent.kind == FaultKind::Unreachable && silent.to_string().contains("192.0.2.53:53"), "may answer yet: {silent}");
        let ntp = r#"[{"name":"ntp","tcp":"192.0.2.9:123"}]"#;
        of(ntp, &["192.0.2.9:123"], &[]).await.unwrap();
        assert!(of(ntp, &[], &[]).await.is_err());
        let itself = of(r#"[{"name":"ntp","tcp":"ntp.example:123"}]"#, &["ntp.example:123"], &[]).await.unwrap_err();
        assert!(itself.to_string().contains("ntp.example:123 is edge-02 itself"), "{itself}");
        assert_eq!(of(r#"["ntp"]"#, &[], &[]).await.unwrap_err().kind, FaultKind::Unwilling, "nobody knows whom to ask");
    }

    /// A cluster whose API is at one of the node's addresses; another of its nodes may answer.
    struct Api(Vec<String>);
    #[async_trait]
    impl Cluster for Api {
        async fn probe(&self) -> Result<Reached, Fault> {
            Err(Fault::new(FaultKind::Unable, "no"))
        }
        async fn members(&self) -> Result<Vec<Member>, Fault> {
            Ok(Vec::new())
        }
        async fn look(&self, _: &str, _: &Ask) -> Result<NodeView, Fault> {
            Err(Fault::new(FaultKind::Unable, "no"))
        }
        async fn act(&self, _: &str, _: &Act, _: &Ask) -> Result<(), Fault> {
            Ok(())
        }
        async fn api(&self) -> Option<String> {
            Some("https://api.edge.example:443".into())
        }
        async fn api_elsewhere(&self, _: &str) -> Result<Vec<String>, Fault> {
            Ok(self.0.clone())
        }
        fn give_back(&self, _: &str, loan: &Loan) -> Act {
            Act::new(&*loan.to, &*loan.owed, Repeat::Freely)
        }
        async fn is_paid(&self, _: &str, _: &Loan) -> Result<bool, Fault> {
            Ok(true)
        }
        async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
            Ok(LeaseAnswer::Unsupported)
        }
        async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
            Ok(LeaseAnswer::Unsupported)
        }
        async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn inv_15_a_cluster_api_on_the_node_needs_another_one() {
        let node = NodeName("edge-02".into());
        let ask = async |address: &str, others: &[&str], answers: &[&'static str], carries: &str| {
            let own = reachable(&[address.to_owned()]);
            let carries: BTreeSet<Carried> = serde_json::from_str(carries).unwrap();
            let api: Arc<dyn Cluster> = Arc::new(Api(others.iter().map(ToString::to_string).collect()));
            let clusters = [(ClusterName("edge".into()), "edge-02".to_owned(), api)];
            let net = Rack(answers.to_vec());
            let through = Through::default();
            let asked = Asked { node: &node, net: &net, own: &own, carries: &carries, resolvers: &[], through: &through, clusters: &clusters };
            judge(&node, &read(&asked).await)
        };
        // The name of the API stands for 192.0.2.2.
        ask("192.0.2.9", &[], &[], "[]").await.unwrap();
        let alone = ask("192.0.2.2", &[], &["api.edge.example:443"], "[]").await.unwrap_err();
        assert!(alone.what.contains("the API of cluster edge (https://api.edge.example:443)") && alone.next.unwrap().contains("cluster-api"), "{}", alone.what);
        ask("192.0.2.2", &["192.0.2.3"], &["192.0.2.3:6443"], "[]").await.unwrap();
        assert_eq!(ask("192.0.2.2", &["192.0.2.3"], &[], "[]").await.unwrap_err().kind, FaultKind::Unreachable);
        let named = r#"[{"name":"cluster-api","tcp":"192.0.2.44:443"}]"#;
        ask("192.0.2.2", &[], &["192.0.2.44:443"], named).await.unwrap();
        // Said, and behind an address of its own: that has to answer.
        ask("192.0.2.9", &[], &["api.edge.example:443"], r#"["cluster-api"]"#).await.unwrap();
        assert!(ask("192.0.2.9", &[], &[], r#"["cluster-api"]"#).await.is_err());
    }

    #[tokio::test]
    async fn inv_15_a_bmc_that_is_reached_through_the_node_is_found() {
        let node = NodeName("edge-02".into());
        let own = reachable(&["192.0.2.7".to_owned()]);
        let through: Through = Arc::new(BTreeMap::from([("192.0.2.7".parse().unwrap(), BTreeSet::from(["the BMC of edge-03".to_owned()]))]));
        let net = Rack(vec![]);
        let asked = Asked { node: &node, net: &net, own: &own, carries: &BTreeSet::new(), resolvers: &[], through: &through, clusters: &[] };
        let fault = judge(&node, &read(&asked).await).unwrap_err();
        assert!(fault.what.contains("the BMC of edge-03, which is reached at 192.0.2.7") && fault.next.unwrap().contains("another way"), "{}", fault.what);
    }
}
