//! The Python environment of the compared packages.

use super::options::Shape;
use crate::process;
use crate::system;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python of a virtual environment under `target/` with the pinned packages. ImageReward has its own environment,
/// since it needs an older transformers.
pub(super) fn virtual_environment(workspace: &Workspace, shape: Option<Shape>) -> Result<PathBuf> {
    let is_image_reward = matches!(shape, Some(Shape::ImageReward));
    let suffix = if is_image_reward { "-image-reward" } else { "" };
    let folder = workspace.target.join(format!("bench-venv{suffix}"));
    let python = folder.join("bin/python");
    let requirements = workspace.root.join(format!("xtask/bench/requirements{suffix}.txt"));
    let wanted = fs::read(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let marker = folder.join("installed-requirements.txt");
    if fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if let Err(error) = create(&folder) {
        println!("    {error:#}");
        system::install(&["python3-venv"], "a virtual environment")?;
        create(&folder)?;
    }
    let install = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip
    };
    process::run(install().arg("-r").arg(&requirements))?;
    if is_image_reward {
        process::run(install().args(["--no-deps", "image-reward==1.5"]))?;
    }
    fs::write(&marker, wanted).with_context(|| format!("writing {}", marker.display()))?;
    Ok(python)
}

fn create(folder: &Path) -> Result<()> {
    process::capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).map(drop)
}
