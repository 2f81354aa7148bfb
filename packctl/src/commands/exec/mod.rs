//! `packctl exec FILE`

mod files;
mod show;

use std::path::PathBuf;

use rumi_proto::v1::{ExecCredential, ExecRequest, ExecSpec, exec_request::What};

use crate::{broker, context::Context, failure::Failure};

/// Run code that somebody just wrote, in a container of its own
///
/// Each run gets a container that nobody used before and nobody uses after. The code runs as an
/// unprivileged user in an empty directory; it has no network and sees nothing of the host. What it prints
/// goes to stdout and stderr.
#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    /// A file with the code, or - for standard input
    #[arg(required_unless_present = "code", conflicts_with = "code")]
    file: Option<PathBuf>,

    /// The code itself
    #[arg(short, long, value_name = "CODE", allow_hyphen_values = true)]
    code: Option<String>,

    /// What it is written in: python, javascript, bash or auto [default: what docker/config.json says]
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,

    /// Seconds it may run, 1 to 300 [default: what docker/config.json says]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=300))]
    time: Option<u32>,

    /// MB of memory it may have, 16 to 1024 [default: what docker/config.json says]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(16..=1024))]
    memory: Option<u32>,

    /// A file that lies in its working directory, under this name
    #[arg(long = "file", value_name = "NAME=PATH", value_parser = files::given)]
    files: Vec<(String, PathBuf)>,

    /// Put the files that it leaves in its working directory here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// A file that it reads on its standard input
    #[arg(long, value_name = "PATH")]
    stdin: Option<PathBuf>,

    /// Let it reach the hosts that its grant names
    #[arg(long)]
    network: bool,

    /// What it may ask for: a file like those in grants/, held for this run alone [default: that of exec:tool:run, if any]
    #[arg(long, value_name = "FILE")]
    grant: Option<PathBuf>,

    /// A variable of its environment, and the secret that is its value; its grant must allow `env_read` of it
    #[arg(long = "credential", value_name = "VAR=SECRET", value_parser = files::credential)]
    credentials: Vec<(String, String)>,

    /// A module that it may import beside those that docker/config.json names
    #[arg(long = "allow-import", value_name = "NAME")]
    allow_imports: Vec<String>,

    /// Only look through the code, and do not run it
    #[arg(long)]
    check: bool,

    /// Run it in the container of this session (see `packctl session`)
    #[arg(long, value_name = "NAME", hide = true)]
    session: Option<String>,

    /// Say on stderr how long it took and what it used
    #[arg(short, long)]
    verbose: bool,
}

impl Exec {
    /// The same in the container of a session.
    pub(crate) fn within(mut self, session: String) -> Self {
        self.session = Some(session);
        self
    }

    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        // Nobody said what it is written in, or that it should be guessed.
        let guessed = self.lang.as_deref().is_none_or(|lang| lang == "auto");
        let name = self.file.as_deref().map(|file| file.display().to_string());
        let spec = ExecSpec {
            name: name.unwrap_or_default(),
            code: files::code(self.code, self.file.as_deref())?,
            language: self.lang.unwrap_or_default(),
            max_time: self.time.unwrap_or(0),
            max_memory: self.memory.unwrap_or(0),
            credentials: self
                .credentials
                .into_iter()
                .map(|(env_var_name, credential_name)| ExecCredential {
                    env_var_name,
                    credential_name,
                })
                .collect(),
            network: self.network,
            grant_json: files::grant(self.grant.as_deref())?,
            allow_imports: self.allow_imports,
            check: self.check,
            session: self.session.unwrap_or_default(),
            files: files::read(&self.files)?,
            files_out: self.out.is_some(),
            stdin: files::input(self.stdin.as_deref())?.into(),
        };
        let request = ExecRequest {
            what: Some(What::Spec(spec)),
        };
        let (out, verbose) = (self.out, self.verbose);
        broker::converse(context, async move |client, context| {
            let reply = client
                .max_encoding_message_size(files::LARGEST_REQUEST)
                .exec(request)
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            if let Some(out) = &out {
                files::write(out, &reply.files)?;
            }
            show::all(context, reply, show::Asked { verbose, guessed })
        })
    }
}
