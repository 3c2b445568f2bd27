//! A survey over drivers that record what they are asked: it only reads, bounds itself, and keeps one node's trouble to that node.
use super::*;
use crate::{
    drivers::cluster::Reached,
    guards::Permit,
    model::{Act, BmcView, Command, HostView, Identity, Loan, Member, NodeView, Output, Power, ResetType},
};
use async_trait::async_trait;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[derive(Default)]
struct World {
    asked: Mutex<Vec<String>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
}
impl World {
    fn saw(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
    fn told(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Fake {
    world: Arc<World>,
    name: String,
    /// Never answers.
    silent: bool,
}

#[async_trait]
impl Bmc for Fake {
    fn protocol(&self) -> &'static str {
        "redfish"
    }
    fn endpoint(&self) -> String {
        self.name.clone()
    }
    async fn look(&self) -> Result<BmcView, Fault> {
        let now = self.world.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.world.most.fetch_max(now, Ordering::SeqCst);
        if self.silent {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.world.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.world.saw(format!("bmc {}", self.name));
        Ok(BmcView {
            protocol: "redfish".into(),
            endpoint: self.name.clone(),
            identity: Identity::default(),
            power: Power::On,
            verbs: vec![],
            reset_marker: None,
            boot_progress: None,
            product: None,
            warnings: vec![],
        })
    }
    async fn power(&self, _: ResetType, _: &mut Permit) -> Result<(), Fault> {
        panic!("a survey must never write")
    }
    async fn close(&self) {
        self.world.saw(format!("close {}", self.name));
    }
}

#[async_trait]
impl Host for Fake {
    fn endpoint(&self) -> String {
        self.name.clone()
    }
    async fn look(&self) -> Result<HostView, Fault> {
        self.world.saw(format!("host {}", self.name));
        Ok(HostView { boot_id: "b".into(), ..HostView::default() })
    }
    async fn exec(&self, _: &Command) -> Result<Output, Fault> {
        panic!("no reason of these tests runs a command")
    }
    async fn close(&self) {}
}

#[async_trait]
impl Cluster for Fake {
    async fn probe(&self) -> Result<Reached, Fault> {
        Ok(Reached { what: "kubernetes".into(), lease: true, missing_rights: vec!["patch nodes".into()], warnings: vec![] })
    }
    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let member =
            |name: &str, out: Option<&str>| Member { name: name.into(), out: out.map(Into::into), run: None, identity: Identity::default(), since: None };
        Ok(vec![member("a", None), member("b", Some("cordoned")), member("c", Some("down"))])
    }
    async fn look(&self, node: &str, _: &Ask) -> Result<NodeView, Fault> {
        self.world.saw(format!("cluster {node}"));
        Err(Fault::new(FaultKind::Denied, "no"))
    }
    async fn act(&self, _: &str, _: &Act, _: &Ask) -> Result<(), Fault> {
        panic!("a survey must never write")
    }
    fn give_back(&self, _: &str, _: &Loan) -> Act {
        panic!("a survey must never write")
    }
    async fn is_paid(&self, _: &str, _: &Loan) -> Result<bool, Fault> {
        Ok(true)
    }
    async fn lease(&self, _: &str, _: Duration) -> Result<LeaseAnswer, Fault> {
        panic!("a survey must never write")
    }
    async fn lease_holder(&self) -> Result<LeaseAnswer, Fault> {
        Ok(LeaseAnswer::Held { by: "ops@deploy-1".into(), since: "02:01".into() })
    }
    async fn drop_lease(&self, _: &str) -> Result<(), Fault> {
        panic!("a survey must never write")
    }
}

struct Always(Result<DueAnswer, Fault>);
#[async_trait]
impl Due for Always {
    async fn look(&self, _: &DueProbe<'_>) -> Result<DueAnswer, Fault> {
        self.0.clone()
    }
}

fn fake(world: &Arc<World>, name: &str, silent: bool) -> Arc<Fake> {
    Arc::new(Fake { world: world.clone(), name: name.into(), silent })
}
fn door(world: &Arc<World>, name: &str, silent: bool, address: &str) -> BmcDoor {
    let addresses = vec![address.parse().unwrap()];
    BmcDoor { protocol: "redfish".into(), endpoint: name.into(), host: format!("{name}.example"), addresses, driver: Ok(fake(world, name, silent)) }
}

#[tokio::test(start_paused = true)]
async fn every_witness_is_asked_on_its_own_and_one_that_hangs_is_a_fault() {
    let world = Arc::new(World::default());
    let mut doors = Doors::default();
    doors.clusters.insert(ClusterName("edge".into()), Ok(fake(&world, "edge", false)));
    doors.clusters.insert(ClusterName("far".into()), Err(Fault::new(FaultKind::Denied, "kubeconfig")));
    let node = NodeDoors {
        bmc: vec![door(&world, "first", true, "192.0.2.1"), door(&world, "second", false, "127.0.0.2")],
        seats: vec![(ClusterName("edge".into()), "a".into()), (ClusterName("far".into()), "a".into())],
        host: Some(Ok(fake(&world, "ssh", false))),
        ..NodeDoors::default()
    };
    doors.nodes.insert(NodeName("a".into()), node);
    let fault = Fault::new(FaultKind::Unable, "no host");
    let due = [
        Reason { kind: "x".into(), driver: Box::new(Always(Ok(DueAnswer::Due("why".into())))) },
        Reason { kind: "y".into(), driver: Box::new(Always(Ok(DueAnswer::NotDue("why not".into())))) },
        Reason { kind: "z".into(), driver: Box::new(Always(Err(fault.clone()))) },
    ];
    let seen = take(Timestamp::UNIX_EPOCH, &doors, &due, &Ask::default()).await;

    let edge = &seen.clusters[&ClusterName("edge".into())];
    assert_eq!(
        (edge.lease, edge.held_by.as_deref(), edge.missing_rights.as_slice()),
        (true, Some("ops@deploy-1 since 02:01"), &["patch nodes".to_string()][..])
    );
    assert_eq!(seen.clusters[&ClusterName("far".into())].members, Err(Fault::new(FaultKind::Denied, "kubeconfig")));
    let a = &seen.nodes[&NodeName("a".into())];
    let silent = a.bmc[0].seen.as_ref().unwrap_err();
    assert_eq!((silent.kind, silent.what.as_str()), (FaultKind::Unknown, "the BMC at first: no answer within 90 s"));
    assert!(a.bmc[1].seen.is_ok());
    assert_eq!((a.bmc[0].loopback, a.bmc[1].loopback), (false, true));
    assert_eq!(a.bmc[1].hosts, ["second.example", "127.0.0.2"]);
    assert_eq!(a.clusters.iter().map(|(c, v)| (c.0.as_str(), v.is_err())).collect::<Vec<_>>(), [("edge", true), ("far", true)]);
    assert!(a.host.as_ref().unwrap().is_ok());
    assert_eq!(
        a.due.iter().map(|d| (&d.due, d.why_not.as_deref())).collect::<Vec<_>>(),
        [(&Ok(Some("why".into())), None), (&Ok(None), Some("why not")), (&Err(fault), None)]
    );
    // Sessions are given back, the hanging one's too.
    assert!(["close first", "close second"].iter().all(|c| world.told().contains(&(*c).to_string())));
}

#[tokio::test(start_paused = true)]
async fn a_large_fleet_is_looked_at_in_bounded_parts() {
    let world = Arc::new(World::default());
    let mut doors = Doors::default();
    for n in 0..CONNECTIONS + 60 {
        let node = NodeDoors { bmc: vec![door(&world, &format!("n{n}"), false, "192.0.2.1")], ..NodeDoors::default() };
        doors.nodes.insert(NodeName(format!("n{n:03}")), node);
    }
    let seen = take(Timestamp::UNIX_EPOCH, &doors, &[], &Ask::default()).await;
    assert_eq!(seen.nodes.len(), CONNECTIONS + 60);
    assert!(seen.nodes.values().all(|n| n.bmc[0].seen.is_ok()));
    assert_eq!(world.most.load(Ordering::SeqCst), CONNECTIONS);
}

#[tokio::test]
async fn before_an_admission_only_others_count() {
    let world = Arc::new(World::default());
    let driver = fake(&world, "edge", false);
    let seen = cluster_seen(driver.as_ref(), &BTreeSet::from(["b".to_string()])).await.unwrap();
    assert_eq!(seen, (vec![("c".to_string(), "down".to_string())], 3));
}

#[test]
fn what_is_reached_through_a_node_are_bmcs_and_jump_hosts() {
    let world = Arc::new(World::default());
    let mut doors = Doors::default();
    let jumps = vec!["192.0.2.7".parse().unwrap(), "::ffff:192.0.2.8".parse().unwrap()];
    doors.nodes.insert(NodeName("a".into()), NodeDoors { jumps, bmc: vec![door(&world, "a", false, "192.0.2.1")], ..NodeDoors::default() });
    let found = through(&doors);
    let said = |ip: &str| found.get(&ip.parse::<IpAddr>().unwrap()).map(|all| all.iter().cloned().collect::<Vec<_>>());
    assert_eq!(said("192.0.2.7"), Some(vec!["the jump host of a".to_owned()]));
    assert_eq!(said("192.0.2.8"), Some(vec!["the jump host of a".to_owned()]), "as IPv4");
    assert_eq!(said("192.0.2.9"), None);
}
