//! The shape of a line: which fields there are, in which order, and which phase has which.

use serde_json::Value;

use crate::json::{hex, push_detail, push_foreign, push_nested, push_number, push_short};
use crate::record::{Admin, Decision, Outcome, Peer, PolicyChange, RecordId};
use crate::tree::Hash;

/// Longest line, newline included.
pub(crate) const LINE_LIMIT: usize = 64 << 10;

/// Limits of the parts, as spelled; together they stay below the limit of the line.
const SHORT_LIMIT: usize = 1 << 10;
const TARGET_LIMIT: usize = 16 << 10;
const DETAIL_LIMIT: usize = 32 << 10;

/// Problems of a policy that one record lists; the rest is only counted.
const PROBLEMS_LISTED: usize = 64;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Decision,
    Outcome,
    Admin,
    Policy,
    Recovered,
    Key,
}

impl Phase {
    pub(crate) const ALL: [Self; 6] = [
        Self::Decision,
        Self::Outcome,
        Self::Admin,
        Self::Policy,
        Self::Recovered,
        Self::Key,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Admin => "admin",
            Self::Policy => "policy",
            Self::Recovered => "recovered",
            Self::Key => "key",
        }
    }

    /// Bits of the fields that the phase requires, and of those that it allows.
    pub(crate) fn fields(self) -> (u32, u32) {
        const ID: u32 = Field::Id.bit();
        const CALLER: u32 = Field::Pack.bit() | Field::Component.bit();
        const ASKED: u32 = Field::Permission.bit() | Field::Action.bit();
        const DETAIL: u32 = Field::Detail.bit();
        const REASON: u32 = Field::Reason.bit();
        const ACT: u32 = ID | Field::Peer.bit() | Field::Action.bit() | Field::Target.bit();
        const DECISION: u32 = ACT | CALLER | ASKED | Field::Decision.bit() | Field::Policy.bit();
        const BESIDE: u32 = Field::Container.bit() | Field::Invocation.bit() | Field::Grant.bit();
        match self {
            Self::Decision => (DECISION, DECISION | BESIDE | REASON | DETAIL),
            Self::Outcome => {
                let required = ID | CALLER | ASKED | REASON;
                (required, required | DETAIL)
            }
            Self::Admin => (ACT, ACT | CALLER | REASON | DETAIL),
            Self::Policy => {
                let required = ID | Field::Policy.bit() | DETAIL;
                (required, required)
            }
            Self::Recovered | Self::Key => (ID | DETAIL, ID | DETAIL),
        }
    }
}

/// The fields between `phase` and `prev`, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    Pack,
    Component,
    Container,
    Peer,
    Invocation,
    Permission,
    Action,
    Target,
    Decision,
    Reason,
    Grant,
    Policy,
    Detail,
}

impl Field {
    pub(crate) const COUNT: usize = 14;

    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Id,
        Self::Pack,
        Self::Component,
        Self::Container,
        Self::Peer,
        Self::Invocation,
        Self::Permission,
        Self::Action,
        Self::Target,
        Self::Decision,
        Self::Reason,
        Self::Grant,
        Self::Policy,
        Self::Detail,
    ];

    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// What stands before the value.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Id => ",\"id\":",
            Self::Pack => ",\"pack\":",
            Self::Component => ",\"component\":",
            Self::Container => ",\"container\":",
            Self::Peer => ",\"peer\":",
            Self::Invocation => ",\"invocation\":",
            Self::Permission => ",\"permission\":",
            Self::Action => ",\"action\":",
            Self::Target => ",\"target\":",
            Self::Decision => ",\"decision\":",
            Self::Reason => ",\"reason\":",
            Self::Grant => ",\"grant\":",
            Self::Policy => ",\"policy\":",
            Self::Detail => ",\"detail\":",
        }
    }
}

/// The fields of a record between `phase` and `prev`, spelled. Built before the log is locked.
#[derive(Debug, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    fn with_id(id: RecordId) -> Self {
        let mut body = Self(Vec::with_capacity(768));
        body.text(Field::Id, id.as_str());
        body
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn begin(&mut self, field: Field) {
        self.0.extend_from_slice(field.prefix().as_bytes());
    }

    fn text(&mut self, field: Field, text: &str) {
        self.begin(field);
        push_short(&mut self.0, text, SHORT_LIMIT);
    }

    fn maybe(&mut self, field: Field, text: Option<&str>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn peer(&mut self, peer: Peer) {
        self.begin(Field::Peer);
        self.0.extend_from_slice(b"{\"uid\":");
        push_number(&mut self.0, u64::from(peer.uid));
        self.0.extend_from_slice(b",\"pid\":");
        push_number(&mut self.0, u64::from(peer.pid));
        self.0.push(b'}');
    }

    fn target(&mut self, target: &[u8]) {
        self.begin(Field::Target);
        push_foreign(&mut self.0, target, TARGET_LIMIT);
    }

    fn detail(&mut self, detail: Option<&Value>) {
        if let Some(detail) = detail {
            self.begin(Field::Detail);
            push_detail(&mut self.0, detail, DETAIL_LIMIT);
        }
    }

    pub(crate) fn admin(id: RecordId, admin: &Admin<'_>) -> Self {
        let mut body = Self::with_id(id);
        body.maybe(Field::Pack, admin.pack);
        body.maybe(Field::Component, admin.component);
        body.peer(admin.actor);
        body.text(Field::Action, admin.action);
        body.target(admin.target);
        body.maybe(Field::Reason, admin.reason);
        body.detail(admin.detail);
        body
    }

    pub(crate) fn policy(id: RecordId, change: &PolicyChange<'_>) -> Self {
        let mut body = Self::with_id(id);
        body.text(Field::Policy, change.hash);
        let listed: Vec<&String> = change.problems.iter().take(PROBLEMS_LISTED).collect();
        let detail = serde_json::json!({
            "files": change.files,
            "problem_count": change.problems.len(),
            "problems": listed,
        });
        body.detail(Some(&detail));
        body
    }

    /// A record of the log about itself.
    pub(crate) fn own(id: RecordId, detail: &Value) -> Self {
        let mut body = Self::with_id(id);
        body.detail(Some(detail));
        body
    }
}

/// The spelled parts of a decision that later records of the same id repeat.
#[derive(Debug)]
pub(crate) struct Decided {
    bytes: Vec<u8>,
    caller_end: usize,
    asked_start: usize,
    asked_end: usize,
    target_end: usize,
    basis_start: usize,
    basis_end: usize,
}

impl Decided {
    /// Spells a decision; the verdict is `allow` where no reason against it is given.
    pub(crate) fn new(id: RecordId, decision: &Decision<'_>, reason: Option<&str>) -> Self {
        let mut body = Body::with_id(id);
        body.text(Field::Pack, decision.pack);
        body.text(Field::Component, decision.component);
        let caller_end = body.0.len();
        body.maybe(Field::Container, decision.container);
        body.peer(decision.peer);
        body.maybe(Field::Invocation, decision.invocation);
        let asked_start = body.0.len();
        body.text(Field::Permission, decision.permission);
        body.text(Field::Action, decision.action);
        let asked_end = body.0.len();
        body.target(decision.target);
        let target_end = body.0.len();
        body.text(
            Field::Decision,
            if reason.is_some() { "deny" } else { "allow" },
        );
        body.maybe(Field::Reason, reason);
        let basis_start = body.0.len();
        body.maybe(Field::Grant, decision.grant);
        body.text(Field::Policy, decision.policy);
        let basis_end = body.0.len();
        body.detail(decision.detail);
        Self {
            bytes: body.0,
            caller_end,
            asked_start,
            asked_end,
            target_end,
            basis_start,
            basis_end,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lets go of what no later record repeats.
    pub(crate) fn forget_detail(&mut self) {
        self.bytes.truncate(self.basis_end);
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The outcome of this decision.
    pub(crate) fn outcome(&self, reason: &str, outcome: &Outcome<'_>) -> Body {
        let mut body = Body(Vec::with_capacity(320));
        body.0.extend_from_slice(self.part(0, self.caller_end));
        body.0
            .extend_from_slice(self.part(self.asked_start, self.asked_end));
        body.text(Field::Reason, reason);
        body.begin(Field::Detail);
        body.0.extend_from_slice(b"{\"bytes_in\":");
        push_number(&mut body.0, outcome.bytes_in);
        body.0.extend_from_slice(b",\"bytes_out\":");
        push_number(&mut body.0, outcome.bytes_out);
        if let Some(more) = outcome.detail {
            body.0.extend_from_slice(b",\"more\":");
            push_nested(&mut body.0, more, DETAIL_LIMIT);
        }
        body.0.push(b'}');
        body
    }

    /// The denial that takes this decision back.
    pub(crate) fn denial(&self, reason: &str, sentence: &str) -> Body {
        let mut body = Body(Vec::with_capacity(self.bytes.len() + 256));
        body.0.extend_from_slice(self.part(0, self.target_end));
        body.text(Field::Decision, "deny");
        body.text(Field::Reason, reason);
        body.0
            .extend_from_slice(self.part(self.basis_start, self.basis_end));
        body.begin(Field::Detail);
        body.0.extend_from_slice(b"{\"sentence\":");
        push_short(&mut body.0, sentence, SHORT_LIMIT);
        body.0.push(b'}');
        body
    }
}

/// Where and when a record stands.
#[derive(Debug)]
pub(crate) struct Stamp<'a> {
    pub(crate) seq: u64,
    pub(crate) time: &'a [u8],
    pub(crate) boot_id: &'a str,
    pub(crate) mono_ns: u64,
    pub(crate) prev: &'a Hash,
}

/// Spells a whole line with its newline, behind the byte 0x00 that its hash begins with.
pub(crate) fn compose(out: &mut Vec<u8>, stamp: &Stamp<'_>, phase: Phase, body: &[u8]) {
    out.clear();
    out.extend_from_slice(b"\0{\"v\":1,\"seq\":");
    push_number(out, stamp.seq);
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(stamp.time);
    out.extend_from_slice(b"\",\"boot_id\":\"");
    out.extend_from_slice(stamp.boot_id.as_bytes());
    out.extend_from_slice(b"\",\"mono_ns\":");
    push_number(out, stamp.mono_ns);
    out.extend_from_slice(b",\"phase\":\"");
    out.extend_from_slice(phase.name().as_bytes());
    out.push(b'"');
    out.extend_from_slice(body);
    out.extend_from_slice(b",\"prev\":\"");
    out.extend_from_slice(&hex(stamp.prev));
    out.extend_from_slice(b"\"}\n");
}
