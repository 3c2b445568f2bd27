//! Redfish: our driver against sushy-emulator and against answers real BMCs give; curl against the lab.
mod etag;
mod lab;
pub mod mock;
mod odd;
mod replay;
mod seen;
pub mod sushy;

use pitstop::{
    drivers::bmc::{Bmc, KINDS},
    guards::{Permit, Pins, Readings, permit, restart_of_bmc},
    kinds,
    model::{BmcView, Connect, Fault, NodeName, Power, ResetType, Secret, SecretRef, Secrets, Setting, Trust},
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The passwords that `env = "PASSWORD"` gives, one after another; the last one for good.
struct Passwords(Mutex<VecDeque<String>>);
impl Secrets for Passwords {
    fn read(&self, from: &SecretRef) -> Result<Secret, Fault> {
        let mut passwords = self.0.lock().unwrap();
        Ok(Secret::new(match from {
            SecretRef::Env(name) if name == "USER" => "root".into(),
            _ if passwords.len() > 1 => passwords.pop_front().unwrap(),
            _ => passwords[0].clone(),
        }))
    }
}

fn node() -> NodeName {
    NodeName("edge-01".into())
}

/// Through the registry, as the program does. `more` is merged into the table.
fn driver(url: &str, passwords: &[&str], trust: Trust, more: Value) -> Result<Arc<dyn Bmc>, Fault> {
    let mut body = json!({ "url": url, "username": { "env": "USER" }, "password": { "env": "PASSWORD" } });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let config = kinds::make(KINDS, &Setting { kind: "redfish".into(), body }).unwrap();
    let secrets = Arc::new(Passwords(Mutex::new(passwords.iter().map(|p| p.to_string()).collect())));
    config.connect(&Connect { node: Some(node()), secrets, trust, base: Path::new("/").into(), home: Path::new("/").into() })
}

/// Of a vouched node without a host.
fn readings(view: &BmcView) -> Readings {
    let pins = Pins { identity: Some(view.identity.clone()), vouched: Some("spare nodes, nothing runs here".into()), ..Pins::default() };
    Readings {
        read_at: tokio::time::Instant::now(),
        bmc: Ok(view.clone()),
        clusters: Vec::new(),
        host: None,
        carried_host: None,
        tasks: Ok(vec![]),
        started: vec![],
        pins,
        moment: Some(pitstop::guards::Moment::quiet()),
    }
}

/// As the guards give it.
fn permit_for(verb: ResetType, view: &BmcView) -> Permit {
    permit(&node(), verb, &readings(view)).unwrap()
}

async fn power(bmc: &dyn Bmc, verb: ResetType) -> Result<(), Fault> {
    let view = bmc.look().await.unwrap();
    bmc.power(verb, &mut permit_for(verb, &view)).await
}

/// Resets the BMC itself.
async fn restart(bmc: &dyn Bmc) -> Result<(), Fault> {
    let view = bmc.look().await.unwrap();
    bmc.restart(&mut restart_of_bmc(&node(), false, &readings(&view)).unwrap()).await
}

async fn until(bmc: &dyn Bmc, wanted: Power) {
    let began = Instant::now();
    while bmc.look().await.unwrap().power != wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "still not {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
