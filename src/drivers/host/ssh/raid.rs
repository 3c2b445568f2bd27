//! What the makers' tools say of RAID volumes, as they print it for people: `storcli` and its twins, `ssacli`. Pure, and tolerant.
use super::exec::sent;
use crate::model::{DataStore, HARDWARE_RAID, Raid, Span};

/// Each tool has its own limit inside; a controller that is busy answers late.
pub const LIMIT: Span = Span::seconds(85);

pub fn script() -> String {
    sent(include_str!("raid.sh"))
}

pub fn read(text: &str) -> Raid {
    let mut raid = Raid::default();
    let (mut on_bus, mut at, mut controller) = (Vec::new(), "", String::new());
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(place) = line.strip_prefix("controller=") {
            on_bus.push(format!("RAID controller at {}: no tool on the host reads it", clean(place)));
        } else if let Some(section) = line.strip_prefix("@@") {
            at = section;
        } else if at == "storcli" {
            storcli(line.trim(), &mut controller, &mut raid);
        } else if at == "ssacli" {
            ssacli(line.trim(), &mut controller, &mut raid);
        }
    }
    if raid.told == 0 {
        raid.unread = on_bus;
    }
    raid
}

/// `Controller = 0`, `0/0   RAID1 Optl  RW …`, `252:1    9 Rbld  0 …`.
fn storcli(line: &str, controller: &mut String, raid: &mut Raid) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["Controller", "=", number] => *controller = format!("controller {}", clean(number)),
        ["Status", "=", "Success"] => raid.told += 1,
        [place, level, state, ..] if level.starts_with("RAID") && pair(place, '/') => {
            let mut volume = volume(format!("volume {place} of {controller}"));
            match *state {
                "Optl" | "Optm" => {}
                "Rec" | "Recv" => volume.rebuilding.push("it recovers".into()),
                "Dgrd" => volume.refuses.push("it is degraded (Dgrd)".into()),
                "Pdgd" => volume.refuses.push("it is partially degraded (Pdgd)".into()),
                other => volume.refuses.push(format!("its state is {}", clean(other))),
            }
            raid.volumes.push(volume);
        }
        [place, id, state, ..] if pair(place, ':') && id.chars().all(|c| c.is_ascii_digit()) => {
            let mut disk = volume(format!("disk {place} of {controller}"));
            match *state {
                "Rbld" => disk.rebuilding.push("it is rebuilt (Rbld)".into()),
                "Cpybck" | "CBShld" => disk.rebuilding.push("it is copied back (Cpybck)".into()),
                // What a volume lacks shows in the volume; a spare that failed is nobody's loss.
                _ => return,
            }
            raid.volumes.push(disk);
        }
        _ => {}
    }
}

/// `Smart Array P408i-a SR Gen10 in Slot 0`, `logicaldrive 1 (279.37 GB, RAID 1, OK)`, `…, RAID 5, Recovering, 42% complete)`.
fn ssacli(line: &str, controller: &mut String, raid: &mut Raid) {
    if let Some((name, slot)) = line.split_once(" in Slot ") {
        *controller = clean(&format!("{name} in slot {}", slot.split_whitespace().next().unwrap_or_default()));
        raid.told += 1;
        return;
    }
    let inside = || line.split_once('(').map(|(_, rest)| rest.trim_end_matches(')').split(',').map(str::trim).collect::<Vec<_>>());
    if let (Some(rest), Some(said)) = (line.strip_prefix("logicaldrive "), inside()) {
        let mut drive = volume(format!("logical drive {} of {controller}", clean(rest.split_whitespace().next().unwrap_or_default())));
        let state: Vec<&str> = said.into_iter().skip_while(|word| !word.starts_with("RAID")).skip(1).collect();
        let state = clean(&state.join(", "));
        match state.as_str() {
            "OK" | "" => {}
            busy if ["Recovering", "Rebuild", "Transforming", "Expanding"].iter().any(|word| busy.starts_with(word)) => drive.rebuilding.push(state),
            _ => drive.refuses.push(format!("its state is {state}")),
        }
        raid.volumes.push(drive);
    } else if let (Some(rest), Some(said)) = (line.strip_prefix("physicaldrive "), inside())
        && said.iter().any(|word| word.starts_with("Rebuilding"))
    {
        let mut disk = volume(format!("disk {} of {controller}", clean(rest.split_whitespace().next().unwrap_or_default())));
        disk.rebuilding.push("it is rebuilt".into());
        raid.volumes.push(disk);
    }
}

fn volume(name: String) -> DataStore {
    DataStore { kind: HARDWARE_RAID.into(), name, refuses: Vec::new(), rebuilding: Vec::new() }
}
fn pair(text: &str, by: char) -> bool {
    text.split_once(by).is_some_and(|(a, b)| [a, b].iter().all(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()) || *n == "-"))
}
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_as_they_print() {
        let storcli = "controller=0000:3b:00.0\n@@storcli\nCLI Version = 007.1616\nController = 0\nStatus = Success\nDescription = None\n\nVirtual Drives :\n==============\n\
            ---------------------------------------------------------------\nDG/VD TYPE  State Access Consist Cache Cac sCC       Size Name\n\
            0/0   RAID1 Optl  RW     Yes     NRWBD -   ON  446.625 GB OS\n1/1   RAID6 Dgrd  RW     Yes     RWTD  -   ON   21.829 TB data\n2/2   RAID0 Rec   RW  Yes RWTD - ON 1 TB x\n\
            EID:Slt DID State DG     Size Intf Med SED PI SeSz Model Sp Type\n252:0     8 Onln   0 446 GB SATA SSD N N 512B X U -\n252:1     9 Rbld   1 446 GB SATA SSD N N 512B X U -\n252:2 10 UBad - 1 TB SAS HDD N N 512B X U -\n@@end";
        let raid = read(storcli);
        let said: Vec<String> =
            raid.volumes.iter().filter(|v| !v.bears_it()).map(|v| format!("{}: {}{}", v.name, v.refuses.join(""), v.rebuilding.join(""))).collect();
        assert_eq!((raid.told, raid.volumes.len(), raid.unread.len()), (1, 4, 0));
        assert_eq!(
            said,
            [
                "volume 1/1 of controller 0: it is degraded (Dgrd)",
                "volume 2/2 of controller 0: it recovers",
                "disk 252:1 of controller 0: it is rebuilt (Rbld)"
            ]
        );
        let ssacli = "@@ssacli\n\nSmart Array P408i-a SR Gen10 in Slot 0 (Embedded)  (sn: PEYHC0DRHBV4QF)\n\n   Array A (SAS, Unused Space: 0  MB)\n\n\
            \x20     logicaldrive 1 (279.37 GB, RAID 1, OK)\n      logicaldrive 2 (1.09 TB, RAID 5, Recovering, 42% complete)\n      logicaldrive 3 (1 TB, RAID 1+0, Interim Recovery Mode)\n\
            \x20     physicaldrive 1I:1:1 (port 1I:box 1:bay 1, SAS HDD, 300 GB, OK)\n      physicaldrive 1I:1:2 (port 1I:box 1:bay 2, SAS HDD, 300 GB, Rebuilding)\n@@end";
        let raid = read(ssacli);
        assert_eq!((raid.told, raid.volumes.len(), raid.volumes[0].bears_it()), (1, 4, true));
        assert_eq!(
            (raid.volumes[1].rebuilding.as_slice(), raid.volumes[2].refuses.as_slice()),
            (&["Recovering, 42% complete".to_owned()][..], &["its state is Interim Recovery Mode".to_owned()][..])
        );
        assert!(!raid.volumes[3].bears_it());
        let nobody = read("controller=0000:3b:00.0\n@@storcli\nsudo: a password is required\n@@end");
        assert_eq!((nobody.told, nobody.unread.as_slice()), (0, &["RAID controller at 0000:3b:00.0: no tool on the host reads it".to_owned()][..]));
        assert_eq!(read("@@end"), Raid::default());
        for odd in ["@@storcli\n0/0 RAID1", "@@ssacli\nlogicaldrive \nlogicaldrive 1 (\n in Slot ", "controller=", "@@"] {
            read(odd);
        }
    }
}
