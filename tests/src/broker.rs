//! A real broker, from its start to its end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rumi_proto::v1::{self, control_client::ControlClient};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::{Home, Output, Peer, binary, peer};

/// A storm of changes is read at least every 200 ms: what was seen first may be another test's change.
const ALL_READ: Duration = Duration::from_millis(300);
/// How long a broker may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker that runs, with its home.
#[derive(Debug)]
pub struct Broker {
    process: Option<Child>,
    environment: Vec<(String, String)>,
    runtime: Runtime,
    home: Home,
}

/// What a tool answered, and all that is known about the call.
#[derive(Debug)]
pub struct Called {
    /// `{"ok": …}`.
    pub result: Value,
    /// The rest.
    pub response: v1::CallResponse,
}

impl Called {
    /// The data of a call that succeeded.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert_eq!(self.result["ok"], json!(true), "{self:?}");
        &self.result["data"]
    }
    /// The error of a call that did not.
    #[track_caller]
    pub fn error(&self) -> &Value {
        assert_eq!(self.result["ok"], json!(false), "{self:?}");
        &self.result["error"]
    }
    /// The type of that error.
    #[track_caller]
    pub fn error_type(&self) -> &str {
        self.error()["type"].as_str().unwrap_or("")
    }
}

impl Broker {
    /// Starts a broker and waits until it answers.
    #[must_use]
    #[track_caller]
    pub fn start(home: Home) -> Self {
        Self::start_with(home, &[])
    }

    /// Starts one with more in its environment.
    #[must_use]
    #[track_caller]
    pub fn start_with(home: Home, environment: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut broker = Self {
            process: None,
            environment: environment.iter().map(own).collect(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            home,
        };
        broker.launch();
        broker
    }

    /// Starts the process and returns how long it took to answer.
    #[track_caller]
    pub fn launch(&mut self) -> Duration {
        assert!(self.process.is_none(), "it runs already");
        let started = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file());
        let mut command = Command::new(binary("rumi-broker"));
        let process = self
            .home
            .placed(&mut command)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("rumi-broker");
        fs::write(
            self.home.base().join("broker.pid"),
            format!("{}\n", process.id()),
        )
        .expect("write");
        self.process = Some(process);
        while self.status().is_none() {
            let ended = self
                .process
                .as_mut()
                .and_then(|p| p.try_wait().ok().flatten());
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "the broker does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        started.elapsed()
    }

    /// The directories.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }
    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map(Child::id).expect("it runs")
    }
    /// What it wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
    fn log_file(&self) -> std::path::PathBuf {
        self.home.base().join("broker.log")
    }

    /// Ends it without any warning.
    pub fn kill9(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("kill");
        process.wait().expect("wait");
    }

    /// Asks it to end and waits until it has; how long that took.
    pub fn stop(&mut self) -> Duration {
        let started = Instant::now();
        let mut process = self.process.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
        let ended = process.wait().expect("wait");
        assert!(ended.success(), "{ended}: {}", self.log());
        started.elapsed()
    }

    /// Kills it and starts it again; how long the start took.
    #[track_caller]
    pub fn restart(&mut self) -> Duration {
        self.kill9();
        self.launch()
    }

    /// Runs packctl against it.
    pub fn packctl(&self, arguments: &[&str]) -> Output {
        self.home.packctl(arguments)
    }

    /// Runs packctl, which must succeed.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> Output {
        self.packctl(arguments).ok()
    }

    /// Verifies the audit log.
    #[must_use]
    pub fn verify(&self) -> Output {
        self.packctl(&["audit", "verify"])
    }

    /// Ids of this broker's containers, sandboxes included, as the engine knows them.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let label = format!("label=rumi.instance={}", self.home.instance());
        let mut listing = Command::new("docker");
        let listed =
            Output::of(listing.args(["ps", "--all", "--no-trunc", "--quiet", "--filter", &label]));
        listed.ok().stdout.lines().map(str::to_owned).collect()
    }

    /// Brings packs up, approved as they are.
    #[track_caller]
    pub fn up(&self, packs: &[&str]) -> Output {
        let up = ["up", "--yes"].iter().chain(packs);
        self.packctl(&up.copied().collect::<Vec<_>>()).ok()
    }

    /// The control service; a new connection each time, so that a restart is no matter.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn control(&self) -> Result<ControlClient<Channel>, tonic::transport::Error> {
        peer::channel(&self.home.run().join("control.sock"), None)
            .await
            .map(|channel| ControlClient::new(channel).max_decoding_message_size(64 << 20))
    }

    /// Runs what talks gRPC.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// What it says about itself; nothing where nobody answers.
    #[must_use]
    pub fn status(&self) -> Option<v1::StatusResponse> {
        self.block_on(async {
            let mut control = self.control().await.ok()?;
            let status = control.status(v1::StatusRequest {}).await.ok()?;
            Some(status.into_inner())
        })
    }

    /// Packs as the broker sees them.
    #[track_caller]
    pub fn ps(&self) -> Vec<v1::PackStatus> {
        self.block_on(async {
            let request = v1::PsRequest { packs: Vec::new() };
            let reply = self.control().await.expect("control").ps(request).await;
            reply.expect("ps").into_inner().packs
        })
    }

    /// Calls a tool.
    #[track_caller]
    pub fn call(&self, component: &str, args: &Value) -> Called {
        self.try_call(component, &args.to_string(), 0)
            .expect("the call")
    }

    /// One operation of `probe:tool:do`.
    #[track_caller]
    pub fn probe(&self, op: &str, args: &Value) -> Called {
        self.call("probe:tool:do", &json!({"op": op, "args": args}))
    }

    /// Calls a tool with text that may be anything, and a time-out where it is not 0.
    ///
    /// # Errors
    /// When the broker refuses to try.
    pub fn try_call(
        &self,
        component: &str,
        args: &str,
        timeout_ms: u32,
    ) -> Result<Called, tonic::Status> {
        self.block_on(async {
            let request = v1::CallRequest {
                component_id: component.to_owned(),
                args_json: args.to_owned(),
                timeout_ms,
            };
            let mut control = self
                .control()
                .await
                .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let response = control.call(request).await?.into_inner();
            let result = serde_json::from_str(&response.result_json);
            let result = result.unwrap_or_else(|error| panic!("{error}: {response:?}"));
            Ok(Called { result, response })
        })
    }

    /// Gives a component these permissions and waits until the broker knows.
    #[track_caller]
    pub fn grant(&self, component: &str, permissions: &Value) {
        self.changed(|home| home.grant(component, permissions));
        std::thread::sleep(ALL_READ);
    }

    /// Takes a component's grant away and waits until the broker knows.
    #[track_caller]
    pub fn ungrant(&self, component: &str) {
        self.changed(|home| home.ungrant(component));
    }

    /// Changes policy files and waits until another policy is in force; how long that took.
    #[track_caller]
    pub fn changed(&self, change: impl FnOnce(&Home)) -> Duration {
        let before = self.policy();
        change(&self.home);
        crate::within(Duration::from_secs(5), "another policy", || {
            self.policy() != before
        })
    }

    /// The hash of the policy in force.
    #[track_caller]
    pub fn policy(&self) -> String {
        self.status().expect("a status").policy
    }

    /// All records of the audit log.
    #[track_caller]
    pub fn audit(&self) -> Vec<Value> {
        records(&self.home.state().join("audit"))
    }

    /// The records under one id: a decision and its outcome.
    #[track_caller]
    pub fn records_of(&self, id: &str) -> Vec<Value> {
        let of = |record: &Value| record["id"] == json!(id);
        self.audit().into_iter().filter(of).collect()
    }

    /// The socket of a component, spoken to under the component's uid.
    #[track_caller]
    pub fn as_component(&self, component: &str) -> Peer {
        let packs = self.ps();
        let mut all = packs.iter().flat_map(|pack| &pack.components);
        let found = all.find(|other| other.component_id == component);
        let uid = found
            .unwrap_or_else(|| panic!("`{component}` is not up"))
            .uid;
        Peer::new(self.socket(component), uid)
    }

    /// The same.
    #[track_caller]
    pub fn component(&self, component: &str) -> Peer {
        self.as_component(component)
    }

    /// Where a component's socket is on the host.
    #[must_use]
    pub fn socket(&self, component: &str) -> std::path::PathBuf {
        let pack = component.split(':').next().unwrap_or_default();
        self.home
            .run()
            .join(format!("packs/{pack}/{component}.sock"))
    }
}

/// Kills the process; all else is the janitor's.
impl Drop for Broker {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill9();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(40);
            eprintln!(
                "--- the broker said:\n{}",
                lines.get(last..).unwrap_or_default().join("\n")
            );
        }
    }
}

fn records(directory: &Path) -> Vec<Value> {
    let filter = rumi_audit::query::Filter::default();
    let scan = rumi_audit::query::scan(directory, &filter).expect("the log");
    scan.map(|record| record.expect("a record").fields)
        .collect()
}

/// One broker for all tests of a binary that need nothing of their own, with the pack
/// `probe` up. Tests that change grants use a component of their own.
#[must_use]
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| {
        let broker = Broker::start(Home::new());
        broker.up(&["probe"]);
        broker
    })
}
