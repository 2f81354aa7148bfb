//! An HTTPS request from a component, beside the same request direct and through tinyproxy.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_proto::v1;

use crate::{
    engine,
    failure::Failure,
    figure::Figure,
    ours,
    sample::{Sample, median},
    stage::{self, Stage},
    visitor::{Inside, Proxy, Visit},
    web,
};

/// Through the guest, the component's socket and the broker; the first pack is up.
pub async fn figures(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let (rounds, requests) = if quick { (3, 10) } else { (21, 100) };
    let peer = Tinyproxy::start(stage.path())?;
    let web = stage.web();
    let direct = Visit {
        root: web.root(),
        to: SocketAddrV4::new(web.address(), 443),
        proxy: None,
        inside: None,
        requests,
    };
    let tinyproxy = Visit {
        to: peer.address,
        // Without a name to look up, which is in its favour.
        proxy: Some(Proxy {
            target: direct.to.to_string(),
            authorization: None,
        }),
        ..direct.clone()
    };
    let ours = Visit {
        inside: Some(Inside {
            pid: engine::first_process(stage.first_container()?)?,
            uid: stage.component_uid(0).await?,
        }),
        ..loopback_proxy(stage, &direct).await?
    };
    let mut measured: [Vec<Sample>; 3] = Default::default();
    for round in 0..rounds {
        let sides = [&ours, &tinyproxy, &direct];
        // Taking turns at going first keeps a drift of the machine from favouring a side.
        for side in (0..sides.len()).map(|side| (side + round) % sides.len()) {
            if let (Some(visit), Some(samples)) = (sides.get(side), measured.get_mut(side)) {
                samples.push(ask(visit)?);
            }
        }
    }
    let [ours, tinyproxy, direct] = &measured;
    Ok(vec![
        beside("https_get", ours, "tinyproxy", tinyproxy),
        beside("https_get_and_direct", ours, "direct", direct),
    ])
}

fn beside(name: &str, ours: &[Sample], peer: &str, theirs: &[Sample]) -> Figure {
    let middle = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p50 / 1e3));
    let ratios = ours.iter().zip(theirs);
    let ratio = median(ratios.map(|(ours, theirs)| ours.p50 / theirs.p50));
    Figure::new(
        name,
        "us",
        ours.iter().map(|sample| sample.n).sum(),
        middle(ours),
    )
    .p99(median(ours.iter().map(|sample| sample.p99 / 1e3)))
    .beside_in_rounds(peer, middle(theirs), ratio)
}

/// The proxy that the component's processes are told of, which only they may use.
async fn loopback_proxy(stage: &Stage, direct: &Visit) -> Result<Visit, Failure> {
    let request = v1::CallRequest {
        component_id: stage::component(0),
        args_json: r#"{"variable": "HTTPS_PROXY"}"#.to_owned(),
        timeout_ms: 0,
    };
    let reply = stage.control().await?.call(request).await?.into_inner();
    let reply: serde_json::Value = serde_json::from_str(&reply.result_json)?;
    let url = reply.pointer("/data").and_then(|url| url.as_str());
    let parts = url
        .and_then(|url| {
            url.strip_prefix("http://")?
                .trim_end_matches('/')
                .split_once('@')
        })
        .and_then(|(credentials, address)| Some((credentials, address.parse().ok()?)));
    let Some((credentials, to)) = parts else {
        return Err(Failure::Unexpected(format!("no proxy in {reply}")));
    };
    let authorization = format!("Basic {}", STANDARD.encode(credentials));
    Ok(Visit {
        to,
        proxy: Some(Proxy {
            target: format!("{}:443", web::NAME),
            authorization: Some(authorization),
        }),
        ..direct.clone()
    })
}

/// The client is this program once more, so that it can take on another network and uid.
fn ask(visit: &Visit) -> Result<Sample, Failure> {
    let visit = serde_json::to_string(visit)?;
    let ran = Command::new(ours()).args(["--visit", &visit]).output();
    let ran = ran.map_err(|source| Failure::Program {
        program: "rumi-bench --visit".to_owned(),
        source,
    })?;
    if !ran.status.success() {
        return Err(Failure::Ended {
            program: "rumi-bench --visit".to_owned(),
            said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
        });
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}

/// A plain forward proxy that ends when it is dropped.
#[derive(Debug)]
struct Tinyproxy {
    process: Child,
    address: SocketAddrV4,
}

impl Tinyproxy {
    fn start(directory: &Path) -> Result<Self, Failure> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.map_err(Failure::file("a free port"))?.port();
        let path = directory.join("tinyproxy.conf");
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nConnectPort 443\nMaxClients 100\nLogLevel Error\n"
        );
        fs::write(&path, settings).map_err(Failure::file(&path))?;
        let mut command = Command::new("tinyproxy");
        command.args(["-d".as_ref(), "-c".as_ref(), path.as_os_str()]);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let process = started.map_err(|source| Failure::Program {
            program: "tinyproxy".to_owned(),
            source,
        })?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let proxy = Self { process, address };
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                let silent = "tinyproxy does not listen".to_owned();
                return Err(Failure::Unexpected(silent));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(proxy)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("rumi-bench: tinyproxy does not end: {error}");
        }
    }
}
