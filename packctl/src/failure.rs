//! Why a command did not do what was asked, and the exit code that says so.

use std::{io, path::PathBuf, process::ExitCode};

use crate::console::Console;

/// What the process answers with; scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Denied = 3,
    NotFound = 4,
    Unreachable = 5,
    Changed = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Everything that can go wrong in a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The words on the command line do not fit together.
    #[error("{message}")]
    Usage { message: String, hint: String },
    /// Something named does not exist.
    #[error("{message}")]
    NotFound { message: String, hint: String },
    /// Something was tried and did not work.
    #[error("{message}")]
    Failed { message: String, hint: String },
    /// A file or directory refused us.
    #[error("cannot {doing} `{}`", path.display())]
    Files {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Nobody answers on the control socket.
    #[error("the broker does not answer on `{}`", socket.display())]
    Unreachable {
        socket: PathBuf,
        hint: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker refused or failed.
    #[error("{message}")]
    Broker {
        exit: Exit,
        message: String,
        hint: Option<String>,
    },
    /// Standard output does not take what we write.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Everything has been said on stderr or stdout already.
    #[error("failed")]
    Said(Exit),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Failed { .. } | Self::Files { .. } => Exit::Failed,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Broker { exit, .. } | Self::Said(exit) => *exit,
            // The reader (`head`, a pager) has had enough; that is no failure.
            Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) => Exit::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::Failed { hint, .. }
            | Self::Unreachable { hint, .. } => Some(hint.clone()).filter(|hint| !hint.is_empty()),
            Self::Broker { hint, .. } => hint.clone(),
            Self::Files { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run packctl as root, or as the owner of that file".to_owned())
            }
            Self::Files { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space there; nothing was changed".to_owned())
            }
            Self::Files { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check how the path is spelled".to_owned())
            }
            Self::Files { .. } | Self::Output(_) | Self::Said(_) => None,
        }
    }

    /// Says on stderr what went wrong and what helps.
    pub(crate) fn report(&self, console: &Console) {
        match self {
            Self::Said(_) => return,
            Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => return,
            _ => {}
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            // Many errors repeat their source's words.
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        console.error(&text);
        if let Some(hint) = self.hint() {
            console.hint(&hint);
        }
    }

    /// An error of the file system about `path`.
    pub(crate) fn files(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files {
            doing,
            path,
            source,
        }
    }
}
