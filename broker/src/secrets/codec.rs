//! The secrets as bytes, before they are sealed. Written into one buffer of the right size: one that
//! grew would leave copies of the values behind in freed memory.

use std::collections::BTreeMap;

use rumi_policy::EnvKey;
use zeroize::Zeroizing;

use super::{secret::Secret, store::Entry};

/// Lengths and numbers of one entry, in bytes.
const FIXED: usize = 2 + 8 + 8 + 4;

/// The entries, with `room` bytes to spare behind them.
pub(super) fn encode(entries: &BTreeMap<EnvKey, Entry>, room: usize) -> Zeroizing<Vec<u8>> {
    let size = entries.iter().fold(room, |size, (name, entry)| {
        size + FIXED + name.as_str().len() + entry.value.text().len()
    });
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    for (name, entry) in entries {
        let name = name.as_str().as_bytes();
        let value = entry.value.text().as_bytes();
        // Both lengths were checked when the entry was made.
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&entry.version.to_be_bytes());
        bytes.extend_from_slice(&entry.changed_ms.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The entries of what was sealed; nothing where it is not what [`encode`] writes.
pub(super) fn decode(mut bytes: &[u8]) -> Option<BTreeMap<EnvKey, Entry>> {
    let mut entries = BTreeMap::new();
    while !bytes.is_empty() {
        let length = u16::from_be_bytes(take(&mut bytes)?);
        let name = text(&mut bytes, usize::from(length))?;
        let name: EnvKey = name.parse().ok()?;
        let version = u64::from_be_bytes(take(&mut bytes)?);
        let changed_ms = u64::from_be_bytes(take(&mut bytes)?);
        let length = u32::from_be_bytes(take(&mut bytes)?);
        let value = text(&mut bytes, usize::try_from(length).ok()?)?;
        let entry = Entry {
            value: Secret::new(Zeroizing::new(value.to_owned())),
            version,
            changed_ms,
        };
        if entries.insert(name, entry).is_some() {
            return None;
        }
    }
    Some(entries)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn text<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a str> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_is_seen() {
        let entry = |value: &str, version| Entry {
            value: Secret::new(Zeroizing::new(value.to_owned())),
            version,
            changed_ms: 7,
        };
        let entries = BTreeMap::from([
            ("A".parse().unwrap(), entry("größe\n", 3)),
            ("B_2".parse().unwrap(), entry("x", u64::MAX)),
        ]);
        let bytes = encode(&entries, 16);
        assert_eq!(bytes.capacity(), bytes.len() + 16);
        let read = decode(&bytes).unwrap();
        let plain = |entries: &BTreeMap<EnvKey, Entry>| -> Vec<_> {
            entries
                .iter()
                .map(|(name, entry)| {
                    let text = entry.value.text().to_owned();
                    (name.clone(), text, entry.version, entry.changed_ms)
                })
                .collect()
        };
        assert_eq!(plain(&read), plain(&entries));
        let first = FIXED + 1 + "größe\n".len();
        for length in (1..bytes.len()).filter(|length| *length != first) {
            assert!(decode(&bytes[..length]).is_none(), "{length}");
        }
        let twice = [&bytes[..first], &bytes[..first]].concat();
        assert!(decode(&twice).is_none());
    }
}
