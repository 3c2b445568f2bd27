//! `pitstop check` over 1,000 BMCs of the lab, beside `curl --parallel` (the same requests in the same order) and `ipmipower --stat`: wall, CPU and peak memory, as ratios within one run.
//! The BMCs are served by a process of their own, whose CPU is shown apart. `cargo bench`, or `cargo bench --profile dev`; `PITSTOP_SWEEP=200` sweeps fewer.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]
use pitstop::lab::{
    ipmi,
    rack::{MachineSpec, Pace, Quirks, Rack},
    redfish::{Account, serve},
    tls::Tls,
};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Side by side in curl: as many as it takes.
const AT_ONCE: &str = "300";
/// Open to all: pitstop shows it no password, and nor does curl.
const ROOT: &str = "/redfish/v1/";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--serve") {
        return serve_all(args[at + 1].parse().unwrap(), Path::new(&args[at + 2]), args[at + 3].parse().unwrap(), args[at + 4].parse().unwrap());
    }
    let count: usize = std::env::var("PITSTOP_SWEEP").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{count} BMCs on this machine's loopback, {cpus} CPUs, {}", if cfg!(debug_assertions) { "dev profile" } else { "optimised" });
    println!("| BMCs | what | wall | CPU | peak memory | lab's CPU meanwhile | answered |\n|---|---|---|---|---|---|---|");
    sweep("quick", count, 0, 0);
    sweep("200 ms an answer", count, 200, 0);
    sweep("200 ms, 5 % dead", count, 200, 5);
}

fn sweep(name: &str, count: usize, late_ms: u64, dead_percent: usize) {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(count, dir.path(), late_ms, dead_percent);
    let paths = asked(dir.path());
    for protocol in ["redfish", "ipmi"] {
        let mine = measured(&lab, pitstop(dir.path(), protocol, &["check", "--json"]), dir.path());
        let well = mine.out.matches("\"ready\": true").count();
        line(name, &format!("pitstop check, {protocol}"), &mine, None, &well.to_string());
        let (tool, theirs) = match protocol {
            "redfish" => ("curl --parallel", curl(dir.path(), &paths)),
            _ => ("ipmipower --stat", ipmipower(dir.path(), count)),
        };
        if !Command::new(theirs.get_program()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
            println!("| {name} | {tool} | skipped: it is not installed, run tests/setup | | | | |");
            continue;
        }
        let other = measured(&lab, theirs, dir.path());
        let well = match protocol {
            "redfish" => other.out.matches("200\n").count() / paths.len(),
            _ => other.out.matches(": on").count(),
        };
        line(name, tool, &other, None, &well.to_string());
        line(name, &format!("ratio, {protocol}"), &mine, Some(&other), "");
    }
}

fn pitstop(dir: &Path, protocol: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pitstop"));
    command.arg("-i").arg(dir.join(protocol)).args(["--store", "sqlite:none.db"]).args(args).current_dir(dir).env("HOME", dir);
    command
}

/// What `check` asks of a BMC, in its order, as its own diagnostics tell.
fn asked(dir: &Path) -> Vec<String> {
    let out = pitstop(dir, "redfish", &["-vv", "check", "n0000"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    let paths: Vec<String> = told.lines().filter_map(|l| l.split_once(": GET ")?.1.split('"').next().map(str::to_owned)).collect();
    assert!(paths.first().is_some_and(|p| p == ROOT), "nothing is known of what is asked: {told}");
    paths
}

fn curl(dir: &Path, paths: &[String]) -> Command {
    let ports = fs::read_to_string(dir.join("redfish.ports")).unwrap();
    let mut config = String::new();
    for (port, path) in ports.lines().flat_map(|port| paths.iter().map(move |path| (port, path))) {
        let user = if path == ROOT { "" } else { "user = \"ADMIN:secret12\"\n" };
        // `next` forgets the limits of the one before.
        writeln!(config, "next\ncacert = \"ca.pem\"\nhttp1.1\nconnect-timeout = 5\nmax-time = 10\nnoproxy = \"*\"\noutput = \"/dev/null\"").unwrap();
        writeln!(config, "write-out = \"%{{http_code}}\\n\"\n{user}url = \"https://127.0.0.1:{port}{path}\"").unwrap();
    }
    fs::write(dir.join("curl.conf"), config).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--parallel", "--parallel-immediate", "--parallel-max", AT_ONCE, "--config", "curl.conf"]).current_dir(dir);
    command
}

fn ipmipower(dir: &Path, count: usize) -> Command {
    let hosts: Vec<String> = fs::read_to_string(dir.join("ipmi.ports")).unwrap().lines().take(count).map(|port| format!("127.0.0.1:{port}")).collect();
    let mut command = Command::new("ipmipower");
    command.args(["-D", "LAN_2_0", "-I", "17", "-u", "ADMIN", "-p", "secret12", "-l", "ADMIN", "--stat", "-h", &hosts.join(",")]).current_dir(dir);
    command
}

struct Measured {
    wall: Duration,
    cpu: f64,
    peak_kib: u64,
    lab_cpu: f64,
    out: String,
}

fn measured(lab: &Lab, mut command: Command, dir: &Path) -> Measured {
    // Into files: nobody has to read while it runs.
    let (out, err) = (dir.join("out"), dir.join("err"));
    command.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let (began, lab_before) = (Instant::now(), cpu(lab.process.id()));
    let mut child = command.spawn().unwrap();
    let (mut used, mut peak_kib) = (0.0, 0);
    while child.try_wait().unwrap().is_none() {
        used = cpu(child.id()).max(used);
        peak_kib = peak(child.id()).max(peak_kib);
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = began.elapsed();
    Measured { wall, cpu: used, peak_kib, lab_cpu: cpu(lab.process.id()) - lab_before, out: fs::read_to_string(out).unwrap_or_default() }
}

/// Seconds, user and system; the kernel counts in hundredths.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn line(name: &str, what: &str, m: &Measured, to: Option<&Measured>, answered: &str) {
    match to {
        None => println!(
            "| {name} | {what} | {:.2} s | {:.2} s | {:.0} MiB | {:.2} s | {answered} |",
            m.wall.as_secs_f64(),
            m.cpu,
            m.peak_kib as f64 / 1024.0,
            m.lab_cpu
        ),
        Some(to) => println!(
            "| {name} | **{what}** | **{:.2}** | {:.2} | {:.2} | {:.2} | |",
            m.wall.as_secs_f64() / to.wall.as_secs_f64(),
            m.cpu / to.cpu.max(0.01),
            m.peak_kib as f64 / to.peak_kib.max(1) as f64,
            m.lab_cpu / to.lab_cpu.max(0.01)
        ),
    }
    std::io::stdout().flush().unwrap();
}

struct Lab {
    process: Child,
}
impl Drop for Lab {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
impl Lab {
    fn start(count: usize, dir: &Path, late_ms: u64, dead_percent: usize) -> Lab {
        let args = ["--serve".to_owned(), count.to_string(), dir.display().to_string(), late_ms.to_string(), dead_percent.to_string()];
        let mut process = Command::new(std::env::current_exe().unwrap()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Lab { process }
    }
}

/// The other process: until it is killed. Every machine is a rack of its own, so that none costs another anything.
fn serve_all(count: usize, dir: &Path, late_ms: u64, dead_percent: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tls = Tls::new();
        fs::write(dir.join("ca.pem"), tls.ca_pem()).unwrap();
        fs::write(dir.join("password"), "secret12").unwrap();
        fs::write(dir.join("user"), "ADMIN").unwrap();
        let head = "[defaults.bmc.redfish]\nusername = { file = \"../user\" }\npassword = { file = \"../password\" }\ntls = { ca_file = \"../ca.pem\" }\nauth = \"basic\"\ntimeout = \"10s\"\n\
                    [defaults.bmc.ipmi]\nusername = { file = \"../user\" }\npassword = { file = \"../password\" }\n[clusters.spare.none]\nvouched = \"a benchmark\"\n";
        let (mut redfish, mut over_ipmi, mut web_ports, mut ports) = (head.to_owned(), head.to_owned(), String::new(), String::new());
        for n in 0..count {
            let quirks = Quirks {
                bmc_silent: dead_percent > 0 && n % (100 / dead_percent) == 7,
                answers_after: Duration::from_millis(late_ms),
                ..Quirks::default()
            };
            let name = format!("n{n:04}");
            let spec = MachineSpec {
                name: name.clone(),
                uuid: uuid::Uuid::new_v4().to_string(),
                serial: format!("B{n:06}"),
                machine_id: uuid::Uuid::new_v4().simple().to_string(),
                services: vec![],
                quirks,
            };
            let rack = Rack::new(vec![spec], Pace::default(), Box::new(std::io::sink()));
            let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (web, datagrams) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            writeln!(redfish, "[[nodes]]\nname = \"{name}\"\ncluster = \"spare\"\nbmc.redfish = {{ url = \"https://127.0.0.1:{web}\" }}").unwrap();
            writeln!(over_ipmi, "[[nodes]]\nname = \"{name}\"\ncluster = \"spare\"\nbmc.ipmi = {{ host = \"127.0.0.1\", port = {datagrams} }}").unwrap();
            writeln!(web_ports, "{web}").unwrap();
            writeln!(ports, "{datagrams}").unwrap();
            let account = Account { username: "ADMIN".into(), password: "secret12".into() };
            tokio::spawn(ipmi::serve(rack.clone(), name.clone(), udp, ("ADMIN".into(), "secret12".into())));
            let tls = tls.clone();
            tokio::spawn(async move { serve(rack, name, tcp, &tls, account).await });
        }
        for (name, text) in [("redfish", &redfish), ("ipmi", &over_ipmi)] {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("rack.toml"), text).unwrap();
        }
        fs::write(dir.join("redfish.ports"), web_ports).unwrap();
        fs::write(dir.join("ipmi.ports"), ports).unwrap();
        println!("ready");
        std::future::pending::<()>().await;
    });
}
