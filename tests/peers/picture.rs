//! The picture of a real host, this computer, over OpenSSH's sshd: the same when it is taken twice, and what the tools say in their other formats.
#![allow(clippy::unwrap_used, reason = "a test")]
use crate::ssh::Sshd;
use pitstop::{
    model::{NodeName, Picture, Rules, Span, picture},
    steps::baseline,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// None: there is no such tool here, or it cannot say.
fn said(tool: &str, args: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let out = Command::new(tool).args(args).env("PATH", path).env("LC_ALL", "C").output().ok()?;
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}
fn json(tool: &str, args: &[&str]) -> Option<Value> {
    serde_json::from_str(&said(tool, args)?).ok()
}
fn texts<'a>(rows: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    rows.as_array().unwrap().iter().filter_map(move |r| r[key].as_str())
}
fn names(picture: &Picture, category: &str) -> BTreeSet<String> {
    picture.of(category).map(|(name, _)| name.to_owned()).collect()
}
fn fact<'a>(picture: &'a Picture, id: &str, key: &str) -> &'a str {
    picture.items.get(id).and_then(|f| f.get(key)).map_or("", String::as_str)
}

#[tokio::test]
async fn this_computer_is_the_same_twice_and_what_its_tools_say_otherwise() {
    let sshd = Sshd::start();
    let host = sshd.host();
    let node = NodeName("edge-07".into());
    let take = async || baseline::of_host(&node, host.as_ref(), Span::minutes(2)).await.unwrap();
    let running = || json("systemctl", &["list-units", "--type=service,socket,timer", "--state=active", "-o", "json"]);
    let units = running();
    let (before, after) = (take().await, take().await);
    let found = picture::diff(&before, &after, &Rules::default(), &[]);
    assert!(found.iter().all(|d| !d.level.holds()), "{found:#?}");
    // Other tests come and go beside this one: their ports and what they load are no part of it.
    let rest: Vec<_> = found.iter().filter(|d| !["port:", "module:", "mount:"].iter().any(|c| d.item.starts_with(c))).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    before.items.keys().for_each(|id| *counts.entry(id.split(':').next().unwrap()).or_default() += 1);
    eprintln!("in the picture: {counts:?}; not: {:?}", before.unread);

    // Not in the picture: because its tool is not here, or says that it cannot, and never for a text that was not understood.
    for (category, why) in &before.unread {
        assert!(why.starts_with("no ") || why.contains(" ended with status "), "{category}: {why}");
    }
    assert_eq!(fact(&before, "kernel:running", "release"), said("uname", &["-r"]).unwrap().trim());
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap();
    assert!(fact(&before, "cmdline:boot", "parameters").split(' ').all(|w| cmdline.contains(w)));
    assert_eq!(fact(&before, "cpu:online", "count"), said("getconf", &["_NPROCESSORS_ONLN"]).unwrap().trim());
    let pages: u64 = said("getconf", &["_PHYS_PAGES"]).unwrap().trim().parse().unwrap();
    let page: u64 = said("getconf", &["PAGE_SIZE"]).unwrap().trim().parse().unwrap();
    assert_eq!(fact(&before, "memory:total", "kib"), (pages * page / 1024).to_string());
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let modules: BTreeSet<&str> = modules.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(names(&before, "module").iter().all(|m| modules.contains(m.as_str())), "{modules:?}");

    if let Some(mounts) = json("findmnt", &["-J", "-l", "--real", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS"]) {
        let of: BTreeMap<&str, &Value> = mounts["filesystems"].as_array().unwrap().iter().map(|m| (m["target"].as_str().unwrap(), m)).collect();
        for (target, facts) in before.of("mount") {
            // Some are gone by now: those of other tests.
            let Some(m) = of.get(target) else { continue };
            assert_eq!(facts["type"], m["fstype"].as_str().unwrap(), "{target}");
            assert_eq!(facts["mode"] == "rw", m["options"].as_str().unwrap().split(',').any(|o| o == "rw"), "{target}");
        }
        assert!(before.items.contains_key("mount:/") || of.get("/").is_none_or(|root| root["fstype"] == "overlay"), "{of:?}");
    }
    if let Some(disks) = json("lsblk", &["-J", "-b", "-d", "-o", "NAME,TYPE,SIZE,SERIAL,WWN"]) {
        for (id, facts) in before.of("disk") {
            let rows = disks["blockdevices"].as_array().unwrap();
            let row = rows.iter().find(|r| r["name"] == facts["name"].as_str()).unwrap_or_else(|| panic!("{id} is no disk of lsblk"));
            assert!(row["type"] == "disk" && row["size"].to_string().trim_matches('"') == facts["bytes"], "{row} {facts:?}");
            assert!([&row["serial"], &row["wwn"], &row["name"]].iter().any(|v| v.as_str().is_some_and(|v| v.trim() == id)), "{row} {id}");
        }
    }
    let links = names(&before, "link");
    for link in &links {
        let state = fs::read_to_string(format!("/sys/class/net/{link}/operstate")).unwrap();
        assert_eq!(fact(&before, &format!("link:{link}"), "state"), state.trim());
    }
    if let Some(addresses) = json("ip", &["-j", "addr", "show"]) {
        for row in addresses.as_array().unwrap().iter().filter(|r| links.contains(r["ifname"].as_str().unwrap_or_default())) {
            let lasting = row["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] == "global" && a["temporary"] != true);
            let wanted: BTreeSet<String> = lasting.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect();
            let seen = fact(&before, &format!("link:{}", row["ifname"].as_str().unwrap()), "addresses");
            assert_eq!(seen.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{row}");
        }
    }
    if let Some(routes) = json("ip", &["-j", "route", "show"]) {
        let rows = routes.as_array().unwrap().iter().filter(|r| r["protocol"] != "kernel" && links.contains(r["dev"].as_str().unwrap_or_default()));
        let wanted: BTreeSet<String> = rows
            .map(|r| {
                let via = r["gateway"].as_str().map(|g| format!(" via {g}")).unwrap_or_default();
                format!("{}{via} dev {}", r["dst"].as_str().unwrap(), r["dev"].as_str().unwrap())
            })
            .collect();
        assert_eq!(names(&before, "route"), wanted);
    }
    if let Some(pci) = said("lspci", &["-D", "-n", "-mm"]) {
        let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
        for line in pci.lines() {
            // `0000:00:00.0 "0600" "8086" "1237" …`
            let words: Vec<&str> = line.split('"').collect();
            *wanted.entry(format!("{}:{}", words[3], words[5])).or_default() += 1;
        }
        let seen: BTreeMap<String, u32> = before.of("pci").map(|(id, f)| (id.to_owned(), f["count"].parse().unwrap())).collect();
        assert_eq!(seen, wanted);
    }
    // A port of our own: the one that answered.
    if !before.unread.contains_key("port") && sshd.port < 32768 {
        assert!(names(&before, "port").contains(&format!("tcp 127.0.0.1:{}", sshd.port)), "{:?}", names(&before, "port"));
    }
    // Those that ran before it was taken and still do.
    if let (Some(units), Some(still)) = (units, running()) {
        let still: BTreeSet<&str> = texts(&still, "unit").collect();
        let of_people = ["user@", "user-runtime-dir@", "session-", "run-", "systemd-fsck@"];
        for unit in texts(&units, "unit").filter(|u| still.contains(u) && !of_people.iter().any(|p| u.starts_with(p))) {
            assert!(names(&before, "unit").contains(unit), "{unit}");
        }
    }
    if let Some(files) =
        json("systemctl", &["list-unit-files", "--type=service,socket,timer", "--state=enabled", "-o", "json"]).filter(|_| !before.unread.contains_key("unit"))
    {
        for unit in texts(&files, "unit_file").filter(|u| !u.contains("@.")) {
            assert_eq!(fact(&before, &format!("unit:{unit}"), "enabled"), "yes");
        }
    }
    host.close().await;
}
