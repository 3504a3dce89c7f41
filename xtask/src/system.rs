//! What the machine has, and how it gets what it lacks.

use crate::process;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// A program on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// Whether we may install packages, and must not run a database as ourselves.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs Debian packages; where that is not ours to do, says what a person has to type.
pub(crate) fn install(packages: &[&str], reason: &str) -> Result<()> {
    let list = packages.join(" ");
    if !is_root() || find("apt-get").is_none() {
        bail!("{reason} needs {list}: install it, for example with `sudo apt-get install {list}`");
    }
    println!("    {reason} needs {list}: installing");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    process::run(apt().arg("update")).context("refreshing the list of packages")?;
    process::run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

/// A browser for the tests: the one named by CHROMIUM, one that is installed, or a fresh one.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    let installed = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find);
    if let Some(path) = installed() {
        return Ok(path);
    }
    install(&["chromium"], "the browser test")?;
    installed().context("chromium was installed but is not on the path: set CHROMIUM")
}

/// Adds a component of the toolchain (`cargo fmt`, `cargo clippy`) when it is missing.
pub(crate) fn toolchain_component(subcommand: &str, component: &str) -> Result<()> {
    if process::capture(crate::workspace::cargo().args([subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["component", "add", component]))
}

/// Adds the compiler's wasm target when it is missing.
pub(crate) fn wasm_target() -> Result<()> {
    let target = "wasm32-unknown-unknown";
    let libraries =
        process::capture(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["target", "add", target]))
}
