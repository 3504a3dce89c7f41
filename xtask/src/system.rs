//! Programs of this machine, and the installation of missing ones.

use crate::process;
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

/// The compiler's target for the browser.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Searches the path for a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// Root may install packages, but must not run Postgres.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs Debian packages. Without root or apt-get, fails with the command that the user has to run.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    if !is_root() || find("apt-get").is_none() {
        bail!("{purpose} needs {list}: install it, for example with `sudo apt-get install {list}`");
    }
    println!("    {purpose} needs {list}: installing");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    process::run(apt().arg("update")).context("updating the package lists")?;
    process::run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

/// Installs a package of npm, `NAME@VERSION`, below the target directory. Returns its folder.
pub(crate) fn npm_package(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let folder = workspace.target.join("npm");
    let name = package.split('@').next().unwrap_or(package);
    let installed = folder.join("node_modules").join(name);
    let marker = folder.join(package);
    if !(installed.is_dir() && marker.is_file()) {
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let flags = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", package];
        process::capture(Command::new("npm").current_dir(&folder).args(flags))
            .with_context(|| format!("installing {package}"))?;
        std::fs::write(&marker, "").with_context(|| format!("writing {}", marker.display()))?;
    }
    Ok(installed)
}

/// Installs the programs that are not on the path; each has the name of its package.
pub(crate) fn programs(names: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| find(name).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing, purpose) }
}

/// The browser of the tests: `CHROMIUM`, an installed Chromium or Chrome, or else a newly installed Chromium.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    let installed = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find);
    if let Some(path) = installed() {
        return Ok(path);
    }
    install(&["chromium"], "the browser test")?;
    installed().context("chromium was installed but is not on the path: set CHROMIUM to its path")
}

/// Adds a component of the toolchain (`rustfmt` for `cargo fmt`) if it is missing.
pub(crate) fn toolchain_component(subcommand: &str, component: &str) -> Result<()> {
    if process::capture(cargo().args([subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["component", "add", component]))
}

/// Adds the wasm target to the toolchain if it is missing.
pub(crate) fn wasm_target() -> Result<()> {
    let libraries =
        process::capture(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM_TARGET]))?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["target", "add", WASM_TARGET]))
}

/// A program that cargo installs from crates.io: one on the path, or else this version under `target/tools`.
pub(crate) fn cargo_tool(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    if let Some(program) = find(name) {
        return Ok(program);
    }
    let folder = workspace.target.join("tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        // A debug build compiles in a third of the time and runs fast enough.
        let install = ["install", "--debug", "--locked", "--version", version, name, "--root"];
        process::run(cargo().args(install).arg(&folder))?;
    }
    Ok(program)
}

/// A TCP port on the loopback interface that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
