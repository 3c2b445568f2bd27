//! What a node carries that a run itself needs, and where another instance of it may be asked (safety.md, 15).
use serde::{Deserialize, Serialize};
use std::fmt;

/// `"dns"`, or `{ name = "ntp", tcp = "192.0.2.9:123" }`: another instance answers there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Said", into = "Said")]
pub struct Carried {
    pub name: String,
    /// Host and port of another instance; None: pitstop knows how to ask for one itself.
    pub tcp: Option<String>,
}

/// Those for which no place has to be named.
pub const DNS: &str = "dns";
pub const CLUSTER_API: &str = "cluster-api";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub name: String,
    pub tcp: String,
}
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Said {
    Word(String),
    Place(Place),
}
impl From<Said> for Carried {
    fn from(said: Said) -> Carried {
        match said {
            Said::Word(name) => name.into(),
            Said::Place(place) => place.into(),
        }
    }
}
impl From<String> for Carried {
    fn from(name: String) -> Carried {
        Carried { name, tcp: None }
    }
}
impl From<Place> for Carried {
    fn from(Place { name, tcp }: Place) -> Carried {
        Carried { name, tcp: Some(tcp) }
    }
}
impl From<Carried> for Said {
    fn from(carried: Carried) -> Said {
        match carried {
            Carried { name, tcp: Some(tcp) } => Said::Place(Place { name, tcp }),
            Carried { name, tcp: None } => Said::Word(name),
        }
    }
}
impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// `192.0.2.9:123`, `[2001:db8::9]:123`, `ntp.lan.example:123`.
pub fn place(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_there_and_back() {
        for text in [r#""dns""#, r#"{"name":"ntp","tcp":"192.0.2.9:123"}"#] {
            let carried: Carried = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&carried).unwrap(), text);
        }
        assert_eq!(place("[2001:db8::9]:123"), Some(("2001:db8::9".to_owned(), 123)));
        assert_eq!(place("ntp.lan.example:123"), Some(("ntp.lan.example".to_owned(), 123)));
        for odd in ["ntp", ":123", "ntp:0", "ntp:x", "", "a b:1"] {
            assert_eq!(place(odd), None, "{odd}");
        }
    }
}
