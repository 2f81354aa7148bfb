//! What may be asked, and by whom.
//!
//! This crate is pure: it reads no file, opens no socket and knows no clock. It turns the
//! admin's files into a [`PolicySet`] and answers requests against it. An answer is a
//! [`Permit`], which nothing outside this crate can make, or a [`Denial`].

pub mod addresses;
pub mod calendar;
mod capability;
mod compile;
mod conditions;
mod denial;
pub mod edit;
mod exact;
mod grant;
mod handler;
mod host;
mod id_hasher;
mod ids;
mod json;
pub mod manifest;
mod method;
mod path;
mod path_glob;
mod pattern;
mod permission;
mod problem;
mod quota;
mod reason;
mod rules;
mod scope;
mod set;
mod spelling;
mod stamp;
mod template;
mod timestamp;
mod url;
mod uses;

pub use addresses::Cidr;
pub use capability::custom::{Custom, CustomAsk, CustomFound, CustomTerms, HandlerState};
pub use capability::env_read::{EnvFound, EnvRead, EnvReadAsk, EnvTerms};
pub use capability::file_read::{
    Children, FileRead, FileReadAction, FileReadAsk, FileReadFacts, FileReadFound, FileTerms,
};
pub use capability::file_write::{
    Existing, FileWrite, FileWriteAction, FileWriteAsk, FileWriteFacts, FileWriteFound,
    FileWriteTerms, RenameFound,
};
pub use capability::network::destination::{Destination, NetworkFound};
pub use capability::network::resolve::{Resolve, ResolveAsk, ResolveTerms};
pub use capability::network::tunnel::{
    Hello, Tunnel, TunnelAsk, TunnelForm, TunnelFound, TunnelTerms,
};
pub use capability::network::{Network, NetworkAsk, NetworkTerms};
pub use capability::terminal::{
    Terminal, TerminalAsk, TerminalFacts, TerminalFound, TerminalTerms,
};
pub use capability::{Capability, Confirmed, FileKind, Permit, decide};
pub use conditions::Conditions;
pub use denial::{Denial, Remedy};
pub use exact::ExactRequest;
pub use grant::{
    AllowedCommand, Command, CustomGrant, DomainEntry, EnvGrant, FileGrant, Grant, Inject,
    InjectHost, InjectedHeader, NetworkGrant, Permissions, TcpEntry, TerminalGrant, TerminalMode,
};
pub use handler::{HandlerMeta, MAX_META_BYTES, MetaError, Mode};
pub use host::{Domain, Host, Port, Scheme};
pub use ids::{ComponentId, EnvKey, HandlerName, Kind, PackId};
pub use method::HttpMethod;
pub use path::{AbsPath, RelPath};
pub use path_glob::PathGlob;
pub use pattern::Pattern;
pub use permission::{Permission, PermissionName};
pub use problem::Problem;
pub use quota::{Quota, Usage};
pub use reason::Reason;
pub use scope::Scope;
pub use scope::custom::CustomScope;
pub use set::{MAX_FILE_BYTES, PolicySet, PolicySource, SourceFile};
pub use spelling::SpellingError;
pub use stamp::{PolicyHash, UnixMillis};
pub use template::Template;
pub use timestamp::Timestamp;
pub use uses::Uses;
