//! `CustomCall`: a handler's name and its arguments.

use rumi_policy::{CustomAsk, HandlerName};
use rumi_proto::v1;

use super::{Connection, spelling};
use crate::{handlers::CustomHandler, refusal::Refusal};

impl Connection {
    pub(super) async fn custom(
        &self,
        request: v1::CustomCallRequest,
    ) -> Result<v1::CustomCallResponse, Refusal> {
        let handler = match request.permission.parse::<HandlerName>() {
            Ok(handler) => handler,
            Err(error) => {
                let denial = spelling(&error);
                return Err(self.malformed("custom", "call", denial).await);
            }
        };
        let args = if request.args_json.is_empty() {
            "{}".to_owned()
        } else {
            request.args_json
        };
        let ask = CustomAsk {
            handler,
            args: args.as_str().into(),
            bytes: u64::try_from(args.len()).unwrap_or(u64::MAX),
            fingerprint: self.broker.audit().fingerprint(args.as_bytes()),
            depth: self.caller.depth(),
        };
        let result_json = self.detached(ask, CustomHandler { args }).await?;
        Ok(v1::CustomCallResponse { result_json })
    }
}
