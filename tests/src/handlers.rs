//! Custom handlers of a broker under test.

use std::time::Duration;

use rumi_proto::v1;
use serde_json::{Value, json};

use crate::{Broker, Home, http::Reply, within};

/// Images are built for handlers, and other tests build theirs at the same time.
const LOADING: Duration = Duration::from_secs(150);

impl Home {
    /// Writes the file of a handler.
    pub fn write_handler(&self, name: &str, source: &str) {
        // Renamed into its place, so that no reader ever sees half of it.
        let directory = self.path().join("docker/handlers");
        let half = directory.join(format!(".{name}.half"));
        std::fs::write(&half, source).expect("write");
        std::fs::rename(half, directory.join(format!("{name}.py"))).expect("rename");
    }

    /// A handler with this body of `execute`, which takes whatever it is given.
    pub fn write_execute(&self, name: &str, body: &str) {
        let body = body.replace('\n', "\n    ");
        self.write_handler(
            name,
            &format!(
                "META = {{'requires_scope': False, 'supports_modes': ['sandbox'], 'description': 'A test.'}}\n\n\
                 def execute(context, args):\n    {body}\n"
            ),
        );
    }

    /// Copies a shipped handler.
    pub fn take_handler(&self, name: &str) {
        let file = format!("docker/handlers/{name}.py");
        let source = std::fs::read_to_string(crate::repository().join(file)).expect("the handler");
        self.write_handler(name, &source);
    }
}

impl Broker {
    /// Handlers, and files that are none, as the broker shows them.
    #[track_caller]
    pub fn handlers(&self) -> Vec<v1::HandlerStatus> {
        self.block_on(async {
            let request = v1::HandlersRequest {};
            let mut control = self.control().await.expect("control");
            let reply = control.handlers(request).await;
            reply.expect("handlers").into_inner().handlers
        })
    }

    /// One of them.
    #[track_caller]
    pub fn handler(&self, name: &str) -> Option<v1::HandlerStatus> {
        self.handlers().into_iter().find(|one| one.name == name)
    }

    /// Waits until a handler can be called.
    #[track_caller]
    pub fn has_handler(&self, name: &str) {
        let mut last = None;
        within(LOADING, &format!("the handler `{name}`"), || {
            last = self.handler(name);
            last.as_ref()
                .is_some_and(|handler| matches!(handler.state.as_str(), "ready" | "running"))
        });
    }

    /// Waits until a handler is refused, and says why.
    #[track_caller]
    pub fn refused_handler(&self, name: &str) -> String {
        let mut why = String::new();
        within(LOADING, &format!("the refusal of `{name}`"), || {
            let refused = self.handler(name).filter(|one| one.state == "refused");
            why = refused.map(|one| one.message).unwrap_or_default();
            !why.is_empty()
        });
        why
    }

    /// Calls a handler as a component.
    #[track_caller]
    pub fn custom(&self, component: &str, handler: &str, args: &Value) -> Reply {
        let message = json!({"permission": handler, "argsJson": args.to_string()});
        self.as_component(component).json("CustomCall", &message)
    }

    /// The answer of a call that was allowed.
    #[track_caller]
    pub fn answer(&self, component: &str, handler: &str, args: &Value) -> Value {
        answer(&self.custom(component, handler, args))
    }
}

/// What a handler answered, `{"ok": …}`.
///
/// # Panics
/// When the reply is an error.
#[must_use]
#[track_caller]
pub fn answer(reply: &Reply) -> Value {
    let reply = reply.ok();
    let text = reply["resultJson"].as_str().expect("a result");
    serde_json::from_str(text).expect("JSON")
}
