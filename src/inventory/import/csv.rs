//! CSV with a heading (RFC 4180): columns by their usual names, in any order; what is not known becomes a label.
use super::{Found, Listed, quirks::COLUMNS as BMC};

const NAME: [&str; 4] = ["name", "hostname", "host", "node"];
const IPMI: [&str; 3] = ["ipmi", "ipmi_address", "ipmi_ip"];
const SSH: [&str; 8] = ["ssh", "ssh_host", "ip", "address", "ansible_host", "primary_ip4", "primary_ip", "ip_address"];
const USER: [&str; 2] = ["ssh_user", "ansible_user"];
/// Of no use as a label, or a secret that has no place in an inventory.
const DROPPED: [&str; 11] =
    ["id", "url", "comments", "description", "notes", "password", "bmc_password", "ipmi_password", "username", "bmc_username", "ipmi_username"];
/// Kept as labels where they stand in a sheet that has dozens of columns.
const LABELS: [&str; 9] = ["rack", "role", "site", "location", "row", "room", "chassis", "device_role", "tenant"];

pub fn read(text: &str) -> Result<Listed, String> {
    let mut rows = rows(text)?.into_iter();
    let head: Vec<String> = rows.next().ok_or("it is empty")?.iter().map(|h| key(h)).collect();
    let few = head.len() <= 12;
    if !head.iter().any(|h| NAME.contains(&h.as_str())) {
        return Err(format!("no column is called {}; it has {}", NAME.join(", "), head.join(", ")));
    }
    let mut listed = Listed::default();
    for (line, row) in rows.enumerate() {
        if row.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if row.len() > head.len() {
            return Err(format!("row {} has {} cells, the heading {}", line + 2, row.len(), head.len()));
        }
        let mut f = Found::default();
        let mut user = None;
        for (key, cell) in head.iter().zip(&row) {
            let cell = cell.trim();
            match key.as_str() {
                _ if cell.is_empty() => {}
                k if NAME.contains(&k) && f.name.is_empty() => f.name = cell.to_owned(),
                k if BMC.contains(&k) => f.set_bmc(address(cell)),
                k if IPMI.contains(&k) => f.set_bmc(&format!("ipmi://{}", address(cell))),
                k if SSH.contains(&k) => f.ssh = Some((address(cell).to_owned(), None, None)),
                k if USER.contains(&k) => user = Some(cell.to_owned()),
                "cluster_node" | "node_name" => f.cluster_node = Some(cell.to_owned()),
                k if DROPPED.contains(&k) || k.contains("password") || k.contains("secret") || k.contains("token") => {}
                k if few || LABELS.contains(&k) => drop(f.labels.insert(k.to_owned(), cell.to_owned())),
                _ => {}
            }
        }
        if let (Some(ssh), Some(user)) = (&mut f.ssh, user) {
            ssh.1 = Some(user);
        }
        match f.name.is_empty() {
            true => listed.left_out.push(format!("row {} has no name", line + 2)),
            false => listed.take(f),
        }
    }
    Ok(listed)
}

/// `192.0.2.11/24`, as address managers write: without the length.
pub fn address(cell: &str) -> &str {
    match cell.rsplit_once('/') {
        Some((head, length)) if !head.contains('/') && length.parse::<u8>().is_ok() => head,
        _ => cell,
    }
}

fn key(heading: &str) -> String {
    heading.trim().trim_start_matches('\u{feff}').to_ascii_lowercase().replace([' ', '-', '.'], "_")
}

fn rows(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut text = text.trim_start_matches('\u{feff}');
    let mut said = None;
    // Remarks before the heading, and the line in which a spreadsheet names its separator.
    while let Some((line, rest)) = text.split_once('\n').filter(|(line, _)| line.starts_with('#') || line.trim().is_empty() || line.starts_with("sep=")) {
        said = line.strip_prefix("sep=").and_then(|s| s.chars().next()).or(said);
        text = rest;
    }
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets of half the world write semicolons; what is pasted has tabs.
    let most = [',', ';', '\t', '|'].into_iter().rev().max_by_key(|c| first.matches(*c).count()).unwrap_or(',');
    let comma = said.unwrap_or(most);
    let (mut rows, mut row, mut cell, mut inside) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap_or('"')),
            '"' if inside || cell.is_empty() => inside = !inside,
            '\r' if !inside && chars.peek() == Some(&'\n') => {}
            '\n' if !inside => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c if c == comma && !inside => row.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    if inside {
        return Err("a quoted cell has no end".into());
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    Ok(rows)
}
