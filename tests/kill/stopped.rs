//! Must-show 5 of the cluster systems: VMs that a run stopped run again at its end, also after `kill -9` and `resume`; those that were off stay off.
use crate::{
    case::Case,
    lab::{Kill, Lab},
};

#[test]
fn inv_07_vms_we_stopped_run_again_after_kill_and_resume() {
    let lab = Lab::start_with(6, &["pinned-vm"]);
    let playbook = lab.path("stopping.toml");
    let text = "description = \"Reboot, stopping what cannot move\"\n[[steps]]\nevacuate = { unmovable = \"stop-and-restart\" }\n\
         [[steps]]\nreset = { how = \"graceful\", then = \"force\" }\n[[steps]]\nverify = { hold_for = \"60s\" }\n[[steps]]\nenable = {}\n[[steps]]\nsettle = {}\n";
    std::fs::write(&playbook, text).unwrap();
    let playbook: &'static str = Box::leak(playbook.display().to_string().into_boxed_str());
    let mut deaths = 0;
    for (n, when) in [(9, "after"), (12, "before"), (16, "after"), (24, "before")] {
        let from = lab.record(0).len();
        let saw = Case { lab: &lab, playbook, node: "vault-02", name: format!("stopping-{n}-{when}") }.survives(&[Kill::At(n, when)]);
        deaths += u32::from(saw.died);
        let record = lab.record(from);
        let said: Vec<&str> = record.iter().filter(|l| l["kind"] == "api-write").filter_map(|l| l["what"].as_str()).collect();
        let of_vms: Vec<&&str> = said.iter().filter(|w| w.contains(" vm ")).collect();
        assert_eq!(of_vms, [&"poweroff vm pinned-vault-02", &"poweron vm pinned-vault-02"], "{n} {when}: {said:?}");
    }
    assert!(deaths >= 3, "only {deaths} deaths: what was tested?");
}
