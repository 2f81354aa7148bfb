//! One thing that a tool must not achieve, and how the call that tries it must end.

use serde_json::{Value, json};

use crate::Called;

/// How a call that commits a misdeed must end.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// By its time-out.
    InTime,
    /// With its process gone before it answered.
    Crashed,
    /// With an error of this type.
    Error(&'static str),
    /// With this data, as JSON.
    Data(&'static str),
    /// With an answer that says that nothing was achieved.
    Refused,
    /// With an answer that says that something was, which may be.
    Done,
    /// With an answer or an error that has a type and a message.
    Defined,
}

/// One misdeed and its end.
#[derive(Debug, Clone, Copy)]
pub struct Misdeed {
    /// By which the tool knows it.
    pub name: &'static str,
    /// How much of it, where not the tool decides.
    pub amount: Option<u64>,
    /// Of the call; the component's own where it is 0.
    pub timeout_ms: u32,
    /// How it must end.
    pub ends: Ends,
    /// Others must be answered while it goes on.
    pub beside: bool,
}

impl Misdeed {
    /// One as the tool does it by itself.
    #[must_use]
    pub const fn new(name: &'static str, ends: Ends) -> Self {
        Self {
            name,
            amount: None,
            timeout_ms: 0,
            ends,
            beside: false,
        }
    }
    /// So much of it.
    #[must_use]
    pub const fn amount(mut self, amount: u64) -> Self {
        self.amount = Some(amount);
        self
    }
    /// In a call that may last so long.
    #[must_use]
    pub const fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }
    /// Others must be answered while it goes on.
    #[must_use]
    pub const fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// What the tool is told.
    #[must_use]
    pub fn args(&self) -> Value {
        let mut args = json!({"misdeed": self.name});
        if let Some(amount) = self.amount {
            args["amount"] = json!(amount);
        }
        args
    }

    /// Whether the call ended as it must.
    #[track_caller]
    pub fn judge(&self, called: &Called) {
        let name = self.name;
        let achieved = |called: &Called| called.data()["achieved"].as_bool();
        match self.ends {
            Ends::InTime => {
                assert_eq!(called.error_type(), "timeout", "{name}: {called:?}");
                assert_eq!(called.response.stopped_reason, "timeout", "{name}");
            }
            Ends::Crashed => assert_eq!(called.error_type(), "crashed", "{name}: {called:?}"),
            Ends::Error(kind) => assert_eq!(called.error_type(), kind, "{name}: {called:?}"),
            Ends::Data(json) => {
                let expected: Value = serde_json::from_str(json).expect("JSON");
                assert_eq!(called.data(), &expected, "{name}");
            }
            Ends::Refused => assert_eq!(achieved(called), Some(false), "{name}: {called:?}"),
            Ends::Done => assert_eq!(achieved(called), Some(true), "{name}: {called:?}"),
            Ends::Defined => {
                if called.result["ok"] != json!(true) {
                    assert!(!called.error_type().is_empty(), "{name}: {called:?}");
                    assert!(called.error()["message"].is_string(), "{name}: {called:?}");
                }
            }
        }
    }
}
