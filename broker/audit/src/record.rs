//! What callers hand in: borrowed descriptions of one record each.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// The process that asked, as the kernel reported it at accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User id on the host.
    pub uid: u32,
    /// Process id on the host; 0 where the kernel did not say.
    pub pid: u32,
}

/// A request that was judged. The verdict is not a field: [`crate::Log::record`] writes `allow`,
/// [`crate::Log::record_denial`] writes `deny`, so that no permit is ever bound to a denial.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Pack of the caller.
    pub pack: &'a str,
    /// Component of the caller, `pack:kind:name`.
    pub component: &'a str,
    /// Container the caller's socket belongs to.
    pub container: Option<&'a str>,
    /// The connected process.
    pub peer: Peer,
    /// The tool call on whose behalf it asks.
    pub invocation: Option<&'a str>,
    /// `file_read`, `network`, ...
    pub permission: &'a str,
    /// What of the permission: `read`, `list`, `GET`, ...
    pub action: &'a str,
    /// Path, host or command. Any bytes: what is not UTF-8 is written as base64.
    pub target: &'a [u8],
    /// File name of the grant that the decision rests on.
    pub grant: Option<&'a str>,
    /// Hex hash of the policy that decided.
    pub policy: &'a str,
    /// Further facts; must be an object. Secrets only as [`crate::Log::fingerprint`].
    pub detail: Option<&'a Value>,
}

/// How an allowed request ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome<'a> {
    /// Whether the effect took place completely.
    pub ok: bool,
    /// Code of the failure (`not_found`, `timeout`, ...); `failed` is written where none is given.
    pub error: Option<&'a str>,
    /// Bytes that the caller sent for the effect.
    pub bytes_in: u64,
    /// Bytes that the caller got.
    pub bytes_out: u64,
    /// Further facts.
    pub detail: Option<&'a Value>,
}

impl Outcome<'_> {
    /// A complete effect that moved so many bytes.
    #[must_use]
    pub fn success(bytes_in: u64, bytes_out: u64) -> Self {
        Self {
            ok: true,
            bytes_in,
            bytes_out,
            ..Self::default()
        }
    }
}

impl<'a> Outcome<'a> {
    /// An effect that failed with this code.
    #[must_use]
    pub fn failure(error: &'a str) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

/// Something an administrator, or the broker itself, did.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    /// Who did it: the peer of the control socket.
    pub actor: Peer,
    /// What was done: `pack_up`, `broker_start`, ...
    pub action: &'a str,
    /// To what. Any bytes.
    pub target: &'a [u8],
    /// The pack concerned.
    pub pack: Option<&'a str>,
    /// The component concerned.
    pub component: Option<&'a str>,
    /// A result or error code.
    pub reason: Option<&'a str>,
    /// Further facts; must be an object.
    pub detail: Option<&'a Value>,
}

/// A policy that came into force.
#[derive(Debug, Clone, Copy)]
pub struct PolicyChange<'a> {
    /// Hex hash of the policy.
    pub hash: &'a str,
    /// Number of files it was read from.
    pub files: usize,
    /// Files that were refused, one sentence each.
    pub problems: &'a [String],
}

/// Characters of an id; without the ones that people confuse.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of a spelled id.
pub(crate) const ID_LENGTH: usize = 16;

/// Name of a decision and of everything that follows from it. Random, so that a pack which is shown
/// its own ids learns nothing about how much others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId([u8; ID_LENGTH]);

impl RecordId {
    /// Spells ten random bytes.
    pub(crate) fn from_random(bytes: [u8; 10]) -> Self {
        let mut bits = bytes
            .iter()
            .fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let mut spelled = [0_u8; ID_LENGTH];
        for slot in spelled.iter_mut().rev() {
            let digit = usize::try_from(bits & 31).unwrap_or_default();
            *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        Self(spelled)
    }

    /// The id as it stands in the log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no record id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a record id: an id is 16 characters of 0-9 and a-z without i, l, o, u")]
pub struct InvalidRecordId(String);

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidRecordId(text.chars().take(64).collect());
        let bytes: [u8; ID_LENGTH] = text.as_bytes().try_into().map_err(|_| refuse())?;
        if is_id(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(refuse())
        }
    }
}

/// Whether bytes spell an id. Without branches: ids are random, and guessing their characters costs more
/// than looking at all of them.
pub(crate) fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == ID_LENGTH
        && bytes.iter().fold(true, |ok, byte| {
            let digit = byte.wrapping_sub(b'0') < 10;
            let letter = byte.wrapping_sub(b'a') < 26;
            let confused = (*byte == b'i') | (*byte == b'l') | (*byte == b'o') | (*byte == b'u');
            ok & (digit | (letter & !confused))
        })
}
