//! The bytes of one request and its reply, while the broker holds them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    caller::Identity,
    shares::{Place, Shares},
};

/// What a request or a reply may have without asking. The number of requests bounds what that comes to.
pub const FREE: u64 = 64 * 1024;

/// Room for the bytes of one request, kept until its reply is sent and its effect is over.
#[derive(Debug, Clone)]
pub struct Freight(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Arc<Identity>,
    held: Mutex<Vec<Place>>,
}

impl Freight {
    /// Of a request that has just begun.
    #[must_use]
    pub fn new(identity: Arc<Identity>) -> Self {
        let held = Mutex::default();
        Self(Arc::new(Inner { identity, held }))
    }

    fn shares(&self) -> &Shares {
        self.0.identity.shares()
    }

    /// Waits until so many bytes may come from the component.
    pub async fn comes(&self, bytes: u64) {
        if bytes > FREE {
            self.keep(self.shares().room_to_receive(bytes).await);
        }
    }

    /// Waits until so many bytes may be held for the component.
    pub async fn goes(&self, bytes: u64) {
        if bytes > FREE {
            self.keep(self.shares().room_to_send(bytes).await);
        }
    }

    fn keep(&self, place: Option<Place>) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(place);
    }
}
