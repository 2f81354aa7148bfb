//! From what a manifest says of a component to what its pool must know.

use std::time::Duration;

use rumi_policy::{
    Kind,
    manifest::{ComponentManifest, Requirements, Runner},
};

use super::load::{LoadError, Pack};
use crate::{
    config::Config,
    workers::{CommandStart, Program, ToolSpec},
};

/// Where a pack's code lies inside its container.
const CODE: &str = "/opt/pack";
/// The interpreter of packs without requirements of their own.
const SYSTEM_PYTHON: &str = "/usr/bin/python3.11";
/// The interpreter of packs with requirements.
const VENV_PYTHON: &str = "/opt/venv/bin/python";
const NODE: &str = "/usr/bin/node";
const NODE_RUNNER: &str = "/usr/lib/rumi/javascript/runner.js";
const BASH: &str = "/bin/bash";
/// Processes and threads of one call, unless the pack may have fewer.
const CALL_PIDS: u32 = 64;
/// What Node.js needs beside its heap, in MiB.
const NODE_OWN_MB: u64 = 64;

impl Pack {
    /// What the pool of a component must know.
    ///
    /// # Errors
    /// When the configuration has no such runner.
    pub fn tool(
        &self,
        component: &ComponentManifest,
        config: &Config,
    ) -> Result<ToolSpec, LoadError> {
        let service = component.id.kind() == Kind::Service;
        let limits = Limits::of(component, config);
        Ok(ToolSpec {
            component: component.id.clone(),
            program: self.program(component, config, limits.memory_mb)?,
            entry: format!("{CODE}/{}", component.entry),
            working_dir: component.working_dir.as_ref().map(ToString::to_string),
            env: component
                .env
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
            timeout: limits.timeout,
            memory_bytes: limits.memory_mb << 20,
            pids: u64::from(self.pids(config)),
            output_bytes: config.tool.max_output.bytes(),
            spares: if service {
                0
            } else {
                usize::from(config.tool.spares.get()).max(1)
            },
            service,
        })
    }

    fn program(
        &self,
        component: &ComponentManifest,
        config: &Config,
        memory_mb: u64,
    ) -> Result<Program, LoadError> {
        let entry = format!("{CODE}/{}", component.entry);
        let service = component.id.kind() == Kind::Service;
        let command = |argv, start| Ok(Program::Command { argv, start });
        match &component.runner {
            Runner::Python => Ok(self.python(component, config)),
            Runner::JavaScript if service => {
                command(vec![NODE.to_owned(), entry], CommandStart::AtCall)
            }
            Runner::JavaScript => {
                // A heap that ends before the call's memory does: collected in time, and reported.
                let heap = memory_mb.saturating_sub(NODE_OWN_MB).max(memory_mb / 2);
                let argv = vec![
                    NODE.to_owned(),
                    format!("--max-old-space-size={heap}"),
                    NODE_RUNNER.to_owned(),
                    entry,
                ];
                command(argv, CommandStart::Ahead)
            }
            Runner::Bash => command(vec![BASH.to_owned(), entry], CommandStart::AtCall),
            Runner::Configured(name) => match config.runners.command(name, &entry) {
                Some(argv) => command(argv, CommandStart::AtCall),
                None => Err(LoadError::Runner {
                    pack: self.manifest.id.clone(),
                    component: component.id.clone(),
                    runner: name.to_string(),
                    known: ["python", "javascript", "bash"]
                        .into_iter()
                        .chain(config.runners.names())
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", "),
                }),
            },
        }
    }

    fn python(&self, component: &ComponentManifest, config: &Config) -> Program {
        if let Some(path) = &component.python_path {
            return Program::Python {
                interpreter: path.to_string(),
                named_by: Some("python_path"),
            };
        }
        // What was installed for the pack is found by the interpreter that it was installed for.
        let usual = match (&self.manifest.requirements, &config.python.path) {
            (Requirements::File(_) | Requirements::Lines(_), _) => VENV_PYTHON,
            (Requirements::None, None) => SYSTEM_PYTHON,
            (Requirements::None, Some(path)) => {
                return Program::Python {
                    interpreter: path.to_string(),
                    named_by: Some("PYTHON_PATH"),
                };
            }
        };
        Program::Python {
            interpreter: usual.to_owned(),
            named_by: None,
        }
    }

    fn pids(&self, config: &Config) -> u32 {
        let most = config.pack.pids.get();
        self.manifest
            .limits
            .pids
            .map_or(most, |asked| asked.min(most))
            .min(CALL_PIDS)
    }
}

/// Limits of one call: the manifest's, else the environment's for Python, else the configured ones.
struct Limits {
    timeout: Duration,
    memory_mb: u64,
}

impl Limits {
    fn of(component: &ComponentManifest, config: &Config) -> Self {
        let python = component.runner == Runner::Python;
        let timeout = config.python.timeout.filter(|_| python);
        let timeout = timeout.unwrap_or(config.tool.timeout_ms);
        let memory = config.python.memory.filter(|_| python);
        let memory = memory.unwrap_or(config.tool.memory_mb);
        Self {
            timeout: component
                .timeout_ms
                .map_or(timeout.duration(), Duration::from_millis),
            memory_mb: component.memory_mb.map_or(memory.get(), u64::from),
        }
    }
}
