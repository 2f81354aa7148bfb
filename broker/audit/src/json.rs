//! The one spelling that a value has in the log. Bytes are hashed, so there must be no second one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use serde_json::{Number, Value};

use crate::tree::Hash;

/// The largest number that every JSON reader holds exactly; larger ones are spelled as strings.
pub(crate) const MAX_NUMBER: u64 = 1 << 53;

/// Levels of nesting inside `detail`, itself included.
pub(crate) const MAX_DEPTH: usize = 32;

/// Stands for what is nested deeper than that, and marks a short field that was cut.
const ELLIPSIS: &str = "\u{2026}";

/// Characters that never stand raw: controls, line and paragraph separators, and the invisible ones that
/// reorder or hide text on a terminal. A log is read by people, and its text is written by packs.
pub(crate) fn must_escape(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that are zero; exact up to the first one.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Length of the leading run of printable ASCII that needs no escape, eight bytes at a time.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for chunk in words {
        let word = u64::from_le_bytes(*chunk);
        let special = (word & HIGHS)
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS)
            | zero_bytes(word ^ (ONES * 0x22))
            | zero_bytes(word ^ (ONES * 0x5c))
            | zero_bytes(word ^ (ONES * 0x7f));
        if special != 0 {
            return length + (special.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| is_plain(**byte)).count()
}

fn push_char(out: &mut Vec<u8>, c: char) {
    if must_escape(c) {
        out.extend_from_slice(b"\\u");
        let code = u32::from(c).to_be_bytes();
        push_hex(out, code.get(2..).unwrap_or_default());
    } else if c == '"' || c == '\\' {
        out.extend_from_slice(&[b'\\', c as u8]);
    } else {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Appends `text` in quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest.as_bytes()));
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        let Some(c) = chars.next() else { break };
        push_char(out, c);
        rest = chars.as_str();
    }
    out.push(b'"');
}

/// Appends as much of `text` as fits into `limit` spelled bytes, without quotes.
fn push_within(out: &mut Vec<u8>, text: &str, limit: usize) {
    let end = out.len() + limit;
    for c in text.chars() {
        let before = out.len();
        push_char(out, c);
        if out.len() > end {
            out.truncate(before);
            break;
        }
    }
}

/// Appends a field that is short by its nature; should it not be, it is cut and ends in an ellipsis.
pub(crate) fn push_short(out: &mut Vec<u8>, text: &str, limit: usize) {
    let start = out.len();
    if text.len() <= limit {
        push_string(out, text);
        if out.len() - start <= limit + 2 {
            return;
        }
        out.truncate(start);
    }
    out.push(b'"');
    push_within(out, text, limit.saturating_sub(ELLIPSIS.len()));
    out.extend_from_slice(ELLIPSIS.as_bytes());
    out.push(b'"');
}

/// Appends bytes that somebody else chose: as text where they are UTF-8, else as base64; what exceeds
/// `limit` is cut, with the length and the hash of the whole beside it.
pub(crate) fn push_foreign(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let start = out.len();
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            if text.len() <= limit {
                push_string(out, text);
                if out.len() - start <= limit + 2 {
                    return;
                }
                out.truncate(start);
            }
            push_truncated(out, text, limit);
        }
        Err(_) => {
            let kept = bytes.get(..limit / 4 * 3).unwrap_or(bytes);
            out.extend_from_slice(b"{\"base64\":\"");
            out.extend_from_slice(STANDARD.encode(kept).as_bytes());
            out.push(b'"');
            if kept.len() < bytes.len() {
                push_whole(out, bytes);
            }
            out.push(b'}');
        }
    }
}

fn push_truncated(out: &mut Vec<u8>, text: &str, limit: usize) {
    out.extend_from_slice(b"{\"truncated\":\"");
    push_within(out, text, limit);
    out.push(b'"');
    push_whole(out, text.as_bytes());
    out.push(b'}');
}

/// Says what the whole of a cut value was.
fn push_whole(out: &mut Vec<u8>, whole: &[u8]) {
    out.extend_from_slice(b",\"bytes\":");
    push_number(out, whole.len() as u64);
    out.extend_from_slice(b",\"sha256\":\"");
    push_hex(out, digest::digest(&digest::SHA256, whole).as_ref());
    out.push(b'"');
}

/// Appends an object, or its cut form where its spelling exceeds `limit`.
pub(crate) fn push_detail(out: &mut Vec<u8>, detail: &Value, limit: usize) {
    if detail.is_object() {
        push_limited(out, detail, 1, limit);
    } else {
        out.extend_from_slice(b"{\"value\":");
        push_limited(out, detail, 2, limit);
        out.push(b'}');
    }
}

/// Appends any value that stands inside a `detail`, or its cut form.
pub(crate) fn push_nested(out: &mut Vec<u8>, value: &Value, limit: usize) {
    push_limited(out, value, 2, limit);
}

fn push_limited(out: &mut Vec<u8>, value: &Value, depth: usize, limit: usize) {
    let start = out.len();
    push_value(out, value, depth);
    if out.len() - start > limit {
        let spelled = out.split_off(start);
        push_truncated(out, &String::from_utf8_lossy(&spelled), limit);
    }
}

/// Appends any value; `depth` is the level that it stands on.
fn push_value(out: &mut Vec<u8>, value: &Value, depth: usize) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => push_any_number(out, number),
        Value::String(text) => push_string(out, text),
        Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => push_string(out, ELLIPSIS),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                push_value(out, item, depth + 1);
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            out.push(b'{');
            for (place, (key, entry)) in entries.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                push_string(out, key);
                out.push(b':');
                push_value(out, entry, depth + 1);
            }
            out.push(b'}');
        }
    }
}

fn push_any_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(number) = number.as_u64() {
        push_number(out, number);
    } else if let Some(number) = number.as_i64()
        && number.unsigned_abs() <= MAX_NUMBER
    {
        out.push(b'-');
        push_digits(out, number.unsigned_abs());
    } else {
        // Readers disagree about floats; a string says exactly what was meant.
        push_string(out, &number.to_string());
    }
}

/// Appends a number, as a string where it exceeds what every reader holds exactly.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number <= MAX_NUMBER {
        push_digits(out, number);
    } else {
        out.push(b'"');
        push_digits(out, number);
        out.push(b'"');
    }
}

fn push_digits(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

fn hex_digit(nibble: u8) -> u8 {
    nibble + b'0' + u8::from(nibble > 9) * (b'a' - b'0' - 10)
}

/// Appends lower-case hex.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
}

/// Lower-case hex of a hash.
pub(crate) fn hex(hash: &Hash) -> [u8; 64] {
    let mut spelled = [0; 64];
    for (pair, byte) in spelled.as_chunks_mut::<2>().0.iter_mut().zip(hash) {
        *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
    }
    spelled
}

/// Whether all bytes are lower-case hex digits.
pub(crate) fn is_hex(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |ok, byte| {
        ok & ((byte.wrapping_sub(b'0') < 10) | (byte.wrapping_sub(b'a') < 6))
    })
}

/// The hash that 64 characters of lower-case hex spell.
pub(crate) fn unhex(spelled: &[u8]) -> Option<Hash> {
    let spelled: &[u8; 64] = spelled.try_into().ok()?;
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(spelled.as_chunks::<2>().0) {
        *byte = hex_value(*high) << 4 | hex_value(*low);
    }
    is_hex(spelled).then_some(hash)
}

/// Value of what is known to be a hex digit; without branches, because each record has a hash to be read.
fn hex_value(digit: u8) -> u8 {
    (digit & 15) + (digit >> 6) * 9
}

/// Value of one lower-case hex digit.
pub(crate) fn digit(spelled: u8) -> Option<u8> {
    match spelled {
        b'0'..=b'9' => Some(spelled - b'0'),
        b'a'..=b'f' => Some(spelled - b'a' + 10),
        _ => None,
    }
}

/// Place of the first newline.
pub(crate) fn find_newline(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<32>();
    let without = |block: &&[u8; 32]| block.iter().fold(true, |ok, byte| ok & (*byte != b'\n'));
    let skipped = blocks.iter().take_while(without).count() * 32;
    let place = find_byte(bytes.get(skipped..).unwrap_or_default(), b'\n')?;
    Some(skipped + place)
}

/// Place of the first such byte, looked for eight at a time: the best for what is found soon.
pub(crate) fn find_byte(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, chunk) in words.iter().enumerate() {
        let found = zero_bytes(u64::from_le_bytes(*chunk) ^ (ONES * u64::from(wanted)));
        if found != 0 {
            return Some(place * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let place = rest.iter().position(|byte| *byte == wanted)?;
    Some(words.len() * 8 + place)
}

/// Whether all bytes are printable ASCII and none begins an escape, so that a string ends at the next quote.
pub(crate) fn is_simple(bytes: &[u8]) -> bool {
    // Without branches, so that the compiler looks at sixteen bytes at once.
    bytes.iter().fold(true, |ok, byte| {
        ok & (byte.wrapping_sub(0x20) < 0x5f) & (*byte != b'\\')
    })
}

/// A spelled string without its quotes.
pub(crate) fn unquoted(spelled: &[u8]) -> &[u8] {
    spelled
        .get(1..spelled.len().saturating_sub(1))
        .unwrap_or_default()
}
