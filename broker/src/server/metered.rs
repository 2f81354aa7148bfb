//! A request's body, which waits where the pack has as many bytes under way as it may.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::freight::{FREE, Freight};

/// The body. What is not read of it stays with the component.
pub(super) struct Metered {
    body: Incoming,
    read: u64,
    room: Room,
}

enum Room {
    /// None was asked for yet: so much is asked for when it is more than a little.
    Unasked {
        freight: Freight,
        most: u64,
    },
    Asked(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// There is, or none is needed.
    Free,
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("read", &self.read).finish()
    }
}

impl Metered {
    /// At most `most` bytes of the body are held at once.
    pub(super) fn new(body: Incoming, freight: Freight, most: u64) -> Self {
        let room = Room::Unasked { freight, most };
        Self {
            body,
            read: 0,
            room,
        }
    }

    /// A body that is small, and read by somebody who says so himself.
    pub(super) fn free(body: Incoming) -> Self {
        Self {
            body,
            read: 0,
            room: Room::Free,
        }
    }

    /// Asked for once and for all that can come: who holds a part and waits for the rest could wait for others
    /// that do the same.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Room::Unasked { freight, most } = &self.room {
            let told = self.body.size_hint().exact();
            let expected = told.map(|rest| rest.saturating_add(self.read));
            if expected.unwrap_or(self.read) <= FREE {
                return Poll::Ready(());
            }
            let (freight, bytes) = (freight.clone(), expected.unwrap_or(*most).min(*most));
            self.room = Room::Asked(Box::pin(async move { freight.comes(bytes).await }));
        }
        if let Room::Asked(asked) = &mut self.room {
            ready!(asked.as_mut().poll(context));
            self.room = Room::Free;
        }
        Poll::Ready(())
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        ready!(self.poll_room(context));
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.read = self.read.saturating_add(length);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
