//! A value from standard input: piped as it is, typed without being shown.

use std::io::{self, IsTerminal as _, Read, Write as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::{context::Context, failure::Failure};

/// Largest value, in bytes, as the broker takes it.
const MAX_VALUE: usize = 64 * 1024;

/// Reads the value and checks what can be checked here.
pub(super) fn read(
    context: &Context,
    name: &str,
    exact: bool,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let stdin = io::stdin();
    let value = if stdin.is_terminal() {
        typed(name)?
    } else {
        let mut value = all(&mut stdin.lock())?;
        if !exact {
            leave_line_end(&mut value);
        }
        value
    };
    if value.len() > MAX_VALUE {
        return Err(too_long());
    }
    if std::str::from_utf8(&value).is_err() || value.contains(&0) {
        return Err(Failure::Usage {
            message: "the value is not text: it is not UTF-8, or holds a NUL".to_owned(),
            hint: format!("encode it: base64 -w0 FILE | packctl secret set {name}"),
        });
    }
    if value.is_empty() {
        return Err(Failure::Usage {
            message: "the value is empty".to_owned(),
            hint: format!("give one: packctl secret set {name} < FILE"),
        });
    }
    if value.iter().any(|byte| byte.is_ascii_control()) {
        context.console.warning(
            "the value holds a line end or another control character, and cannot stand in a header",
        );
    }
    Ok(value)
}

/// The whole input, in a buffer that never grows: one that does leaves copies behind.
fn all(from: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // A line end may come on top.
    let mut buffer = Zeroizing::new(vec![0; MAX_VALUE + 3]);
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::files("read", "standard input")(error)),
        }
    }
    buffer.truncate(length);
    Ok(buffer)
}

fn too_long() -> Failure {
    Failure::Usage {
        message: format!("the value is longer than {MAX_VALUE} bytes"),
        hint: "keep it in a file and grant file_read".to_owned(),
    }
}

/// What `echo` and editors add is hardly ever meant.
fn leave_line_end(value: &mut Zeroizing<Vec<u8>>) {
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
}

/// One line from the terminal. Read key by key: the kernel would cut a line at 4,095 bytes, and an
/// interrupt would leave the terminal without echo.
fn typed(name: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut screen = io::stderr().lock();
    let said = write!(screen, "value of `{name}` (not shown): ").and_then(|()| screen.flush());
    said.map_err(Failure::files("write to", "standard error"))?;
    let silent = Silence::begin()?;
    let read = line(&mut io::stdin().lock());
    drop(silent);
    writeln!(screen).unwrap_or_default();
    read
}

fn line(from: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_VALUE + 1));
    let mut key = Zeroizing::new([0_u8; 1]);
    loop {
        match from.read(key.as_mut_slice()) {
            Ok(0) => return Ok(value),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::files("read", "the terminal")(error)),
        }
        let [byte] = *key;
        match byte {
            b'\r' | b'\n' | 0x04 => return Ok(value),
            0x03 | 0x1c => {
                return Err(Failure::Failed {
                    message: "interrupted; nothing was changed".to_owned(),
                    hint: String::new(),
                });
            }
            0x08 | 0x7f => rub_out(&mut value),
            // Erases the line, as a terminal does.
            0x15 => value.clear(),
            _ if value.len() >= MAX_VALUE => return Err(too_long()),
            _ => value.push(byte),
        }
    }
}

/// Takes the last character away, whose bytes after the first all begin with `10`.
fn rub_out(value: &mut Vec<u8>) {
    while let Some(byte) = value.pop() {
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

/// No echo, no lines, no signals from keys, until it is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self, Failure> {
        let refused = |error: rustix::io::Errno| {
            Failure::files("switch off the echo of", "the terminal")(error.into())
        };
        let before = tcgetattr(io::stdin()).map_err(refused)?;
        let mut silent = before.clone();
        silent.local_modes.remove(
            LocalModes::ECHO
                | LocalModes::ECHONL
                | LocalModes::ICANON
                | LocalModes::ISIG
                | LocalModes::IEXTEN,
        );
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &silent).map_err(refused)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_left_out() {
        for (piped, value) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
            ("", ""),
        ] {
            let mut read = all(&mut piped.as_bytes()).unwrap();
            leave_line_end(&mut read);
            assert_eq!(*read, value.as_bytes(), "{piped:?}");
        }
    }

    #[test]
    fn keys_become_a_line() {
        for (keys, value) in [
            ("abc\rrest", Some("abc")),
            ("abc\n", Some("abc")),
            ("abd\x7fc\r", Some("abc")),
            ("aö\x08\x08\x08b\r", Some("b")),
            ("wrong\x15right\r", Some("right")),
            ("abc\x04", Some("abc")),
            ("abc\x03", None),
        ] {
            let read = line(&mut keys.as_bytes()).ok();
            let read = read.map(|read| String::from_utf8(read.to_vec()).unwrap());
            assert_eq!(read.as_deref(), value, "{keys:?}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        for length in [MAX_VALUE + 1, MAX_VALUE + 3, MAX_VALUE * 2] {
            let typed = vec![b'x'; length];
            assert!(line(&mut typed.as_slice()).is_err());
        }
        let piped = all(&mut vec![b'x'; MAX_VALUE * 2].as_slice()).unwrap();
        assert!(
            piped.len() > MAX_VALUE,
            "what is cut must be seen to be too long"
        );
    }
}
