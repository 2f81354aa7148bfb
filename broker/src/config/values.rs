//! Values that settings consist of, each of which only exists within its bounds.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A whole number that only exists within the bounds the schema names.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($repr:ty), $low:literal ..= $high:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name($repr);

        impl $name {
            pub(super) const fn new(number: $repr) -> Self {
                Self(number)
            }
            /// The number.
            #[must_use]
            pub fn get(self) -> $repr {
                self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$repr>::deserialize(deserializer)?;
                if ($low..=$high).contains(&number) {
                    return Ok(Self(number));
                }
                Err(D::Error::custom(format_args!(
                    "`{number}` is out of range; {} lies between {} and {}", $what, $low, $high
                )))
            }
        }
    };
}

bounded!(
    /// Processes and threads that may exist at once.
    Pids(u32), 8..=32_768, "a number of processes"
);
bounded!(
    /// MiB of memory of one call.
    MemoryMb(u64), 16..=65_536, "memory_mb"
);
bounded!(
    /// Interpreters that wait ready.
    Spares(u8), 0..=4, "a number of spares"
);
bounded!(
    /// Containers started at the same time.
    Concurrency(u16), 1..=64, "the concurrency"
);
bounded!(
    /// Connections to a pack's sockets.
    Connections(u16), 16..=65_535, "a number of connections"
);
bounded!(
    /// Connections that speak HTTP/2.
    Channels(u16), 1..=1024, "a number of channels"
);
bounded!(
    /// Requests of a pack that are read, answered or sent.
    RequestsAtOnce(u16), 1..=4096, "a number of requests"
);
bounded!(
    /// Effects of a pack under way.
    Effects(u16), 1..=4096, "a number of effects"
);
bounded!(
    /// Commands of a pack under way.
    CommandsAtOnce(u16), 1..=1024, "a number of commands"
);
bounded!(
    /// Terminals of a pack that are open.
    Terminals(u16), 1..=4096, "a number of terminals"
);
bounded!(
    /// What a pack may have open to the network.
    Tunnels(u16), 1..=4096, "the number of tunnels"
);
bounded!(
    /// Requests of a component that wait for the admin at once. Each is a request in flight.
    WaitingRequests(u16), 1..=32, "the number of waiting requests"
);
bounded!(
    /// Questions that a component may have put before the admin within a minute.
    Questions(u16), 1..=1000, "the number of questions a minute"
);
bounded!(
    /// Seconds that ad-hoc code may run.
    CodeSeconds(u32), 1..=300, "a time in seconds"
);
bounded!(
    /// MB of memory of ad-hoc code.
    CodeMemory(u32), 16..=1024, "the memory of ad-hoc code in MB"
);
bounded!(
    /// Characters of ad-hoc code.
    CodeLength(u32), 100..=200_000, "the length of ad-hoc code in characters"
);
bounded!(
    /// Containers that wait for ad-hoc code.
    ReadyContainers(u8), 0..=32, "the number of ready containers"
);
bounded!(
    /// Runs of ad-hoc code at once.
    Runs(u8), 1..=64, "the number of runs at once"
);
bounded!(
    /// A span of time.
    Millis(u64), 1..=86_400_000, "a time in milliseconds"
);

impl Millis {
    /// As the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A size in bytes, written as a whole number and k, m or g.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    pub(super) const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
    fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let shift = match unit {
            'k' => 10,
            'm' => 20,
            'g' => 30,
            _ => return None,
        };
        let digits = text.strip_suffix(unit)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || digits.len() > 6 || digits.starts_with('0') {
            return None;
        }
        digits.parse::<u64>().ok().map(|count| Self(count << shift))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a size; write a whole number and k, m or g, such as \"256m\""
            ))
        })
    }
}

/// Processors' worth of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus {
    nanos: i64,
}

impl Cpus {
    pub(super) const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }
    /// In billionths of a processor, which is how engines count.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.nanos
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if !(0.01..=1024.0).contains(&number) {
            return Err(D::Error::custom(format_args!(
                "`{number}` is out of range; cpus lies between 0.01 and 1024"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the bounds above keep the product far below 2^53"
        )]
        let nanos = (number * 1e9).round() as i64;
        Ok(Self { nanos })
    }
}

/// A name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolver(SocketAddr);

impl Resolver {
    /// Where it listens; port 53 where none was written.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl<'de> Deserialize<'de> for Resolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bare = text
            .parse::<IpAddr>()
            .map(|address| SocketAddr::new(address, 53));
        bare.or_else(|_| text.parse()).map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "`{text}` is not a name server; write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT"
            ))
        })
    }
}
