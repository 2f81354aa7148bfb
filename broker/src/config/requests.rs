//! What a pack may have of the broker at once.

use serde::Deserialize;

use super::values::{
    ByteSize, Channels, CommandsAtOnce, Connections, Effects, RequestsAtOnce, Terminals,
};

/// Shared by all components of a pack. Each keeps a part that the others cannot take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestSettings {
    /// Connections to the pack's sockets; further ones are closed.
    pub connections: Connections,
    /// How many of them may speak HTTP/2.
    pub channels: Channels,
    /// Requests that are read, answered or sent; further ones wait.
    pub in_flight: RequestsAtOnce,
    /// Bytes of large messages that are held, half for those that come and half for those that go.
    pub bytes_in_flight: ByteSize,
    /// Writes, fetches and calls of handlers under way, whether or not anybody waits for them still.
    pub effects: Effects,
    /// Terminal commands under way; each has a container.
    pub commands: CommandsAtOnce,
    /// Terminals that are open, those that wait for their command's turn included.
    pub terminals: Terminals,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            connections: Connections::new(256),
            channels: Channels::new(16),
            in_flight: RequestsAtOnce::new(64),
            bytes_in_flight: ByteSize::mebibytes(128),
            effects: Effects::new(32),
            commands: CommandsAtOnce::new(4),
            terminals: Terminals::new(32),
        }
    }
}
