//! Reads a line as strictly as it is written: one order of fields, one spelling of each value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::clock::{BOOT_ID_SHAPE, TIME_LENGTH, is_shaped};
use crate::json::{
    MAX_DEPTH, MAX_NUMBER, digit, find_byte, is_hex, is_simple, must_escape, plain_prefix, unquoted,
};
use crate::keys::Keys;
use crate::line::{Field, Phase};
use crate::record::{ID_LENGTH, is_id};

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct Malformed {
    at: usize,
    what: &'static str,
}

/// A line that is a record. Values are kept as they are spelled, strings with their quotes.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) seq: u64,
    pub(crate) time: &'a [u8],
    pub(crate) phase: Phase,
    pub(crate) prev: &'a [u8],
    fields: [&'a [u8]; Field::COUNT],
}

impl<'a> Line<'a> {
    /// The field's value as it is spelled; empty where it is absent.
    pub(crate) fn raw(&self, field: Field) -> &'a [u8] {
        self.fields.get(field as usize).copied().unwrap_or_default()
    }

    /// Reads a line without its newline.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let simple = is_simple(bytes);
        let text = if simple {
            ""
        } else {
            std::str::from_utf8(bytes).map_err(|error| Malformed {
                at: error.valid_up_to(),
                what: "bytes that are not UTF-8",
            })?
        };
        let mut cursor = Cursor {
            text,
            bytes,
            at: 0,
            simple,
        };
        cursor.literal("{\"v\":1,\"seq\":", "expected a record of version 1")?;
        let seq = cursor.number()?;
        cursor.literal(",\"time\":\"", "expected `time`")?;
        let time = cursor.time()?;
        cursor.literal("\",\"boot_id\":\"", "expected `boot_id`")?;
        cursor.boot_id()?;
        cursor.literal("\",\"mono_ns\":", "expected `mono_ns`")?;
        cursor.number()?;
        cursor.literal(",\"phase\":", "expected `phase`")?;
        let phase = cursor.phase()?;
        let fields = cursor.fields(phase)?;
        cursor.literal(",\"prev\":\"", "expected `prev`")?;
        let prev = cursor.hex(64)?;
        cursor.literal("\"}", "expected the end of the record")?;
        if cursor.at != bytes.len() {
            return Err(cursor.refuse("bytes behind the record"));
        }
        Ok(Self {
            seq,
            time,
            phase,
            prev,
            fields,
        })
    }
}

struct Cursor<'a> {
    /// The line once more, for characters beyond ASCII; empty where it is simple and has none.
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    simple: bool,
}

impl<'a> Cursor<'a> {
    fn refuse(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next four bytes, which tell most fields apart.
    fn head(&self) -> [u8; 4] {
        self.rest().first_chunk().copied().unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    fn accept(&mut self, literal: &str) -> bool {
        let found = self.rest().starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    fn literal(&mut self, literal: &str, what: &'static str) -> Result<(), Malformed> {
        if self.accept(literal) {
            Ok(())
        } else {
            Err(self.refuse(what))
        }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let taken = self
            .bytes
            .get(self.at..self.at + length)
            .ok_or(self.refuse(what))?;
        self.at += length;
        Ok(taken)
    }

    /// The fields between `phase` and `prev`, those and only those that the phase has.
    fn fields(&mut self, phase: Phase) -> Result<[&'a [u8]; Field::COUNT], Malformed> {
        let mut fields: [&[u8]; Field::COUNT] = [&[]; Field::COUNT];
        let mut present = 0_u32;
        let mut head = self.head();
        for (field, slot) in Field::ALL.into_iter().zip(&mut fields) {
            if field.prefix().as_bytes().first_chunk() == Some(&head) && self.accept(field.prefix())
            {
                let start = self.at;
                self.value_of(field)?;
                *slot = self.since(start);
                present |= field.bit();
                head = self.head();
            }
        }
        let (required, allowed) = phase.fields();
        if required & !present != 0 {
            return Err(self.refuse("a field that this phase requires is missing or out of order"));
        }
        if present & !allowed != 0 {
            return Err(self.refuse("a field that this phase does not have"));
        }
        let denied = fields.get(Field::Decision as usize) == Some(&&b"\"deny\""[..]);
        if denied && present & Field::Reason.bit() == 0 {
            return Err(self.refuse("a denial without `reason`"));
        }
        Ok(fields)
    }

    fn value_of(&mut self, field: Field) -> Result<(), Malformed> {
        match field {
            Field::Id => {
                self.literal("\"", "expected an id")?;
                let id = self.take(ID_LENGTH, "expected an id")?;
                if !is_id(id) {
                    return Err(self.refuse("an id with a character that ids do not have"));
                }
                self.literal("\"", "expected the end of an id")
            }
            Field::Peer => {
                self.literal("{\"uid\":", "expected `uid`")?;
                self.number()?;
                self.literal(",\"pid\":", "expected `pid`")?;
                self.number()?;
                self.literal("}", "expected the end of `peer`")
            }
            Field::Decision => {
                if self.accept("\"allow\"") || self.accept("\"deny\"") {
                    Ok(())
                } else {
                    Err(self.refuse("a decision other than allow and deny"))
                }
            }
            Field::Target => self.target(),
            Field::Detail => {
                if self.peek() == Some(b'{') {
                    self.value(1)
                } else {
                    Err(self.refuse("a detail that is no object"))
                }
            }
            _ => self.string().map(|_| ()),
        }
    }

    /// Text, base64, or either of them cut.
    fn target(&mut self) -> Result<(), Malformed> {
        if self.accept("{\"truncated\":") {
            self.string()?;
            return self.whole();
        }
        if !self.accept("{\"base64\":") {
            return self.string().map(|_| ());
        }
        let spelled = self.string()?;
        if STANDARD.decode(unquoted(spelled)).is_err() {
            return Err(self.refuse("base64 that does not decode"));
        }
        if self.accept("}") {
            return Ok(());
        }
        self.whole()
    }

    fn whole(&mut self) -> Result<(), Malformed> {
        self.literal(",\"bytes\":", "expected `bytes`")?;
        self.number()?;
        self.literal(",\"sha256\":\"", "expected `sha256`")?;
        self.hex(64)?;
        self.literal("\"}", "expected the end of `target`")
    }

    fn phase(&mut self) -> Result<Phase, Malformed> {
        let spelled = self.string()?;
        Phase::ALL
            .into_iter()
            .find(|phase| unquoted(spelled) == phase.name().as_bytes())
            .ok_or(self.refuse("an unknown phase"))
    }

    fn time(&mut self) -> Result<&'a [u8], Malformed> {
        const SHAPE: &[u8; TIME_LENGTH] = b"0000-00-00T00:00:00.000000Z";
        let time = self.take(TIME_LENGTH, "expected a time")?;
        if is_shaped(time, SHAPE, |byte| byte.wrapping_sub(b'0') < 10) {
            Ok(time)
        } else {
            Err(self.refuse("a time that is not spelled as times are"))
        }
    }

    fn boot_id(&mut self) -> Result<(), Malformed> {
        let id = self.take(BOOT_ID_SHAPE.len(), "expected a boot id")?;
        if is_shaped(id, BOOT_ID_SHAPE, |byte| is_hex(&[byte])) {
            Ok(())
        } else {
            Err(self.refuse("a boot id that is not spelled as boot ids are"))
        }
    }

    fn hex(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let hex = self.take(length, "expected a hash")?;
        if is_hex(hex) {
            Ok(hex)
        } else {
            Err(self.refuse("a hash that is not lower-case hex"))
        }
    }

    /// A number from 0 up; beyond 2^53 it must be a string, below it must not.
    fn number(&mut self) -> Result<u64, Malformed> {
        let quoted = self.accept("\"");
        let number = self.digits()?;
        if quoted {
            self.literal("\"", "expected the end of a number")?;
        }
        if quoted == (number > MAX_NUMBER) {
            Ok(number)
        } else {
            Err(self.refuse("a number in the wrong spelling"))
        }
    }

    fn digits(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let mut number = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                .ok_or(self.refuse("a number that is too large"))?;
            self.at += 1;
        }
        match self.since(start) {
            [] => Err(self.refuse("expected a number")),
            [b'0', _, ..] => Err(self.refuse("a number with a leading zero")),
            _ => Ok(number),
        }
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        self.literal("\"", "expected a string")?;
        if self.simple {
            let length = find_byte(self.rest(), b'"');
            self.at += 1 + length.ok_or(self.refuse("a string without an end"))?;
            return Ok(self.since(start));
        }
        loop {
            self.at += plain_prefix(self.rest());
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(self.since(start));
            }
            let special = self
                .text
                .get(self.at..)
                .and_then(|text| text.chars().next());
            match special {
                Some('\\') => self.escape()?,
                Some(c) if !must_escape(c) => self.at += c.len_utf8(),
                Some(_) => return Err(self.refuse("a character that must be escaped")),
                None => return Err(self.refuse("a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        if self.accept("\\\"") || self.accept("\\\\") {
            return Ok(());
        }
        self.literal("\\u", "an escape that is never written")?;
        let mut code = 0;
        for byte in self.take(4, "expected four digits")? {
            let digit = digit(*byte).ok_or(self.refuse("an escape that is not lower-case hex"))?;
            code = code << 4 | u32::from(digit);
        }
        match char::from_u32(code) {
            Some(c) if must_escape(c) => Ok(()),
            _ => Err(self.refuse("an escape where none is needed")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') if depth > MAX_DEPTH => Err(self.refuse("a value nested too deep")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-') => {
                self.at += 1;
                match self.digits()? {
                    1..=MAX_NUMBER => Ok(()),
                    _ => Err(self.refuse("a number in the wrong spelling")),
                }
            }
            Some(b'0'..=b'9') => match self.digits()? {
                0..=MAX_NUMBER => Ok(()),
                _ => Err(self.refuse("a number in the wrong spelling")),
            },
            _ if self.accept("true") || self.accept("false") || self.accept("null") => Ok(()),
            _ => Err(self.refuse("expected a value")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Malformed> {
        self.at += 1;
        if self.accept("]") {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.accept("]") {
                return Ok(());
            }
            self.literal(",", "expected a comma")?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Malformed> {
        self.at += 1;
        let mut keys = Keys::default();
        if self.accept("}") {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            if !keys.insert(key) {
                return Err(self.refuse("a key that occurs twice"));
            }
            self.literal(":", "expected a colon")?;
            self.value(depth + 1)?;
            if self.accept("}") {
                return Ok(());
            }
            self.literal(",", "expected a comma")?;
        }
    }
}
