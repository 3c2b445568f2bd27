//! The command tree (architecture.md, 4). Nodes are positional, filters narrow, and nothing ever means all by omission.
use crate::{
    event::Decision,
    model::{Relax, ResetType},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(name = "pitstop", version, about, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory of inventory files [default: ./inventory, then /etc/pitstop/inventory]
    #[arg(short, long, global = true, env = "PITSTOP_INVENTORY", value_name = "DIR")]
    pub inventory: Option<PathBuf>,
    /// Directory of your own playbooks; the shipped ones are built in
    #[arg(long, global = true, env = "PITSTOP_PLAYBOOKS", value_name = "DIR")]
    pub playbooks: Option<PathBuf>,
    /// Journal and lock: sqlite:PATH [default: /var/lib/pitstop where it exists, else the XDG state directory]
    #[arg(long, global = true, env = "PITSTOP_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// Why: travels into cordon, message and report
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Data as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// More diagnostics on stderr; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour; it only marks state and is never the only sign
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole job on a simulated rack in this process, with a private store; needs nothing else
    Demo(Demo),
    /// Keep the simulated rack running, and write an inventory for it
    Lab(Lab),
    /// Can every node be reached and may we act? BMC, cluster, SSH, identity, rights; changes nothing
    Check(Selection),
    /// What a run would do, to whom, in which order, and what would block it; changes nothing
    Plan(PlanArgs),
    /// Take nodes through a playbook
    Run(RunArgs),
    /// Go on with a run after a crash or an interruption
    Resume(Resume),
    /// Ask the engine that works on a run to stop
    Stop(StopArgs),
    /// Decide about a node that is held
    Release(Release),
    /// Every node out of service, ours or foreign, oldest first
    Status(StatusArgs),
    /// All of one node on one screen, ending in what to type next; or one action on it
    Node(NodeArgs),
    /// The runs in the store
    Runs(RunsArgs),
    /// What a run did
    Report(ReportArgs),
    /// Write a commented first inventory
    Init(InitArgs),
    /// Check the inventory, list it, show what a selection means
    Inventory(InventoryArgs),
    /// List the playbooks, check one, show its steps
    Playbook(PlaybookArgs),
    /// Completions and man pages
    Util(UtilArgs),
}

#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Node names, ranges allowed: edge-07 edge-[01-04]
    #[arg(value_name = "NODES")]
    pub nodes: Vec<String>,
    /// Only nodes with these labels: rack=r2,role!=storage
    #[arg(long = "where", value_name = "SELECTOR")]
    pub filter: Option<String>,
    /// Every node of the inventory
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// What goes wrong, may be repeated; `list` prints them
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<String>,
    /// One cluster of this kind alone: kubernetes, vergeos, …
    #[arg(long, value_name = "KIND")]
    pub cluster: Option<String>,
}

#[derive(Debug, Args)]
pub struct Lab {
    /// Where inventory, keys and rack.jsonl are written
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Machines in the rack
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub nodes: usize,
    /// What goes wrong, may be repeated; `list` prints them
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<String>,
    /// One cluster of this kind alone: kubernetes, vergeos, …
    #[arg(long, value_name = "KIND")]
    pub cluster: Option<String>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A playbook's name, or the path of one
    pub playbook: String,
    #[command(flatten)]
    pub selection: Selection,
    /// Write the plan to a file, for `run --plan`
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A playbook's name, or the path of one
    #[arg(required_unless_present = "plan")]
    pub playbook: Option<String>,
    #[command(flatten)]
    pub selection: Selection,
    /// Run exactly this reviewed plan; refused where the world has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["playbook", "nodes", "filter", "all"])]
    pub plan: Option<PathBuf>,
    /// First resume what is unfinished on these clusters (for timers)
    #[arg(long)]
    pub resume_first: bool,
    /// Ask before each node; whatever is not `yes` leaves that node alone
    #[arg(long, conflicts_with = "plan")]
    pub ask: bool,
    /// End after the canaries (limits.canary, at least one node); `pitstop resume` takes the others
    #[arg(long, conflicts_with = "plan")]
    pub pause_after_canary: bool,
    /// Relax one interlock, for one named node and with --reason: identity, empty, storage, boot-order
    #[arg(long = "unsafe", value_name = "NAME", conflicts_with = "plan")]
    pub relax: Vec<Relax>,
    #[command(flatten)]
    pub test: TestHooks,
}

/// For tests of crashes only.
#[derive(Debug, Clone, Default, Args)]
pub struct TestHooks {
    /// Dies by SIGKILL at the N-th append: `N:before` or `N:after`
    #[arg(long, hide = true, env = "PITSTOP_TEST_KILL_AT", value_name = "N:WHEN")]
    pub kill_at: Option<String>,
    /// The lock in the cluster holds this long without being renewed, in place of a minute
    #[arg(long, hide = true, env = "PITSTOP_TEST_LEASE", value_name = "SPAN")]
    pub lease: Option<crate::model::Span>,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The run; without it, the only unfinished one
    pub run: Option<String>,
    #[command(flatten)]
    pub test: TestHooks,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// The run; without it, the only one at work
    pub run: Option<String>,
    /// Return the nodes that are not yet reset
    #[arg(long)]
    pub give_back: bool,
    /// Let running steps settle, then end; the rest waits for `pitstop resume`
    #[arg(long, conflicts_with = "give_back")]
    pub settle: bool,
}

#[derive(Debug, Args)]
pub struct Release {
    #[arg(required_unless_present = "from_marks")]
    pub node: Option<String>,
    /// retry the held step, go on from verify, return it to service (never after power was touched), or keep it out; a node that is paused needs none
    #[arg(value_enum)]
    pub decision: Option<DecisionArg>,
    /// The store is gone: settle what marks in the clusters say a run left behind; list what nobody can explain
    #[arg(long, conflicts_with_all = ["decision", "accept"])]
    pub from_marks: bool,
    /// Accept one difference by name: machine-id, root-fs, ssh-host-key, default-target
    #[arg(long, value_name = "DIFFERENCE")]
    pub accept: Vec<String>,
    #[command(flatten)]
    pub test: TestHooks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DecisionArg {
    Retry,
    Verify,
    Return,
    KeepOut,
}
impl From<DecisionArg> for Decision {
    fn from(arg: DecisionArg) -> Decision {
        match arg {
            DecisionArg::Retry => Decision::Retry,
            DecisionArg::Verify => Decision::Verify,
            DecisionArg::Return => Decision::Return,
            DecisionArg::KeepOut => Decision::KeepOut,
        }
    }
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Look again every few seconds
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    pub node: String,
    #[command(subcommand)]
    pub what: Option<NodeCommand>,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Take it out of service and leave it empty
    Evacuate(NodeAct),
    /// Back into service, only once it is verified
    Enable(NodeAct),
    /// One power verb, through every interlock
    Power {
        /// On, ForceOff, GracefulShutdown, GracefulRestart, ForceRestart or PowerCycle
        #[arg(value_name = "RESETTYPE", value_parser = super::node::reset_type)]
        verb: ResetType,
        /// Put a left-over boot override aside and give it back afterwards, instead of refusing
        #[arg(long)]
        clear_boot_override: bool,
        #[command(flatten)]
        act: NodeAct,
    },
    /// The locating light on, or off
    Identify {
        #[arg(long)]
        off: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// The road of a dead node: cut off, its work started elsewhere, booted, verified, enabled. Needs --reason
    Rescue(NodeAct),
}

#[derive(Debug, Args)]
pub struct NodeAct {
    /// Do not ask; without a terminal nothing is done otherwise
    #[arg(long)]
    pub yes: bool,
    /// Relax one interlock for this node in this command, with --reason: identity, empty, storage, boot-order
    #[arg(long = "unsafe", value_name = "NAME")]
    pub relax: Vec<Relax>,
    #[command(flatten)]
    pub test: TestHooks,
}

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only runs that are not finished
    #[arg(long)]
    pub unfinished: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run; without it, the last one
    pub run: Option<String>,
    /// Every record of the journal, one JSON object a line
    #[arg(long)]
    pub events: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InventoryArgs {
    #[command(flatten)]
    pub selection: Selection,
    #[command(subcommand)]
    pub what: Option<InventoryCommand>,
}

#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Show what BMCs and hosts prove themselves by, and pin it in trust.toml
    Trust(TrustArgs),
    /// A first inventory from a list of machines that somebody has; what it lacks is marked as a gap
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// ansible-yaml, ansible-ini, csv, metal3, netbox or kubeconfig (the nodes its cluster lists)
    #[arg(value_name = "SOURCE")]
    pub from: String,
    /// The file; `-` is stdin
    pub file: String,
    /// What the cluster is to be called
    #[arg(long, default_value = "imported", value_name = "NAME")]
    pub cluster: String,
    /// Of a kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Write it here, never over a file that is there; else on stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where it is written
    #[arg(default_value = "inventory", value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct TrustArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Write without asking; what a node has pinned already is kept unless --replace says otherwise
    #[arg(long)]
    pub yes: bool,
    /// Also where a pin changes: after a new certificate, new firmware, a new installation
    #[arg(long)]
    pub replace: bool,
    /// Another machine has taken this one's place (a new board): its identity, certificate and host key replace the pinned ones. One node, with --reason
    #[arg(long)]
    pub new_identity: bool,
}

#[derive(Debug, Args)]
pub struct PlaybookArgs {
    /// Show this one; without it, list them
    pub playbook: Option<String>,
}

#[derive(Debug, Args)]
pub struct UtilArgs {
    #[command(subcommand)]
    pub what: Generate,
}
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Shell completions on stdout
    Completions { shell: clap_complete::Shell },
    /// The man page on stdout
    Man,
}
