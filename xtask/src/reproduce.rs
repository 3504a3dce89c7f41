//! `cargo xtask reproduce`: the paper's tables in miniature, as studies of the bundled model.

use crate::background::Background;
use crate::process;
use crate::site_files::files_of;
use crate::steps::Steps;
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The quick studies, about 20 minutes on two cores; the default.
    #[arg(long, conflicts_with_all = ["full", "report"])]
    quick: bool,
    /// The full studies, which take hours; their results go to docs/reproduction.
    #[arg(long, conflicts_with = "report")]
    full: bool,
    /// Make the reports in docs/reproduction again from the scores there; runs no study.
    #[arg(long)]
    report: bool,
    /// Only the studies whose names contain this text, for example table2.
    #[arg(long)]
    only: Option<String>,
}

/// Where the specs are, and where committed results are.
const SPECS: &str = "trainer/configs/studies";
const COMMITTED: &str = "docs/reproduction";
/// What is committed of a study: its results, and the report that is made from them.
const FILES: [&str; 6] =
    ["study.json", "scores.csv", "curves.csv", "times.json", "report.json", "report.html"];
/// Most processes that share a study. Each takes about 1 GiB.
const MOST_PROCESSES: usize = 8;

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut steps = Steps::new();
    steps.run("build", || build(&workspace))?;
    let trainer = workspace.target.join("demo/diff-contrast-trainer");
    let is_wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if options.report {
        for folder in folders(&workspace.root.join(COMMITTED))? {
            let name = name_of(&folder);
            if is_wanted(&name) && folder.join("study.json").is_file() {
                let mut command = Command::new(&trainer);
                command.args(["study", "report"]).arg(&folder);
                steps.run(&name, || process::run(&mut command))?;
            }
        }
        steps.print_summary();
        return Ok(ExitCode::SUCCESS);
    }
    let kind = if options.full { "full" } else { "quick" };
    let mut pages = Vec::new();
    for spec in files_of(&workspace.root.join(SPECS).join(kind), "toml")? {
        let name = name_of(&spec);
        if !is_wanted(&name) {
            continue;
        }
        // Relative, as in the command that a reader would type.
        let out = Path::new("data/reproduction").join(kind).join(&name);
        steps.run(&name, || study(&workspace, &trainer, &spec, &out))?;
        let folder = workspace.root.join(&out);
        if options.full {
            let to = workspace.root.join(COMMITTED).join(&name);
            steps.run(&format!("{name}: results"), || keep(&workspace, &folder, &to))?;
        }
        pages.push(folder.join("report.html"));
    }
    steps.print_summary();
    ensure!(!pages.is_empty(), "no study of {SPECS}/{kind} has such a name");
    for page in pages {
        println!("{}", page.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut command = cargo();
    process::run(command.current_dir(&workspace.root).args(["build", "--profile", "demo", "-p", "trainer"]))
}

/// Runs a study by one process per core, each on one thread: the jobs are independent, and the bundled model is small.
fn study(workspace: &Workspace, trainer: &Path, spec: &Path, out: &Path) -> Result<()> {
    let command = || {
        let mut command = Command::new(trainer);
        command.current_dir(&workspace.root).arg("study").arg(spec).arg("--out").arg(out);
        command.env("RAYON_NUM_THREADS", "1");
        command
    };
    let folder = workspace.root.join(out);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let others = 1..available_parallelism()?.get().min(MOST_PROCESSES);
    let others = others.map(|number| {
        let log = folder.join(format!("process-{number}.log"));
        Background::start("study", &mut command(), &log)
    });
    let _others = others.collect::<Result<Vec<_>>>()?;
    process::run(&mut command())
}

/// Copies the results of a study to where they are committed, with what they were computed by.
fn keep(workspace: &Workspace, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).with_context(|| format!("copying {file}"))?;
    }
    copy_folder(&from.join("samples"), &to.join("samples"))?;
    let origin = json!({
        "commit": commit(workspace)?,
        "processor": processor(),
        "cores": available_parallelism()?.get(),
    });
    fs::write(to.join("origin.json"), format!("{origin:#}\n")).context("writing origin.json")
}

/// The commit, marked if files differ from it.
fn commit(workspace: &Workspace) -> Result<String> {
    let git = |arguments: &[&str]| {
        process::capture(Command::new("git").current_dir(&workspace.root).args(arguments))
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    let commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
    Ok(if changed { format!("{commit}, with changes") } else { commit })
}

/// The name of the processor.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for from in entries(from)? {
        let to = to.join(from.file_name().unwrap_or_default());
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut found =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    found.sort();
    Ok(found)
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
