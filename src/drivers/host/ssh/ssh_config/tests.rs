//! Files as people have them, and files as nobody should.
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// `files`: those that may be included, by the words of the `Include`.
fn read_with(alias: &str, text: &str, files: &[(&str, &str)]) -> Result<Said, String> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let include = |pattern: &str| Ok(files.get(pattern).map(|text| (pattern.to_owned(), (*text).to_owned())).into_iter().collect());
    let mut reader = Reader::new(alias, &include);
    reader.read("config", text).map_err(|wrong| wrong.to_string())?;
    Ok(reader.said())
}
fn read(alias: &str, text: &str) -> Said {
    read_with(alias, text, &[]).unwrap()
}
fn wrong(text: &str, expect: &str) {
    let error = read_with("edge-07", text, &[]).unwrap_err();
    assert!(error.starts_with(expect), "{text:?}: {error}");
}
fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|w| w.text.as_str()).collect()
}

#[test]
fn the_first_value_wins_and_keys_add_up() {
    let text = "User first\n\nHost edge-* !edge-09\n  HostName %h.lan.example\n  Port=2222\n\tidentityfile ~/.ssh/a\n  IdentityFile = \"~/.ssh/with blank\" # why\n\
                Host *\n  Port 22\n  User second\n  IdentityFile ~/.ssh/b\n  IdentitiesOnly yes\n  UserKnownHostsFile ~/.ssh/k1 \"~/k 2\"\n  Compression yes\n";
    let said = read("edge-07", text);
    assert_eq!((said.host.as_deref(), said.port, said.user.as_deref()), (Some("edge-07.lan.example"), Some(2222), Some("first")));
    assert_eq!(texts(&said.keys), ["~/.ssh/a", "~/.ssh/with blank", "~/.ssh/b"]);
    assert_eq!((said.identities_only, texts(&said.known_hosts.unwrap())), (Some(true), vec!["~/.ssh/k1", "~/k 2"]));
    let other = read("edge-09", text);
    assert_eq!((other.host, other.port), (None, Some(22)));
}

#[test]
fn patterns_of_host() {
    for (patterns, alias, expect) in [
        ("edge-07", "edge-07", true),
        ("edge-0?", "edge-07", true),
        ("edge-?", "edge-07", false),
        ("*", "x", true),
        ("!edge-07", "edge-07", false),
        // Nothing but negations fits nobody, as in OpenSSH.
        ("!edge-07", "edge-08", false),
        ("* !edge-07", "edge-07", false),
        ("!edge-07 *", "edge-08", true),
        ("a b edge-07", "edge-07", true),
        ("Edge-07", "edge-07", false),
        ("\"edge-07\"", "edge-07", true),
    ] {
        assert_eq!(read(alias, &format!("Host {patterns}\nPort 1")).port.is_some(), expect, "{patterns} {alias}");
    }
}

#[test]
fn jumps_and_commands_share_one_place() {
    let jump = |text: &str| read("h", text).proxy;
    assert!(matches!(jump("ProxyJump ops@b:22,c\nProxyCommand nc %h %p"), Some(Proxy::Jump(w)) if w.text == "ops@b:22,c"));
    assert!(matches!(jump("ProxyCommand nc %h %p\nProxyJump b"), Some(Proxy::Command(at)) if (at.line, at.column) == (1, 1)));
    assert_eq!(jump("ProxyJump none\nProxyJump b"), Some(Proxy::None));
    assert_eq!(jump("ProxyCommand none\nProxyJump b"), Some(Proxy::None));
    assert_eq!(jump("Host x\nProxyJump b"), None);
}

#[test]
fn includes_are_read_where_they_stand() {
    let files = [("a", "Host edge-*\n  Port 2222\nHost other\n  User nobody\n"), ("b", "User ops\n"), ("loop", "Include loop\n")];
    let said = read_with("edge-07", "Include a b\nPort 1\nUser x\n", &files).unwrap();
    assert_eq!((said.port, said.user.as_deref()), (Some(2222), Some("ops")));
    // A block in an included file ends with that file; a file included for others is not read.
    let said = read_with("edge-07", "Host edge-07\nInclude a\nHostName 192.0.2.7\nHost no\nInclude b\n", &files).unwrap();
    assert_eq!((said.host.as_deref(), said.port, said.user), (Some("192.0.2.7"), Some(2222), None));
    let error = read_with("edge-07", "Include loop", &files).unwrap_err();
    assert!(error.starts_with("loop:1:1: files include each other"), "{error}");
    assert_eq!(read_with("edge-07", "Include nothing\nPort 5", &files).unwrap().port, Some(5));
}

/// A condition that is not judged is neither true nor false.
#[test]
fn match_is_never_half_applied() {
    wrong("Host x\n  Port 1\nMatch host edge-07 exec \"true\"\n    Port 2222\n", "config:4:5: `Port` stands under `Match` (line 3)");
    wrong("Match user root\nIdentityFile x\n", "config:2:1: `IdentityFile`");
    // The port meant for others is not taken for the block above.
    assert_eq!(read("edge-07", "Host edge-07\n  User a\nMatch all\n  Port 7\n").port, Some(7));
    assert_eq!(read("edge-07", "Port 22\nMatch host x\n  Port 2222\n  ForwardX11 yes\nHost *\n  User a").user.as_deref(), Some("a"));
    let crypto = [("crypto", "Ciphers aes256-gcm@openssh.com\n"), ("hidden", "Host *\n  Port 9\n")];
    let red_hat = "Match final all\n  Include crypto\n  GSSAPIAuthentication yes\nHost edge-07\n  Port 2022\n";
    assert_eq!(read_with("edge-07", red_hat, &crypto).unwrap().port, Some(2022));
    let error = read_with("edge-07", "Match final all\n  Include hidden\n", &crypto).unwrap_err();
    assert!(error.starts_with("hidden:2:3: `Port` stands under `Match` (line 1)"), "{error}");
}

#[test]
fn what_is_wrong_is_named_by_line_and_column() {
    wrong("Host *\n\tPort  many", "config:2:8: `many` is no port");
    wrong("Port 0", "config:1:6: `0` is no port");
    wrong("Port", "config:1:1: `Port` says nothing");
    wrong("Host", "config:1:1: `Host` says nothing");
    wrong("User a b", "config:1:8: `User` has one value");
    wrong("IdentityFile \"~/x", "config:1:14: the \" is not closed");
    wrong("HostName %n", "config:1:10: %n cannot");
    wrong("HostName a/b", "config:1:10: `a/b` is no host");
    wrong("IdentitiesOnly maybe", "config:1:16: `maybe` is neither");
    wrong("\u{e4}\nPort \"\u{e4}", "config:2:6: the \" is not closed");
}

#[test]
fn what_does_not_concern_us_is_passed_over() {
    for text in ["# Port x", "   ", "Ciphers \"", "Bogus", "= x", "\u{feff}Port x", "\"\"", "LocalForward 1 2"] {
        assert_eq!(read("h", text), Said::default(), "{text:?}");
    }
    assert_eq!(read("h", "\"Port\" 7\r\n").port, Some(7));
    assert_eq!(texts(&read("h", r#"IdentityFile a\ b"#).keys), ["a b"]);
    assert_eq!(texts(&read("h", r#"IdentityFile "a\"b" # c"#).keys), [r#"a"b"#]);
}

fn line() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select([&KEYWORDS[..], &["Ciphers", "#", "", "match", "HOST"]].concat());
    (keyword, prop::sample::select(vec![" ", "=", " = ", "", "\t"]), "[a-z0-9%\"'\\\\ !*?#,=~@:/\u{e4}-]{0,12}").prop_map(|(k, eq, v)| format!("{k}{eq}{v}"))
}

proptest! {
    /// No text panics; a complaint names a place in that text; what another host's block says never counts.
    #[test]
    fn any_text(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        match read_with("edge-07", &text, &[]) {
            Ok(said) => prop_assert_eq!(said.clone(), read("edge-07", &format!("{text}\nHost nobody-else\nPort 1\nUser x\nIdentityFile y\nProxyJump z"))),
            Err(error) => {
                let mut place = error.split(':').skip(1);
                let (at, column): (usize, usize) = (place.next().unwrap().parse().unwrap(), place.next().unwrap().parse().unwrap());
                prop_assert!(at >= 1 && column >= 1 && column <= lines[at - 1].chars().count() + 1, "{}", error);
            }
        }
    }

    /// Bytes as they come.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_with("h", &String::from_utf8_lossy(&bytes), &[]).ok();
    }

    /// What is written with quotes is read as it was.
    #[test]
    fn quoted_values_come_back(value in "[ -~\u{e4}]{1,20}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let said = read("h", &format!("User \"{quoted}\""));
        prop_assert_eq!(said.user, Some(value));
    }
}
