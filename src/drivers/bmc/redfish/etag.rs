//! How a condition on a write may be put: makers demand it, refuse it, or take only one form of it.

/// In the order in which they are tried: as it was served, as a strong tag, any, and without a condition.
pub fn forms(served: Option<&str>) -> Vec<Option<String>> {
    let served = served.map(str::trim).filter(|tag| !matches!(tag.trim_start_matches("W/"), "" | "\"\""));
    let strong = served.and_then(|tag| tag.strip_prefix("W/"));
    let mut forms: Vec<Option<String>> = [served, strong].into_iter().flatten().map(|tag| Some(tag.to_owned())).collect();
    // Where no tag was served none is demanded as a rule: the bare form goes first there.
    let rest = [Some("*".to_owned()), None];
    if forms.is_empty() {
        forms.extend(rest.into_iter().rev())
    } else {
        forms.extend(rest)
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::forms;

    #[test]
    fn from_the_strictest_to_none() {
        let of = |served: Option<&str>| forms(served).into_iter().map(|f| f.unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(of(Some("W/\"3a\"")), ["W/\"3a\"", "\"3a\"", "*", ""]);
        assert_eq!(of(Some("\"3a\"")), ["\"3a\"", "*", ""]);
        for nothing in [None, Some(""), Some("\"\""), Some("W/\"\"")] {
            assert_eq!(of(nothing), ["", "*"], "{nothing:?}");
        }
    }
}
