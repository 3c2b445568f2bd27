//! While a run is at work this computer neither shuts down nor sleeps by itself: a lock of systemd-logind, by its own tool. Where that is not there, nothing is held.
//! The lock lives as long as a pipe from this process: however the process ends, it is given back.
use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub struct Inhibitor(Option<Child>);

impl Inhibitor {
    /// `why` is what `systemd-inhibit --list` shows.
    pub fn take(why: &str) -> Inhibitor {
        let args = ["--what=shutdown:sleep", "--who=pitstop", "--mode=block", &format!("--why={why}"), "cat"];
        let mut command = Command::new("systemd-inhibit");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C is for us, and nodes are still out then.
        Inhibitor(command.process_group(0).spawn().ok())
    }
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.stdin.take());
            // It ends with its input. One that still asks a bus which does not answer is not waited for.
            for _ in 0..20 {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            child.kill().ok(); // it may have ended just now
            child.wait().ok();
        }
    }
}
