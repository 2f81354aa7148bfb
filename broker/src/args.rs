//! The command line of the daemon.

use std::path::PathBuf;

/// Guards packs: checks every request they make against scopes and grants,
/// writes each decision to the audit log, and only then acts.
///
/// Stays in the foreground; stop it with SIGTERM or SIGINT. Containers go on
/// running and are adopted by the next start.
#[derive(Debug, clap::Parser)]
#[command(name = "rumi-broker", version)]
pub struct Args {
    /// Directory that holds docker/, grants/ and scopes/.
    #[arg(long, value_name = "DIR", env = "RUMI_HOME")]
    pub home: PathBuf,
    /// Directory of the audit log, the keys and the build caches.
    #[arg(
        long,
        value_name = "DIR",
        env = "RUMI_STATE",
        default_value = "/var/lib/rumi"
    )]
    pub state: PathBuf,
    /// Directory of the sockets; on a tmpfs where there is one.
    #[arg(
        long,
        value_name = "DIR",
        env = "RUMI_RUN",
        default_value = "/run/rumi"
    )]
    pub run: PathBuf,
    /// The static guest binary; by default the one beside this program.
    #[arg(long, value_name = "FILE", env = "RUMI_GUEST")]
    pub guest: Option<PathBuf>,
    /// Socket of the Docker engine.
    #[arg(
        long,
        value_name = "SOCKET",
        env = "RUMI_DOCKER",
        default_value = "/var/run/docker.sock"
    )]
    pub docker: PathBuf,
}
