//! A way through jump hosts as people write it: `ops@bastion.example:2222,inner`. Pure.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

/// More than anybody has; a list that is longer is a mistake.
pub const HOPS: usize = 8;

/// In the order in which they are passed. What is wrong is said of the word that is wrong.
pub fn hops(text: &str) -> Result<Vec<Hop>, String> {
    let hops: Vec<Hop> = text.split(',').map(|word| hop(word.trim())).collect::<Result<_, _>>()?;
    if hops.len() > HOPS { Err(format!("{} jump hosts one behind the other; {HOPS} is the most", hops.len())) } else { Ok(hops) }
}

fn hop(word: &str) -> Result<Hop, String> {
    let wrong = || format!("`{word}` is no jump host; such as \"ops@bastion.example:22\"");
    let rest = word.strip_prefix("ssh://").map_or(word, |rest| rest.trim_end_matches('/'));
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, rest),
    };
    let (host, port) = match rest.strip_prefix('[').map(|v6| v6.split_once(']')) {
        Some(Some((host, ""))) => (host, None),
        Some(Some((host, port))) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        Some(None) => return Err(wrong()),
        // A bare IPv6 address has more than one colon and no port.
        None if rest.matches(':').count() == 1 => rest.split_once(':').map(|(host, port)| (host, Some(port))).ok_or_else(wrong)?,
        None => (rest, None),
    };
    let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(wrong)).transpose()?;
    let plain = |s: &str| !s.is_empty() && !s.starts_with('-') && !s.contains(odd);
    if !plain(host) || user.as_deref().is_some_and(|u| !plain(u)) {
        return Err(wrong());
    }
    Ok(Hop { user, host: host.to_owned(), port })
}

/// What is in no name of a host or user.
pub fn odd(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '@' | '/' | '[' | ']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(user: Option<&str>, host: &str, port: Option<u16>) -> Vec<Hop> {
        vec![Hop { user: user.map(str::to_owned), host: host.into(), port }]
    }

    #[test]
    fn as_people_write_them() {
        assert_eq!(hops("bastion.example"), Ok(one(None, "bastion.example", None)));
        assert_eq!(hops("ops@bastion.example:2222"), Ok(one(Some("ops"), "bastion.example", Some(2222))));
        assert_eq!(hops("ssh://ops@bastion.example:22/"), Ok(one(Some("ops"), "bastion.example", Some(22))));
        assert_eq!(hops("[2001:db8::1]:22"), Ok(one(None, "2001:db8::1", Some(22))));
        assert_eq!(hops("2001:db8::1"), Ok(one(None, "2001:db8::1", None)));
        assert_eq!(hops("a, ops@b:22").unwrap().len(), 2);
        for wrong in ["", "a,", "@a", "a@", "a:0", "a:x", "a:70000", "[::1", "[::1]22", "-oProxyCommand=x", "a b", "a/b", "a,b,c,d,e,f,g,h,i"] {
            assert!(hops(wrong).is_err(), "{wrong}");
        }
    }
}
