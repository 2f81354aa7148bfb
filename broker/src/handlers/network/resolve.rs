//! Which ports of a host may be opened; nothing is looked up for it.

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, Permit, Port, Resolve};

use crate::{
    pipeline::{Context, Handler, Performed},
    refusal::Refusal,
};

/// Serves one `NetworkResolve`.
#[derive(Debug)]
pub struct ResolveHandler;

impl Handler<Resolve> for ResolveHandler {
    type Handle = ();
    type Reply = Vec<u16>;

    async fn find(
        &mut self,
        _: Context<'_>,
        _: &Recorded<Permit<Resolve>>,
    ) -> Result<((), ()), Refusal> {
        Ok(((), ()))
    }

    async fn perform(
        self,
        _: Context<'_>,
        permit: &Recorded<Confirmed<Resolve>>,
        (): (),
    ) -> Performed<Vec<u16>> {
        let ports = permit.get().terms().ports().iter();
        Performed::plain(Ok(ports.map(|port| Port::get(*port)).collect()))
    }
}
