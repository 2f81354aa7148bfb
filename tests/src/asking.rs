//! Requests that wait for the admin, as he and the component see them.

use std::thread::{JoinHandle, spawn};

use serde_json::Value;

use crate::{Broker, Peer, Reply, eventually};

impl Broker {
    /// What of a component waits for an answer.
    #[track_caller]
    pub fn waiting(&self, component: &str) -> Vec<Value> {
        let shown = self.must(&["pending", "--json"]).stdout;
        let all: Vec<Value> = serde_json::from_str(&shown).expect("JSON");
        let of = |one: &Value| one["component"] == component;
        all.into_iter().filter(of).collect()
    }

    /// The one request of a component that waits, once there is one.
    #[track_caller]
    pub fn question(&self, component: &str) -> Value {
        let mut found = Vec::new();
        eventually("a request waits", || {
            found = self.waiting(component);
            !found.is_empty()
        });
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

impl Peer {
    /// One method in the JSON form, asked while the test goes on.
    #[must_use]
    pub fn asks(&self, method: &str, message: &Value) -> JoinHandle<Reply> {
        let (peer, method, message) = (self.clone(), method.to_owned(), message.clone());
        spawn(move || peer.json(&method, &message))
    }
}
