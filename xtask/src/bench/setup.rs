//! The programs that a benchmark runs.

use super::options::{Options, Task};
use super::python;
use crate::deployment::{self, Build};
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Setup {
    pub(super) workspace: Workspace,
    pub(super) threads: usize,
    program: PathBuf,
    python: PathBuf,
}

impl Setup {
    /// Builds our program and installs the Python packages, where the options name neither.
    pub(super) fn new(options: &Options, steps: &mut Steps) -> Result<Self> {
        let workspace = Workspace::find()?;
        let threads = options.threads.map_or_else(std::thread::available_parallelism, Ok)?.get();
        let python = match (&options.python, options.task) {
            // These compare our programs with each other.
            (_, Task::Objectives | Task::Kernels | Task::Prepared) => PathBuf::new(),
            (Some(python), _) => python.clone(),
            (None, _) => steps.run("Python packages from PyPI", || {
                python::virtual_environment(&workspace, options.shape)
            })?,
        };
        let program = match &options.program {
            Some(program) => program.clone(),
            None => {
                // Together with what `demo` builds: built alone, its dependencies have fewer features and would be
                // compiled again.
                steps.run("release build", || {
                    deployment::build_with(&workspace, Build::Release, &["benchmark"])
                })?;
                workspace.target.join("release/diff-contrast-benchmark")
            }
        };
        Ok(Self { workspace, threads, program, python })
    }

    /// `diff-contrast-benchmark`.
    pub(super) fn program(&self) -> Command {
        Command::new(&self.program)
    }

    pub(super) fn python(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(script);
        command
    }

    /// Limits a program's threads by flag and by the variables that rayon and OpenMP read.
    pub(super) fn limit_threads(&self, command: &mut Command) {
        let threads = self.threads.to_string();
        command
            .args(["--threads", &threads])
            .env("RAYON_NUM_THREADS", &threads)
            .env("OMP_NUM_THREADS", &threads);
    }
}
