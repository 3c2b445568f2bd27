//! What every command shares: where files lie, how to speak, the store.
use super::{
    args::{Color, Global},
    failure::{CONFIGURATION, Failure, USAGE},
    machine::{self, MachineSecrets, SystemClock},
};
use crate::{
    drivers::cluster::Ask,
    engine::store::{self, Owner, Store, StoreUrl},
    inventory::{self, Inventory},
    model::{Clock, Connect, NodeName, Trust},
    playbook::{ConfigErrors, Playbook},
    report::{Paint, Screen},
};
use std::{
    collections::BTreeSet,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct Context {
    pub global: Global,
    pub json: bool,
    pub clock: Arc<dyn Clock>,
    pub screen: Screen,
    pub secrets: Arc<MachineSecrets>,
}

impl Context {
    pub fn new(global: Global) -> Context {
        let terminal = std::io::stdout().is_terminal();
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        let screen = Screen::new(terminal, color);
        Context { json: global.json, clock: Arc::new(SystemClock), screen, secrets: Arc::default(), global }
    }

    pub fn paint(&self) -> Paint {
        if self.screen.color { Paint::ALWAYS } else { Paint::PLAIN }
    }

    /// `-i`, then `./inventory`, then `/etc/pitstop/inventory`.
    pub fn inventory_path(&self) -> Result<PathBuf, Failure> {
        let usual = [PathBuf::from("inventory"), PathBuf::from("/etc/pitstop/inventory")];
        match &self.global.inventory {
            Some(path) if path.exists() => Ok(path.clone()),
            Some(path) => Err(Failure::new(CONFIGURATION, format!("no inventory at {}", path.display())).next("pitstop -i DIR …, or set PITSTOP_INVENTORY")),
            None => usual.into_iter().find(|p| p.exists()).ok_or_else(|| {
                Failure::new(CONFIGURATION, "no inventory: neither ./inventory nor /etc/pitstop/inventory exists").next("pitstop -i DIR …, or try pitstop demo")
            }),
        }
    }

    pub fn inventory(&self) -> Result<Inventory, Failure> {
        inventory::load(&self.inventory_path()?).map_err(|errors| self.problems(&errors))
    }

    pub fn playbook(&self, name: &str) -> Result<Playbook, Failure> {
        crate::playbook::load(self.global.playbooks.as_deref(), name).map_err(|errors| self.problems(&errors))
    }

    /// All problems of all files, each with file, line and column; nothing was contacted.
    pub fn problems(&self, errors: &ConfigErrors) -> Failure {
        if self.json {
            outln!("{}", errors.json());
        }
        eprint!("{}", errors.render(self.look()));
        Failure::new(CONFIGURATION, format!("{}; nothing was contacted", errors.count()))
    }
    fn look(&self) -> inventory::Look {
        match std::io::stderr().is_terminal() {
            true => inventory::Look::Drawn { colour: self.global.color != Color::Never && std::env::var_os("NO_COLOR").is_none(), width: self.screen.width },
            false => inventory::Look::Plain,
        }
    }

    pub fn selected(&self, inventory: &Inventory, selection: &super::args::Selection) -> Result<BTreeSet<NodeName>, Failure> {
        inventory::select(inventory, &selection.nodes, selection.filter.as_deref(), selection.all).map_err(|e| Failure {
            code: USAGE,
            what: e.message.clone(),
            next: e.help.clone(),
        })
    }

    pub fn store_url(&self) -> Result<StoreUrl, Failure> {
        match &self.global.store {
            Some(url) => Ok(url.parse::<StoreUrl>()?),
            None => Ok(StoreUrl::default_here()?),
        }
    }
    pub async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(store::open(&self.store_url()?, self.clock.clone()).await?)
    }

    /// A lock's owner: this process.
    pub fn owner(&self) -> Owner {
        Owner { who: machine::who(), pid: std::process::id(), id: uuid::Uuid::new_v4().to_string() }
    }

    pub fn connect(&self, base: &Path, node: Option<&NodeName>, trust: Trust) -> Connect {
        Connect { node: node.cloned(), secrets: self.secrets.clone(), trust, base: base.to_owned(), home: machine::home() }
    }

    /// For looks that belong to no run.
    pub fn ask(&self) -> Ask {
        Ask { reason: self.global.reason.clone(), ..Ask::default() }
    }

    pub fn say(&self, line: &str) {
        eprintln!("{line}");
    }
    pub fn data(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(super::failure::INTERNAL, e.to_string()))?;
        outln!("{text}");
        Ok(())
    }
}
