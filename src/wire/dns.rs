//! One question to a name server, and whether what came back answers it (RFC 1035, section 4). Pure.
pub const NO_ERROR: u8 = 0;
pub const NO_SUCH_NAME: u8 = 3;

/// For its IPv4 address, with recursion. None: no name of a host.
pub fn question(id: [u8; 2], name: &str) -> Option<Vec<u8>> {
    let mut packet = vec![id[0], id[1], 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
        packet.push(length);
        packet.extend(label.bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    (packet.len() <= 12 + 255 + 4).then_some(packet)
}

/// The code of an answer to this question; None: it is none.
pub fn answered(question: &[u8], answer: &[u8]) -> Option<u8> {
    let (id, flags) = (answer.get(..2)?, answer.get(2..4)?);
    (answer.len() >= 12 && id == question.get(..2)? && flags[0] & 0x80 != 0).then_some(flags[1] & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_what_answers_it() {
        let asked = question([7, 9], "ns.example.").unwrap();
        assert_eq!(asked, [&[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2][..], b"ns", &[7], b"example", &[0, 0, 1, 0, 1]].concat());
        assert!(question([0, 0], "").is_none() && question([0, 0], "a..b").is_none() && question([0, 0], &"a".repeat(64)).is_none());
        let answer = |id: [u8; 2], flags: [u8; 2]| [&id[..], &flags[..], &[0; 8]].concat();
        assert_eq!(answered(&asked, &answer([7, 9], [0x81, 0x80])), Some(NO_ERROR));
        assert_eq!(answered(&asked, &answer([7, 9], [0x81, 0x83])), Some(NO_SUCH_NAME));
        assert_eq!(answered(&asked, &answer([7, 9], [0x81, 0x85])), Some(5), "refused");
        assert_eq!(answered(&asked, &answer([7, 8], [0x81, 0x80])), None, "to another question");
        assert_eq!(answered(&asked, &answer([7, 9], [0x01, 0x00])), None, "a question");
        assert_eq!(answered(&asked, &[7, 9, 0x81]), None);
    }
}
