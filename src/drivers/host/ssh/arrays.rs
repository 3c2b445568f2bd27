//! Local arrays, judged by the kernel's `/proc/mdstat` and by `zpool status`: a disk short before a reset may be two short after it.
use crate::model::DataStore;

/// Lines of `/proc/mdstat`. A `check` is a reading of all disks and may be cut short; a resync, recovery or reshape not.
pub fn mdraid(lines: &[String]) -> Vec<DataStore> {
    let mut found: Vec<DataStore> = Vec::new();
    for line in lines {
        let line = line.trim();
        if let Some((name, rest)) = line.split_once(" : ").filter(|(name, _)| name.starts_with("md") && !name.contains(' ')) {
            let refuses = if rest.starts_with("active") { Vec::new() } else { vec![format!("{name} is not active: {rest}")] };
            found.push(DataStore { kind: "mdraid".into(), name: name.into(), refuses, rebuilding: Vec::new() });
            continue;
        }
        let Some(array) = found.last_mut() else { continue };
        if let Some((want, have)) = members(line)
            && have < want
        {
            array.refuses.push(format!("{} of its {want} disks are missing", want - have));
        }
        let busy = ["recovery", "resync", "reshape"].iter().any(|word| line.contains(&format!("{word} =")) || line.contains(&format!("{word}=")));
        if busy {
            let told = line.split(']').next_back().unwrap_or(line).trim();
            array.rebuilding.push(told.to_owned());
        }
    }
    found
}

/// `[2/1] [U_]`: disks wanted, disks there.
fn members(line: &str) -> Option<(u32, u32)> {
    let inside = line.split('[').skip(1).filter_map(|part| part.split(']').next());
    inside.filter_map(|text| text.split_once('/')).find_map(|(want, have)| Some((want.parse().ok()?, have.parse().ok()?)))
}

/// `pool:`, `state:` and `scan:` lines of `zpool status`, in its order. A scrub may be cut short.
pub fn zfs(lines: &[String]) -> Vec<DataStore> {
    let mut found: Vec<DataStore> = Vec::new();
    for line in lines {
        match line.trim().split_once(':').map(|(key, value)| (key, value.trim())) {
            Some(("pool", name)) => found.push(DataStore { kind: "zfs".into(), name: name.into(), refuses: Vec::new(), rebuilding: Vec::new() }),
            Some(("state", state)) if state != "ONLINE" => found.iter_mut().next_back().into_iter().for_each(|p| p.refuses.push(format!("it is {state}"))),
            Some(("scan", scan)) if scan.starts_with("resilver in progress") => {
                found.iter_mut().next_back().into_iter().for_each(|p| p.rebuilding.push(scan.to_owned()));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn arrays_as_the_kernel_prints_them() {
        let text = "Personalities : [raid1] [raid6]\nmd127 : active raid1 sdb1[1] sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]\n      bitmap: 0/1 pages [0KB], 65536KB chunk\n\n\
            md0 : active raid6 sdf[5] sde[4](F) sdd[3]\n      4000 blocks super 1.2 level 6, 512k chunk, algorithm 2 [4/3] [UUU_]\n      [==>..................]  recovery = 12.6% (127/1000) finish=9.1min speed=1K/sec\n\n\
            md1 : active (auto-read-only) raid1 sdc1[0] sdd1[1]\n      100 blocks [2/2] [UU]\n      \tresync=PENDING\n\nmd2 : inactive sdx[0](S)\n      100 blocks\n\n\
            md3 : active raid1 sdc2[0] sdd2[1]\n      100 blocks [2/2] [UU]\n      [>....]  check =  0.4% (1/2) finish=1min\nunused devices: <none>";
        let all = mdraid(&lines(text));
        let of = |name: &str| all.iter().find(|a| a.name == name).cloned().unwrap_or_else(|| panic!("no {name} in {all:?}"));
        assert_eq!(all.len(), 5);
        assert!(of("md127").bears_it() && of("md3").bears_it());
        assert_eq!(of("md0").refuses, ["1 of its 4 disks are missing"]);
        assert!(of("md0").rebuilding[0].starts_with("recovery = 12.6%"), "{:?}", of("md0"));
        assert_eq!(of("md1").rebuilding, ["resync=PENDING"]);
        assert!(of("md2").refuses[0].contains("not active"));
    }

    #[test]
    fn pools_as_zpool_prints_them() {
        let text = "pool: tank\n state: DEGRADED\n  scan: resilver in progress since Sat Nov 21 10:00:00 2026\n pool: quiet\n state: ONLINE\n scan: scrub in progress since now";
        let all = zfs(&lines(text));
        assert_eq!((all[0].refuses.len(), all[0].rebuilding.len(), all[1].bears_it()), (1, 1, true));
    }
}
