//! One broker for all tests here, and servers as they stand on the internet, on an address of this process's own.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use rumi_proto::v1::CallDenial;
use rumi_tests::{Authority, Broker, Home, NameServer, Origin, Postgres, own_address, repository};
use serde_json::{Value, json};

/// Every refusal comes at once: nothing waits for an answer that nobody gives.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);
/// Names of web servers that exist. What a component may open stands in its grant.
pub(crate) const SITES: [&str; 4] = [
    "www.example.test",
    "other.example.test",
    "git.example.test",
    "packages.example.test",
];
pub(crate) const DATABASE: &str = "db.example.test";

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) origin: Origin,
    pub(crate) names: NameServer,
    pub(crate) bundle: PathBuf,
    authority: Authority,
    postgres: OnceLock<Postgres>,
    up: Mutex<HashSet<String>>,
    /// Held while the policy changes, so that each change is waited for and not another test's.
    policy: Mutex<()>,
}

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What it returned; null where it raised.
    pub(crate) answer: Value,
    /// The traceback; empty where it returned.
    pub(crate) error: String,
    pub(crate) took: Duration,
    /// What it saw around itself, where it was told to look.
    pub(crate) surroundings: Value,
    /// What the broker refused meanwhile.
    pub(crate) denials: Vec<CallDenial>,
}

pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(make)
}

fn make() -> World {
    let home = Home::new();
    let address = own_address();
    let (authority, text) = (Authority::new(), address.to_string());
    let own = [text.as_str()];
    let all = SITES.iter().chain([&DATABASE]);
    let names: Vec<(&str, &[&str])> = all.map(|name| (*name, &own[..])).collect();
    let names = NameServer::start(&names);
    let origin = Origin::start(address, &authority, &SITES, &home.data("site"));
    let bundle = home.base().join("bundle.pem");
    authority.write_bundle(&bundle);
    home.configure(|config| {
        config["network"]["allowed_ranges"] = json!([format!("{address}/32")]);
        config["network"]["resolvers"] = json!([names.address()]);
        // What is tried here is what the programs can do, and not how little they can do with.
        config["pack"] = json!({"memory_limit": "1g", "cpus": 2.0, "pids": 200, "tmp_size": "64m"});
        config["tool"]["timeout_ms"] = json!(120_000);
        config["tool"]["memory_mb"] = json!(512);
    });
    let trusted = bundle.to_str().expect("a path");
    let broker = Broker::start_with(
        home,
        &[
            ("SSL_CERT_FILE", trusted),
            ("PIP_CERT", trusted),
            ("SHOP_TOKEN", MARKER),
        ],
    );
    World {
        broker,
        origin,
        names,
        bundle,
        authority,
        postgres: OnceLock::new(),
        up: Mutex::default(),
        policy: Mutex::default(),
    }
}

/// Stands in files, processes and variables of the host, and nowhere in a container.
pub(crate) const MARKER: &str = "host-marker-8c1f27d90b";

impl World {
    /// Brings a pack of `tests/packs` up, once.
    #[track_caller]
    pub(crate) fn pack(&self, id: &str) {
        // A build is the engine's work, one at a time; what waits here would wait there.
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if up.contains(id) {
            return;
        }
        let home = self.broker.home();
        home.take_pack(&format!("tests/packs/{id}"));
        for name in ["tool.py", "surroundings.py"] {
            let from = repository().join("tests/unmodified/inside").join(name);
            fs::copy(from, home.pack(id).join(name)).unwrap();
        }
        self.broker.up(&[id]);
        up.insert(id.to_owned());
    }

    /// The database, started where a test needs it.
    pub(crate) fn postgres(&self) -> &Postgres {
        self.postgres.get_or_init(|| {
            let directory = self.broker.home().base().join("postgres");
            Postgres::start(&directory, own_address(), &self.authority, DATABASE)
        })
    }

    /// Puts a secret into the broker's store.
    #[track_caller]
    pub(crate) fn secret(&self, name: &str, value: &str) {
        let set = ["secret", "set", name];
        self.broker.home().packctl_fed(&set, value).ok();
    }

    /// Gives a component `network` for these hosts, HTTP and HTTPS.
    #[track_caller]
    pub(crate) fn grant_hosts(&self, component: &str, hosts: &[&str]) {
        let network =
            json!({"enabled": true, "allowed_domains": hosts, "allowed_ports": [80, 443]});
        self.grant(component, &json!({"network": network}));
    }

    /// Gives a component these permissions and no others, unless it has them.
    #[track_caller]
    pub(crate) fn grant(&self, component: &str, permissions: &Value) {
        let _alone = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let file = fs::read(self.broker.home().grant_file(component)).unwrap_or_default();
        let has: Value = serde_json::from_slice(&file).unwrap_or_default();
        if has["permissions"] != *permissions {
            self.broker.grant(component, permissions);
        }
    }

    /// Takes a component's grant away.
    #[track_caller]
    pub(crate) fn ungrant(&self, component: &str) {
        let _alone = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        self.broker.ungrant(component);
    }

    /// Runs the very command that a refusal named.
    #[track_caller]
    pub(crate) fn apply(&self, denial: &CallDenial) {
        let _alone = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<&str> = denial.remedy.split(' ').collect();
        let [program, arguments @ ..] = words.as_slice() else {
            panic!("{denial:?}")
        };
        assert_eq!(*program, "packctl", "{denial:?}");
        self.broker.changed(|home| {
            home.packctl(arguments).ok();
        });
    }

    /// Runs a script of the pack: `fetch`, or `fetch.download` for another function than `run`.
    #[track_caller]
    pub(crate) fn run(&self, component: &str, script: &str, args: &Value) -> Ran {
        self.call(component, &request(script, args))
    }

    /// The same, and the script looks around when it has ended.
    #[track_caller]
    pub(crate) fn run_and_look(
        &self,
        component: &str,
        script: &str,
        args: &Value,
        look: &Value,
    ) -> Ran {
        let mut request = request(script, args);
        request["look"] = look.clone();
        self.call(component, &request)
    }

    #[track_caller]
    fn call(&self, component: &str, request: &Value) -> Ran {
        let called = self.broker.call(component, request);
        let data = called.data();
        Ran {
            answer: data["answer"].clone(),
            error: data["error"].as_str().unwrap_or_default().to_owned(),
            took: Duration::from_secs_f64(data["seconds"].as_f64().expect("seconds")),
            surroundings: data["surroundings"].clone(),
            denials: called.response.denials,
        }
    }

    /// Records of what one component asked of one host: decisions, and the outcomes under the same ids.
    pub(crate) fn records(&self, component: &str, host: &str) -> Vec<Value> {
        let all = self.broker.audit();
        let asked = |record: &&Value| {
            let target = record["target"].as_str();
            record["component"] == json!(component)
                && target.is_some_and(|target| target.contains(host))
        };
        let ids: HashSet<String> = all
            .iter()
            .filter(asked)
            .map(|record| record["id"].to_string())
            .collect();
        let of = |record: &Value| ids.contains(&record["id"].to_string());
        all.into_iter().filter(of).collect()
    }

    /// What went out to the component and came in from it, over all that it asked of one host.
    pub(crate) fn bytes(&self, component: &str, host: &str) -> (u64, u64) {
        let records = self.records(component, host);
        let sum = |field: &str| {
            let all = records
                .iter()
                .filter_map(|record| record["detail"][field].as_u64());
            all.sum()
        };
        (sum("bytes_out"), sum("bytes_in"))
    }

    /// Below it lie the files of the web servers.
    pub(crate) fn site(&self) -> PathBuf {
        self.broker.home().base().join("data/site")
    }
}

fn request(script: &str, args: &Value) -> Value {
    let (module, function) = script.split_once('.').unwrap_or((script, "run"));
    json!({"script": module, "function": function, "args": args})
}

impl Ran {
    /// What the script returned.
    #[track_caller]
    pub(crate) fn answered(&self) -> &Value {
        assert_eq!(self.error, "", "{self:?}");
        &self.answer
    }

    /// What it raised; it must have done so at once.
    #[track_caller]
    pub(crate) fn raised_at_once(&self) -> &str {
        assert_ne!(self.error, "", "{self:?}");
        assert!(self.took < AT_ONCE, "{self:?}");
        &self.error
    }

    /// The one refusal of this kind.
    #[track_caller]
    pub(crate) fn denied(&self, reason: &str, target: &str) -> &CallDenial {
        let fits = |denial: &&CallDenial| denial.reason == reason && denial.target.contains(target);
        let found = self.denials.iter().find(fits);
        found.unwrap_or_else(|| panic!("no `{reason}` of `{target}` in {self:?}"))
    }
}
