//! The real binary in a directory of its own, against whatever listens: inventory, secrets and store are files, as an operator has them.
use serde_json::Value;
use std::{fs, path::PathBuf, process::Stdio};
use tempfile::TempDir;

pub struct Pit {
    dir: TempDir,
}

pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}
impl Said {
    pub fn all(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.out, self.err)
    }
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }
}

/// What every inventory here begins with: the accounts, and a cluster of kind none for which somebody vouches.
pub const HEAD: &str = "[time]\nscale = 0.05\n\
    [defaults.bmc.redfish]\nusername = { file = \"../user\" }\npassword = { file = \"../password\" }\n\
    [defaults.bmc.ipmi]\nusername = { file = \"../ipmi-user\" }\npassword = { file = \"../password\" }\n\
    [clusters.spare.none]\nvouched = \"spare nodes, nothing runs here\"\n";

impl Pit {
    pub fn new(inventory: &str) -> Pit {
        let pit = Pit { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(pit.path("inventory")).unwrap();
        fs::create_dir(pit.path("tmp")).unwrap();
        for (name, text) in [("user", "root"), ("ipmi-user", "ADMIN"), ("password", "secret12"), ("inventory/rack.toml", inventory)] {
            fs::write(pit.path(name), text).unwrap();
        }
        pit
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn pitstop(&self, args: &[&str]) -> Said {
        self.pitstop_within(args, std::time::Duration::from_secs(240)).await
    }
    pub async fn pitstop_within(&self, args: &[&str], limit: std::time::Duration) -> Said {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pitstop"));
        command.args(["-i", "inventory", "--store", "sqlite:pitstop.db"]).args(args).current_dir(self.dir.path());
        command.env("HOME", self.dir.path()).env("TMPDIR", self.path("tmp")).env("COLUMNS", "400").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(limit, command.output()).await.expect("it does not end").unwrap();
        let said = Said { code: output.status.code(), out: String::from_utf8(output.stdout).unwrap(), err: String::from_utf8(output.stderr).unwrap() };
        assert!(!said.all().contains("secret12"), "{}", said.all());
        said
    }

    /// What the journal of the last run says was sent to BMCs, in order, and what proved the boots.
    pub async fn sent(&self) -> (Vec<String>, Vec<Value>) {
        let events = self.pitstop(&["report", "--events"]).await;
        assert_eq!(events.code, Some(0), "{}", events.all());
        let lines: Vec<Value> = events.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let verbs =
            lines.iter().filter(|e| e["event"] == "act_intended" && e["act"]["power"] == true).map(|e| e["act"]["args"]["verb"].as_str().unwrap().to_owned());
        let proofs = lines.iter().filter(|e| e["event"] == "step_settled" && e["kind"] == "reset").cloned();
        (verbs.collect(), proofs.collect())
    }
}
