//! Which firmware a model is to have: what the step `firmware` installs and the reason `firmware-below` compares with.
use super::{Apply, Fault, FaultKind, Firmware, Image, Update};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeSet};

/// `{ model = "PowerEdge R750", id = "BIOS", version = "2.19.0", image = { url = "…" }, sha256 = "…" }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// As the BMC says it, with or without the maker before it.
    pub model: String,
    /// Of the firmware inventory.
    pub id: String,
    pub version: String,
    pub image: Image,
    /// Of the image; compared before it is sent, and needed where we have the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it differs from the step's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Apply>,
}

impl Target {
    /// `product` as a BMC's view tells it: `Maker Model, BMC 1.2`. Whole words only: an R750 is no R750xs.
    pub fn is_for(&self, product: &str) -> bool {
        let model = product.split(", BMC ").next().unwrap_or(product);
        let rest = model.strip_suffix(self.model.as_str());
        rest.is_some_and(|maker| maker.is_empty() || maker.ends_with(' '))
    }

    pub fn update(&self, apply: Apply, serve: Option<&str>) -> Update {
        Update {
            id: self.id.clone(),
            version: self.version.clone(),
            image: self.image.clone(),
            sha256: self.sha256.clone(),
            apply: self.apply.unwrap_or(apply),
            serve: serve.map(str::to_owned),
        }
    }

    /// The version that runs, and whether it is below the wanted one.
    pub fn below(&self, seen: &[Firmware]) -> Result<(String, bool), Fault> {
        let ids = || seen.iter().map(|f| f.id.as_str()).collect::<Vec<_>>().join(", ");
        // Where one part is listed twice, the one that tells its version counts.
        let parts = || seen.iter().filter(|f| f.id == self.id);
        let Some(part) = parts().find(|f| f.version.is_some()).or_else(|| parts().next()) else {
            return Err(Fault::new(FaultKind::Invalid, format!("the firmware inventory has no `{}`", self.id))
                .cause(format!("it has {}", if seen.is_empty() { "nothing".into() } else { ids() }))
                .next("correct the target's id in the playbook"));
        };
        match &part.version {
            None => Err(Fault::new(FaultKind::Invalid, format!("the firmware inventory does not say which version of {} runs", self.id))),
            Some(version) => Ok((version.clone(), compare(version, &self.version) == Ordering::Less)),
        }
    }
}

/// What no serde type says, over all targets of a table.
pub fn validate(targets: &[Target]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for t in targets {
        let name = format!("target {} of {}", t.id, t.model);
        if t.model.trim().is_empty() || t.id.trim().is_empty() || t.version.trim().is_empty() {
            return Err(format!("{name}: `model`, `id` and `version` must say something"));
        }
        if !seen.insert((&t.model, &t.id)) {
            return Err(format!("{name} stands there twice"));
        }
        match (&t.image.url, &t.image.file) {
            (Some(url), None) if ["http://", "https://", "nfs://", "cifs://", "tftp://", "ftp://", "scp://", "sftp://"].iter().any(|s| url.starts_with(s)) => {
                // The BMC would be told it, and would log it.
                let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
                if authority.contains('@') {
                    return Err(format!("{name}: its URL holds credentials"));
                }
            }
            (Some(_), None) => return Err(format!("{name}: its URL is none that a BMC can fetch: http, https, nfs, cifs, tftp, ftp, scp, sftp")),
            (None, Some(file)) if !file.starts_with('/') => {
                return Err(format!("{name}: `file = \"{file}\"` must be an absolute path: a run may be resumed from another directory"));
            }
            (None, Some(_)) if t.sha256.is_none() => return Err(format!("{name}: a file needs its `sha256`")),
            (None, Some(_)) => {}
            _ => return Err(format!("{name}: an image has either `url` or `file`")),
        }
        if t.sha256.as_ref().is_some_and(|s| s.len() != 64 || !s.chars().all(|c| c.is_ascii_hexdigit())) {
            return Err(format!("{name}: `sha256` is 64 hex digits, as sha256sum prints them"));
        }
    }
    Ok(())
}

/// Number by number, word by word: 2.9 is below 2.19, `U8E122J-1.51` below `U8E122J-1.60`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (pieces(a), pieces(b));
    a.cmp(&b)
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Word(String),
    /// Without leading zeros: longer is larger.
    Number(usize, String),
}

fn pieces(version: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut chars = version.chars().peekable();
    while let Some(first) = chars.next() {
        if !first.is_alphanumeric() {
            continue;
        }
        let digits = first.is_ascii_digit();
        let mut piece = String::from(first);
        while let Some(next) = chars.next_if(|c| c.is_alphanumeric() && c.is_ascii_digit() == digits) {
            piece.push(next);
        }
        out.push(if digits {
            let plain = piece.trim_start_matches('0').to_owned();
            Piece::Number(plain.len(), plain)
        } else {
            Piece::Word(piece.to_ascii_lowercase())
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_people_read_them() {
        for (low, high) in
            [("2.9", "2.19"), ("1.0.0", "1.0.1"), ("U8E122J-1.51", "U8E122J-1.60"), ("6.00.30.00", "7.00.00.171"), ("1.2", "1.2.1"), ("v01.9", "V1.10")]
        {
            assert_eq!((compare(low, high), compare(high, low)), (Ordering::Less, Ordering::Greater), "{low} {high}");
        }
        for (one, same) in [("2.19.0", "2.19.0"), ("02.19.0", "2.19.0"), ("BIOS 2.19", "bios-2.19")] {
            assert_eq!(compare(one, same), Ordering::Equal);
        }
        // A wild one: total, and no panic.
        compare("99999999999999999999999999999999999.1", "\u{2028}ä٣");
    }

    #[test]
    fn a_model_is_whole_words() {
        let target = |model: &str| Target {
            model: model.into(),
            id: "BIOS".into(),
            version: "1".into(),
            image: Image { url: Some("https://images.example/b".into()), file: None },
            sha256: None,
            apply: None,
        };
        assert!(
            target("PowerEdge R750").is_for("Maker Inc. PowerEdge R750, BMC 6.0") && target("Maker Inc. PowerEdge R750").is_for("Maker Inc. PowerEdge R750")
        );
        assert!(
            !target("PowerEdge R750").is_for("Maker Inc. PowerEdge R750xs, BMC 6.0")
                && !target("750").is_for("PowerEdge R750")
                && !target("BMC").is_for("X, BMC 6")
        );
        assert!(validate(&[target("a"), target("b")]).is_ok());
        assert!(validate(&[target("a"), target("a")]).unwrap_err().contains("twice"));
        let with = |image: Image, sha: Option<&str>| validate(&[Target { image, sha256: sha.map(Into::into), ..target("a") }]);
        let file = |f: &str| Image { url: None, file: Some(f.into()) };
        assert!(with(file("/images/b"), Some(&"0f".repeat(32))).is_ok());
        assert!(with(file("/images/b"), None).unwrap_err().contains("sha256"));
        assert!(with(file("b"), Some(&"0f".repeat(32))).unwrap_err().contains("absolute"));
        assert!(with(Image { url: None, file: None }, None).is_err());
        assert!(with(Image { url: Some("https://u:p@images.example/b".into()), file: None }, None).unwrap_err().contains("credentials"));
        assert!(with(Image { url: Some("b".into()), file: None }, None).is_err());
    }
}
