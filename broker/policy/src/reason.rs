//! Why a request was refused, as a closed set of codes.

use crate::spelling::SpellingError;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The code of a refusal, the same in replies, the audit log, metrics and documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The component has no grant, or its grant does not name this permission.
    NoGrant = "no_grant",
    /// The grant names the permission and has it switched off.
    Disabled = "disabled",
    /// The grant begins later.
    NotYetValid = "not_yet_valid",
    /// The grant has ended.
    Expired = "expired",
    /// The grant was used as often as it may be.
    Exhausted = "exhausted",
    /// The grant was used as often as it may be within a minute, or its uses cannot be counted.
    RateLimited = "rate_limited",
    /// The path is not below a granted directory, or the file is also known by a name elsewhere.
    OutsideDirectory = "outside_directory",
    /// The path is below a granted directory, but its patterns leave it out.
    PatternExcluded = "pattern_excluded",
    /// What was found there is not of the kind that was asked for.
    NotAFile = "not_a_file",
    /// More bytes than the grant allows.
    TooLarge = "too_large",
    KeyNotAllowed = "key_not_allowed",
    CommandNotAllowed = "command_not_allowed",
    DomainNotAllowed = "domain_not_allowed",
    PortNotAllowed = "port_not_allowed",
    MethodNotAllowed = "method_not_allowed",
    PathNotAllowed = "path_not_allowed",
    SniMismatch = "sni_mismatch",
    /// A name resolved to an address that is never dialled.
    BlockedAddress = "blocked_address",
    BadRequest = "bad_request",
    /// A scope, or the broker itself, forbids this whatever a grant says.
    ForbiddenByScope = "forbidden_by_scope",
    /// The grant would allow it, but a scope's ceiling is lower.
    ScopeLimit = "scope_limit",
    Quota = "quota",
    Revoked = "revoked",
    NotApproved = "not_approved",
    ApprovalRefused = "approval_refused",
    ApprovalTimeout = "approval_timeout",
    GrantInvalid = "grant_invalid",
    ScopeInvalid = "scope_invalid",
    UnknownComponent = "unknown_component",
    AuditUnavailable = "audit_unavailable",
    /// A terminal's directory belongs to root, and commands run as their directory's owner.
    RootOwned = "root_owned",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| SpellingError::new("a reason code", text, "there is no such code"))
    }
}
