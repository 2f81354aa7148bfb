//! Takes the values of credentials out of what code prints, wherever its writes are cut.
//!
//! Each value is looked for with a machine of its own (Knuth, Morris and Pratt), which knows after every byte how much of the
//! value has just been seen. What may be the beginning of a value is held back until the next bytes tell, and nothing else is.

use std::{collections::VecDeque, fmt, mem, sync::Arc};

use zeroize::Zeroizing;

/// What stands in the place of a value.
pub const MASKED: &[u8] = b"[masked]";

/// Lines of a value are hidden one by one where they are as long as this: a key that is printed line by line.
const OWN_LINE: usize = 16;
/// Lines of one value that are; the largest keys in use have half as many.
const OWN_LINES: usize = 128;

/// Hides values in one stream of bytes. A clone is for another stream, from its beginning.
pub struct Mask {
    values: Arc<[Value]>,
    /// By first byte: whether a value begins so.
    begins: Arc<[bool; 256]>,
    /// For each value, how many of its bytes were seen just now.
    seen: Vec<usize>,
    /// What may still become part of a value.
    held: Vec<u8>,
    /// Bytes of the stream that are no longer held.
    gone: u64,
    /// Where values were found, from the earliest, in bytes of the stream; they touch no other.
    found: VecDeque<(u64, u64)>,
    /// The last byte that was given away belonged to a value.
    within: bool,
}

struct Value {
    bytes: Zeroizing<Vec<u8>>,
    /// For each length of what was seen: how much of it is a beginning of the value as well.
    falls: Vec<usize>,
}

impl Value {
    fn new(bytes: &[u8]) -> Self {
        let mut value = Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            falls: vec![0, 0],
        };
        let mut seen = 0;
        for byte in bytes.iter().skip(1) {
            seen = value.next(seen, *byte);
            value.falls.push(seen);
        }
        value
    }

    /// How much of the value was seen once this byte came as well.
    fn next(&self, mut seen: usize, byte: u8) -> usize {
        loop {
            // After the whole value, and after what does not go on so, a shorter beginning is tried.
            if self.bytes.get(seen) == Some(&byte) {
                return seen + 1;
            }
            if seen == 0 {
                return 0;
            }
            seen = self.falls.get(seen).copied().unwrap_or_default();
        }
    }
}

impl Mask {
    /// Hides each of these values, also without the space around it, and its lines where they are long.
    pub fn new<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut wanted: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for value in values {
            let value = value.as_ref();
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let long = lines.filter(|line| line.len() >= OWN_LINE).take(OWN_LINES);
            for form in [value, value.trim_ascii()].into_iter().chain(long) {
                if !form.is_empty() && !wanted.iter().any(|known| known.as_slice() == form) {
                    wanted.push(Zeroizing::new(form.to_vec()));
                }
            }
        }
        let mut begins = [false; 256];
        for first in wanted.iter().filter_map(|value| value.first()) {
            if let Some(begins) = begins.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        let values: Arc<[Value]> = wanted.iter().map(|value| Value::new(value)).collect();
        Self::over(values, Arc::new(begins))
    }

    fn over(values: Arc<[Value]>, begins: Arc<[bool; 256]>) -> Self {
        Self {
            seen: vec![0; values.len()],
            values,
            begins,
            held: Vec::new(),
            gone: 0,
            found: VecDeque::new(),
            within: false,
        }
    }

    /// The next bytes of the stream, and what may be shown now.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        while let Some((first, rest)) = bytes.split_first() {
            if self.held.is_empty() {
                // Most of what is printed begins no value, and is passed on as it is.
                let begins = |byte: &u8| self.begins.get(usize::from(*byte)) == Some(&true);
                let clear = bytes.iter().position(begins).unwrap_or(bytes.len());
                if let Some((clear, after)) = bytes.split_at_checked(clear)
                    && !clear.is_empty()
                {
                    self.within = false;
                    self.gone += length(clear.len());
                    shown.extend_from_slice(clear);
                    bytes = after;
                    continue;
                }
            }
            self.held.push(*first);
            self.step(*first);
            bytes = rest;
            if self.held.len() > 2 * self.open() + 4096 || self.open() == 0 {
                self.release(self.open(), &mut shown);
            }
        }
        self.release(self.open(), &mut shown);
        shown
    }

    /// The stream is over: what was held back became no value.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        self.release(0, &mut shown);
        self.begin();
        shown
    }

    /// The stream was cut here, and nobody knows how it would have gone on: what may be the beginning of a value is hidden.
    pub fn cut(&mut self) -> Vec<u8> {
        let end = self.gone + length(self.held.len());
        self.note(self.open(), end);
        self.finish()
    }

    /// All of a text, a file or a message at once.
    #[must_use]
    pub fn whole(&self, bytes: &[u8]) -> Vec<u8> {
        let mut mask = self.clone();
        let mut shown = mask.feed(bytes);
        shown.extend(mask.finish());
        shown
    }

    /// The same for text. Where a value ends within a character, that is replaced.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.whole(text.as_bytes())).into_owned()
    }

    /// Bytes at the end of what is held that may become a value, or a longer one.
    fn open(&self) -> usize {
        self.seen.iter().copied().max().unwrap_or_default()
    }

    fn step(&mut self, byte: u8) {
        let end = self.gone + length(self.held.len());
        let mut longest = 0;
        for (value, seen) in self.values.iter().zip(&mut self.seen) {
            *seen = value.next(*seen, byte);
            if *seen == value.bytes.len() {
                longest = longest.max(*seen);
                *seen = value.falls.get(*seen).copied().unwrap_or_default();
            }
        }
        self.note(longest, end);
    }

    /// So many bytes before `end` are to be hidden.
    fn note(&mut self, count: usize, end: u64) {
        if count == 0 {
            return;
        }
        let mut start = end.saturating_sub(length(count));
        while let Some((earlier, until)) = self.found.back().copied() {
            if until < start {
                break;
            }
            start = start.min(earlier);
            self.found.pop_back();
        }
        self.found.push_back((start, end));
    }

    /// Gives away all that is held but the last so many bytes.
    fn release(&mut self, keep: usize, shown: &mut Vec<u8>) {
        let ready = self.held.len().saturating_sub(keep);
        let later = self.held.split_off(ready);
        let held = Zeroizing::new(mem::replace(&mut self.held, later));
        let end = self.gone + length(held.len());
        let mut rest = held.as_slice();
        while let Some((start, until)) = self.found.front().copied() {
            if start >= end {
                break;
            }
            let clear = place(start.saturating_sub(self.gone)).min(rest.len());
            let (before, after) = rest.split_at_checked(clear).unwrap_or((rest, &[]));
            self.pass(before, shown);
            if !self.within {
                shown.extend_from_slice(MASKED);
                self.within = true;
            }
            let hidden = place(until.saturating_sub(self.gone)).min(after.len());
            rest = after.get(hidden..).unwrap_or_default();
            self.gone += length(hidden);
            if until > end {
                // The value goes on behind what is given away now.
                break;
            }
            self.found.pop_front();
        }
        self.pass(rest, shown);
    }

    fn pass(&mut self, clear: &[u8], shown: &mut Vec<u8>) {
        if !clear.is_empty() {
            self.within = false;
            self.gone += length(clear.len());
            shown.extend_from_slice(clear);
        }
    }

    fn begin(&mut self) {
        *self = Self::over(Arc::clone(&self.values), Arc::clone(&self.begins));
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Clone for Mask {
    fn clone(&self) -> Self {
        Self::over(Arc::clone(&self.values), Arc::clone(&self.begins))
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask(of {} values)", self.values.len())
    }
}

#[cfg(test)]
mod tests;
