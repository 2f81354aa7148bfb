//! A pack whose components run whatever Python a test hands them, as an unmodified program would.

use serde_json::{Value, json};

use crate::{Broker, Called, Home};

const SOURCE: &str = r#"
def run(args):
    scope = {"args": args}
    exec(compile(args["code"], "snippet", "exec"), scope)
    return {"ok": True, "data": scope.get("out")}
"#;

/// Writes the pack with these components.
pub fn write_snippets(home: &Home, pack: &str, components: &[&str]) {
    home.write_pack(pack, SOURCE);
    let mut manifest = Home::manifest(pack);
    let one = manifest["components"][0].clone();
    let all = components.iter().map(|name| {
        let mut component = one.clone();
        component["id"] = json!(format!("{pack}:tool:{name}"));
        component["timeout_ms"] = json!(120_000);
        component
    });
    manifest["components"] = all.collect();
    home.write_manifest(pack, &manifest);
}

impl Broker {
    /// Runs Python in a component: what it leaves in `out` is the data.
    #[track_caller]
    pub fn run_python(&self, component: &str, code: &str, more: &Value) -> Called {
        let mut args = more.clone();
        args["code"] = json!(code);
        self.call(component, &args)
    }
}
