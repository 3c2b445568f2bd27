//! What can go wrong in the rack, by name (architecture.md, 4). Node 2 is the second machine.
use super::{
    family::Family,
    quirks::Maker,
    rack::{Flaw, MachineSpec, Quirks},
};
use std::{collections::BTreeSet, str::FromStr, time::Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    BmcSilent,
    BmcLate,
    ResetIgnored,
    BmcLies,
    PdbBlocked,
    ServiceMissing,
    WrongBmc,
    ShiftedRow,
    NeverBoots,
    UpdateLive,
    UpdateStaged,
    UpdateFails,
    UpdateRestartsBmc,
    UpdatePullOnly,
    UpdatePushOnly,
    BmcWedges,
    OvsDown,
    LostDimm,
    LinkDown,
    UnitFailed,
    MountMissing,
    SlowService,
    ReadOnlyRoot,
    ChangedHostKey,
    BoardSwapped,
    BootOverridePxe,
    BootOrderChanged,
    SecureBootOff,
    RootPassphrase,
    RootTpm,
    RaidRebuilding,
    SelfOnNode,
    DnsOnNode,
    StrayContainer,
    HwRaidRebuilding,
    Hung,
    BmcMakers,
    HostFamilies,
    /// One that a cluster's server knows by its name.
    Cluster(&'static str),
}

/// Name, and what it does, for `--fault list`.
pub const FAULTS: &[(&str, Fault, &str)] = &[
    ("bmc-silent", Fault::BmcSilent, "node 2's BMC never answers"),
    ("bmc-late", Fault::BmcLate, "node 2's BMC obeys 30 s late"),
    ("reset-ignored", Fault::ResetIgnored, "node 2 accepts the graceful verb and does nothing"),
    ("bmc-lies", Fault::BmcLies, "node 2 accepts every verb and does nothing"),
    ("pdb-blocked", Fault::PdbBlocked, "nothing on node 2 may be evicted"),
    ("service-missing", Fault::ServiceMissing, "node 2 comes back without a service"),
    ("wrong-bmc", Fault::WrongBmc, "the BMCs of nodes 2 and 3 are swapped in the inventory"),
    ("shifted-row", Fault::ShiftedRow, "host and BMC of nodes 2 to 4 are one row off in the inventory"),
    ("never-boots", Fault::NeverBoots, "node 2 never comes back from its reset"),
    ("bmc-makers", Fault::BmcMakers, "every BMC has another maker's ways: verbs, addresses, answers, ETags"),
    ("host-families", Fault::HostFamilies, "the hosts are of other families of Linux: RHEL, SUSE, Debian, one after another"),
    ("lost-dimm", Fault::LostDimm, "node 2 comes back without DIMM A3"),
    ("link-down", Fault::LinkDown, "node 2 comes back with eth1 down"),
    ("unit-failed", Fault::UnitFailed, "node 2 comes back with a failed unit that no check names"),
    ("mount-missing", Fault::MountMissing, "node 2 comes back without a file system of its fstab"),
    ("slow-service", Fault::SlowService, "node 2's node-agent takes five minutes to start"),
    ("read-only-root", Fault::ReadOnlyRoot, "node 2 comes back with its root read-only"),
    ("changed-host-key", Fault::ChangedHostKey, "node 2 comes back with another SSH host key"),
    ("board-swapped", Fault::BoardSwapped, "node 2 comes back from its reset with another board: UUID and serial are new"),
    ("update-live", Fault::UpdateLive, "somebody else's firmware update is being written on node 2"),
    ("update-staged", Fault::UpdateStaged, "somebody else's firmware update waits for a reset of node 2"),
    ("update-fails", Fault::UpdateFails, "every firmware update of node 2 ends in an error"),
    ("update-restarts-bmc", Fault::UpdateRestartsBmc, "node 2's BMC restarts in the middle of a firmware update"),
    ("update-pull-only", Fault::UpdatePullOnly, "node 2's BMC takes no image, it only fetches one"),
    ("update-push-only", Fault::UpdatePushOnly, "node 2's BMC takes images at HttpPushUri alone, for its next reset"),
    ("bmc-wedges", Fault::BmcWedges, "once node 2 is empty its BMC answers 504 to all of Redfish until it is itself reset; IPMI works"),
    ("pinned-vm", Fault::Cluster("pinned-vm"), "vergeos: on node 2 one VM cannot be moved, and another is switched off"),
    ("maintenance-failed", Fault::Cluster("maintenance-failed"), "palette: node 2 cannot be emptied, its maintenance ends as Failed"),
    ("agent-offline", Fault::Cluster("agent-offline"), "palette: nobody takes up the maintenance of node 2, it stays Initiated"),
    ("stale-completed", Fault::Cluster("stale-completed"), "palette: after every request the state of the last one is shown for a while"),
    ("machine-replaced", Fault::Cluster("machine-replaced"), "palette: node 2 is replaced by a new machine while it reboots"),
    ("too-many-requests", Fault::Cluster("too-many-requests"), "palette: every fortieth request is answered 429"),
    ("auto-remediation", Fault::Cluster("auto-remediation"), "palette: nodes that are away for long are deleted"),
    ("ovs-down", Fault::OvsDown, "with --cluster openvcloud: node 2 comes back without one service of Open vStorage"),
    ("boot-override-pxe", Fault::BootOverridePxe, "node 2 would boot from the network at its next reset, once"),
    ("boot-order-changed", Fault::BootOrderChanged, "node 2 comes back with the network first in its boot order"),
    ("secure-boot-off", Fault::SecureBootOff, "node 2 comes back with Secure Boot switched off"),
    ("root-passphrase", Fault::RootPassphrase, "node 2's root disk asks for a passphrase at boot"),
    ("root-tpm", Fault::RootTpm, "node 2's root disk is sealed to its TPM"),
    ("raid-rebuilding", Fault::RaidRebuilding, "a mirror of node 2 lacks a disk and rebuilds"),
    ("self-on-node", Fault::SelfOnNode, "pitstop itself runs on node 2"),
    ("stray-container", Fault::StrayContainer, "a container runs on node 2 that no cluster knows"),
    ("hw-raid-rebuilding", Fault::HwRaidRebuilding, "a volume of node 2's RAID controller is degraded and rebuilds"),
    ("dns-on-node", Fault::DnsOnNode, "node 2 carries the DNS that pitstop asks, and there is no other"),
    ("hung", Fault::Hung, "node 2 hangs: nothing on it answers, its power is on"),
];

impl FromStr for Fault {
    type Err = String;
    fn from_str(name: &str) -> Result<Fault, String> {
        let known = || FAULTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        FAULTS.iter().find(|(n, ..)| *n == name).map(|(_, fault, _)| *fault).ok_or_else(|| format!("no fault `{name}`; there are {}", known()))
    }
}

/// The service that `service-missing` takes away.
pub const SERVICE: &str = "node-agent";
/// One that runs on every machine and stands in no check.
pub const UNNAMED: &str = "irqbalance";

/// What the faults make of machine number `n`, counted from 1.
pub fn quirks(faults: &[Fault], n: usize) -> Quirks {
    let family = if faults.contains(&Fault::HostFamilies) { Family::of(n) } else { Family::default() };
    let mut quirks = Quirks { maker: faults.contains(&Fault::BmcMakers).then(|| Maker::of(n)), family, ..Quirks::default() };
    for fault in faults.iter().filter(|_| n == 2) {
        match fault {
            Fault::BmcSilent => quirks.bmc_silent = true,
            Fault::BmcLate => quirks.obey_late = Duration::from_secs(30),
            Fault::ResetIgnored => quirks.ignored.extend(["GracefulRestart", "GracefulShutdown"].map(String::from)),
            Fault::BmcLies => {
                quirks.ignored = ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "PowerCycle"]
                    .map(String::from)
                    .into_iter()
                    .collect::<BTreeSet<_>>()
            }
            Fault::PdbBlocked => quirks.pdb_blocked = true,
            Fault::ServiceMissing => quirks.missing_after_boot.push(SERVICE.into()),
            Fault::NeverBoots => quirks.never_boots = true,
            Fault::UpdateLive => quirks.update_live = true,
            Fault::UpdateStaged => quirks.update_staged = true,
            Fault::UpdateFails => quirks.update_fails = true,
            Fault::UpdateRestartsBmc => quirks.update_restarts_bmc = true,
            Fault::UpdatePullOnly => quirks.update_pull_only = true,
            Fault::UpdatePushOnly => quirks.update_push_only = true,
            Fault::BmcWedges => quirks.bmc_wedges = true,
            Fault::OvsDown => quirks.missing_after_boot.push("ovs-webapp-api".into()),
            Fault::LostDimm => drop(quirks.flaws.insert(Flaw::LostDimm)),
            Fault::LinkDown => drop(quirks.flaws.insert(Flaw::LinkDown)),
            Fault::UnitFailed => quirks.missing_after_boot.push(UNNAMED.into()),
            Fault::MountMissing => drop(quirks.flaws.insert(Flaw::MountMissing)),
            Fault::SlowService => quirks.slow = Some((SERVICE.into(), Duration::from_secs(300))),
            Fault::ReadOnlyRoot => drop(quirks.flaws.insert(Flaw::ReadOnlyRoot)),
            Fault::ChangedHostKey => drop(quirks.flaws.insert(Flaw::HostKey)),
            Fault::BoardSwapped => drop(quirks.flaws.insert(Flaw::Board)),
            Fault::BootOverridePxe => quirks.boot_pxe = true,
            Fault::BootOrderChanged => drop(quirks.flaws.insert(Flaw::BootOrder)),
            Fault::SecureBootOff => drop(quirks.flaws.insert(Flaw::SecureBoot)),
            Fault::RootPassphrase => quirks.root = Some("passphrase"),
            Fault::RootTpm => quirks.root = Some("tpm"),
            Fault::RaidRebuilding => quirks.rebuilding = true,
            Fault::SelfOnNode => quirks.is_this_computer = true,
            Fault::StrayContainer => quirks.stray_container = true,
            Fault::HwRaidRebuilding => quirks.volume_rebuilds = true,
            Fault::DnsOnNode => quirks.carries_dns = true,
            Fault::Hung => quirks.hung = true,
            Fault::WrongBmc | Fault::ShiftedRow | Fault::BmcMakers | Fault::HostFamilies | Fault::Cluster(_) => {}
        }
    }
    quirks
}

/// A boot may be that of another board, once: UUID and serial are another machine's, the disks are the same.
pub fn board(spec: &mut MachineSpec) {
    if spec.quirks.flaws.remove(&Flaw::Board) {
        spec.uuid = uuid::Uuid::new_v4().to_string();
        spec.serial = format!("{}B", spec.serial);
    }
}

/// Which machine's BMC and host the inventory gives to node `n` of `nodes`.
pub fn wiring(faults: &[Fault], n: usize, nodes: usize) -> (usize, usize) {
    let (mut bmc, mut host) = (n, n);
    if faults.contains(&Fault::WrongBmc) && nodes >= 3 {
        bmc = match n {
            2 => 3,
            3 => 2,
            n => n,
        };
    }
    if faults.contains(&Fault::ShiftedRow) && nodes >= 3 && (2..=4).contains(&n) {
        let last = nodes.min(4);
        let next = if n == last { 2 } else { n + 1 };
        (bmc, host) = (next, next);
    }
    (bmc, host)
}
