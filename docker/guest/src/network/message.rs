//! DNS messages: one question in, one short answer out.
//!
//! No name in a question needs compression, and an answer points to its question, so that
//! no pointer is ever followed here. What stands behind the question (EDNS options) is not read.

use std::net::Ipv4Addr;

/// Longest query that is looked at; a question and its options are far shorter.
pub(crate) const LONGEST: usize = 1024;
const HEADER: usize = 12;
const LONGEST_NAME: usize = 253;
const INTERNET: u16 = 1;
/// Seconds for which an answer may be kept: grants change, and asking costs microseconds.
const KEPT: u32 = 1;

/// Why there is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// There is no record of this type.
    Nothing = 0,
    Malformed = 1,
    Failed = 2,
    NoSuchName = 3,
    Unsupported = 4,
    Refused = 5,
}

/// A question that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without a dot at its end; empty where no host can have this name.
    pub(crate) host: String,
    /// Whether addresses of IPv4 are wanted.
    pub(crate) addresses: bool,
    /// Length of the query up to the end of the question.
    end: usize,
}

/// What a query is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Question(Question),
    /// It gets this answer, whatever it asks for.
    Unfit(Code),
    /// It gets none: it is an answer itself, or too short to have a header.
    Ignored,
}

pub(crate) fn read(query: &[u8]) -> Query {
    let Some((header, rest)) = query.split_first_chunk::<HEADER>() else {
        return Query::Ignored;
    };
    let [_, _, flags, _, q1, q2, a1, a2, n1, n2, _, _] = *header;
    if flags & 0x80 != 0 {
        return Query::Ignored;
    }
    if flags & 0x78 != 0 {
        return Query::Unfit(Code::Unsupported);
    }
    if (q1, q2) != (0, 1) || (a1, a2, n1, n2) != (0, 0, 0, 0) || query.len() > LONGEST {
        return Query::Unfit(Code::Malformed);
    }
    let Some((host, after)) = read_name(rest) else {
        return Query::Unfit(Code::Malformed);
    };
    let Some((&[t1, t2, c1, c2], left)) = after.split_first_chunk::<4>() else {
        return Query::Unfit(Code::Malformed);
    };
    if u16::from_be_bytes([c1, c2]) != INTERNET {
        return Query::Unfit(Code::Refused);
    }
    Query::Question(Question {
        host,
        addresses: u16::from_be_bytes([t1, t2]) == 1,
        end: query.len() - left.len(),
    })
}

/// The name and what comes behind it; `None` where it is broken.
fn read_name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    let mut plain = true;
    let mut total = 0;
    loop {
        let (&length, rest) = bytes.split_first()?;
        if length == 0 {
            let host = if plain { name } else { String::new() };
            return Some((host, rest));
        }
        // The two upper bits would make it a pointer, or something that was never defined.
        let length = usize::from(length);
        if length > 63 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(length)?;
        total += length + 1;
        if total > LONGEST_NAME + 1 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let fit = byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
            plain = plain && fit;
            name.push(char::from(byte.to_ascii_lowercase()));
        }
        bytes = rest;
    }
}

/// The query turned into an answer without records. It keeps all that the query held, so that
/// whoever asked knows it again.
pub(crate) fn without_records(query: &[u8], code: Code) -> Vec<u8> {
    let mut answer = query
        .get(..LONGEST.min(query.len()))
        .unwrap_or_default()
        .to_vec();
    mark(&mut answer, code, 0);
    answer
}

/// An answer to the question, with an address or with nothing.
pub(crate) fn answer(query: &[u8], question: &Question, address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut answer = query.get(..question.end).unwrap_or_default().to_vec();
    mark(&mut answer, Code::Nothing, u8::from(address.is_some()));
    if let Some(slot) = answer.get_mut(8..HEADER) {
        slot.fill(0);
    }
    if let Some(address) = address {
        // The name is the question's, by a pointer to where it stands.
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(KEPT.to_be_bytes());
        answer.extend(4_u16.to_be_bytes());
        answer.extend(address.octets());
    }
    answer
}

/// An answer with a code and nothing but the question.
pub(crate) fn refusal(query: &[u8], question: &Question, code: Code) -> Vec<u8> {
    let mut refusal = answer(query, question, None);
    mark(&mut refusal, code, 0);
    refusal
}

/// Sets the bits of an answer: recursion is available, the code, the number of records.
fn mark(message: &mut [u8], code: Code, records: u8) {
    if let Some([_, _, flags, more, _, _, a1, a2, ..]) = message.get_mut(..) {
        *flags = (*flags & 0x79) | 0x80;
        *more = 0x80 | code as u8;
        (*a1, *a2) = (0, records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    fn question(query: &[u8]) -> Question {
        match read(query) {
            Query::Question(question) => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_answered_in_its_own_spelling() {
        let query = query("Api.eXample.COM", 1);
        let asked = question(&query);
        assert_eq!(asked.host, "api.example.com");
        assert!(asked.addresses);
        let answer = answer(&query, &asked, Some(Ipv4Addr::new(127, 64, 1, 2)));
        assert_eq!(answer[..2], [0xab, 0xcd]);
        assert_eq!(answer[2..12], [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..query.len()], query[12..]);
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 64, 1, 2];
        assert_eq!(answer[query.len()..], record);
    }

    #[test]
    fn other_types_have_nothing() {
        for kind in [28, 64, 65, 16, 255] {
            let query = query("a.example", kind);
            let asked = question(&query);
            assert!(!asked.addresses, "{kind}");
            let answer = answer(&query, &asked, None);
            assert_eq!((answer.len(), answer[3], answer[7]), (query.len(), 0x80, 0));
        }
    }

    #[test]
    fn options_are_tolerated_and_not_repeated() {
        let mut query = query("a.example", 1);
        let plain = query.len();
        query[11] = 1;
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        let asked = question(&query);
        let answer = refusal(&query, &asked, Code::NoSuchName);
        assert_eq!(answer.len(), plain);
        assert_eq!(answer[2..12], [0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_broken_gets_a_code_or_nothing() {
        let good = query("a.example", 1);
        let changed = |at: usize, value: u8| {
            let mut query = good.clone();
            query[at] = value;
            read(&query)
        };
        assert_eq!(read(&[]), Query::Ignored);
        assert_eq!(read(&good[..11]), Query::Ignored);
        assert_eq!(changed(2, 0x81), Query::Ignored);
        assert_eq!(changed(2, 0x28), Query::Unfit(Code::Unsupported));
        for (at, value) in [
            (5, 0),
            (5, 2),
            (7, 1),
            (9, 1),
            (12, 0xc0),
            (12, 64),
            (12, 60),
        ] {
            assert_eq!(changed(at, value), Query::Unfit(Code::Malformed), "{at}");
        }
        // A name that points at itself, and one that is too long.
        let mut looped = good[..12].to_vec();
        looped.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(read(&looped), Query::Unfit(Code::Malformed));
        let long = ["a".repeat(63).as_str(); 4].join(".");
        assert_eq!(read(&query(&long, 1)), Query::Unfit(Code::Malformed));
        assert_eq!(changed(good.len() - 1, 3), Query::Unfit(Code::Refused));
        for end in 12..good.len() {
            assert_eq!(read(&good[..end]), Query::Unfit(Code::Malformed), "{end}");
        }
        let huge = [good.as_slice(), &[0; LONGEST]].concat();
        assert_eq!(read(&huge), Query::Unfit(Code::Malformed));
        assert!(without_records(&huge, Code::Malformed).len() <= LONGEST);
        assert_eq!(without_records(&good, Code::Failed)[2..4], [0x81, 0x82]);
    }

    #[test]
    fn names_that_no_host_has_are_empty() {
        let name = |label: &[u8]| {
            let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label);
            query.extend([0, 0, 1, 0, 1]);
            question(&query).host
        };
        assert_eq!(name(b"plain-1_x"), "plain-1_x");
        for label in [&b"a.b"[..], b"a b", b"\0", b"\xff\xfe", b"a:1", b"a/b"] {
            assert_eq!(name(label), "", "{label:?}");
        }
        assert_eq!(question(&query("", 1)).host, "");
    }

    #[test]
    fn no_bytes_whatsoever_make_it_fail() {
        let mut state = 7_u32;
        for length in 0..600 {
            let mut bytes: Vec<u8> = Vec::with_capacity(length);
            for _ in 0..length {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.push(state.to_be_bytes()[0]);
            }
            if let Some(count) = bytes.get_mut(2..12) {
                count.copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            match read(&bytes) {
                Query::Question(asked) => drop(answer(&bytes, &asked, None)),
                Query::Unfit(code) => drop(without_records(&bytes, code)),
                Query::Ignored => {}
            }
        }
    }
}
