//! `cargo xtask frontend`: compiles the pages' browser code to wasm, binds it to JavaScript, optimizes and compresses it.

use crate::process;
use crate::steps::{Steps, format_duration};
use crate::system::{self, WASM_TARGET};
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{fs, io};
use wasm_bindgen_cli_support::Bindgen;

/// The npm package with `wasm-opt`.
const BINARYEN: &str = "binaryen@132.0.0";

/// The wasm features that `wasm-opt` may use: those that rustc enables, which all current browsers support. With all
/// features enabled, `wasm-opt` writes modules that browsers refuse (compact imports).
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Skip optimization: compiles faster, and the bundle is larger.
    #[arg(long)]
    dev: bool,
    /// Optimize for size (the default).
    #[arg(long, conflicts_with = "dev")]
    release: bool,
}

/// How the bundle is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Unoptimized.
    Dev,
    /// Optimized for size.
    Small,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let profile = if options.dev { Profile::Dev } else { Profile::Small };
    let mut steps = Steps::new();
    steps.run("frontend", || build(&workspace, profile))?;
    Ok(ExitCode::SUCCESS)
}

/// Cargo's arguments for the browser build. It and the server build need different features of the same crate.
pub(crate) const BROWSER_BUILD: [&str; 8] =
    ["-p", "frontend", "--lib", "--target", WASM_TARGET, "--no-default-features", "--features", "hydrate"];

/// Builds `target/site/pkg`. Does nothing if the compiled module has not changed.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    system::wasm_target()?;
    let name = if profile == Profile::Dev { "dev" } else { "wasm" };
    process::run(
        cargo().current_dir(&workspace.root).arg("build").args(BROWSER_BUILD).args(["--profile", name]),
    )?;
    let folder = if profile == Profile::Dev { "debug" } else { "wasm" };
    let module = workspace.target.join(WASM_TARGET).join(folder).join("frontend.wasm");
    let optimizer = if profile == Profile::Small { wasm_opt(workspace) } else { None };

    let site = workspace.target.join("site");
    let stamp = stamp(&module, optimizer.is_some())?;
    let package = site.join("pkg");
    if fs::read_to_string(package.join("stamp")).is_ok_and(|old| old == stamp) {
        println!("    {} is up to date", package.display());
        return Ok(());
    }
    // In a folder beside the old one, then renamed: a running server never serves an incomplete bundle.
    let new = site.join("pkg.new");
    remove(&new)?;
    fs::create_dir_all(&new).with_context(|| format!("creating {}", new.display()))?;
    bind(&module, &new, profile)?;
    if let Some(optimizer) = optimizer {
        optimize(&optimizer, &new.join("frontend_bg.wasm"))?;
    }
    for file in ["frontend.js", "frontend_bg.wasm"] {
        compress(&new.join(file))?;
    }
    write(&new.join("stamp"), stamp.as_bytes())?;
    remove(&package)?;
    fs::rename(&new, &package).with_context(|| format!("renaming {}", new.display()))
}

/// Hash of the module and the options of `wasm-opt`: equal stamps mean equal bundles.
fn stamp(module: &Path, optimized: bool) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    fs::read(module).with_context(|| format!("reading {}", module.display()))?.hash(&mut hasher);
    let options = if optimized {
        format!("{BINARYEN} {}", WASM_FEATURES.join(" "))
    } else {
        "not optimized".to_owned()
    };
    Ok(format!("{:016x} {options}", hasher.finish()))
}

/// Does what the wasm-bindgen tool does, in the version that `Cargo.lock` pins.
fn bind(module: &Path, folder: &Path, profile: Profile) -> Result<()> {
    let began = Instant::now();
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name("frontend").typescript(false).web(true)?;
    if profile == Profile::Small {
        bindgen.remove_name_section(true).remove_producers_section(true);
    }
    bindgen.generate(folder).context("generating the JavaScript bindings")?;
    println!("    generated the JavaScript bindings ({})", format_duration(began.elapsed()));
    Ok(())
}

/// Installs `wasm-opt` from npm. Without it the bundle works but is larger, so a failure is only printed.
fn wasm_opt(workspace: &Workspace) -> Option<PathBuf> {
    let folder = workspace.target.join("npm");
    let program = folder.join("node_modules/.bin/wasm-opt");
    let marker = folder.join(BINARYEN);
    if !(program.is_file() && marker.is_file()) {
        let installed = fs::create_dir_all(&folder).map_err(anyhow::Error::from).and_then(|()| {
            process::capture(Command::new("npm").current_dir(&folder).args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                ".",
                BINARYEN,
            ]))?;
            write(&marker, b"")
        });
        if let Err(error) = installed {
            println!("    wasm-opt is not available, so the bundle is larger: {error:#}");
            return None;
        }
    }
    Some(program)
}

fn optimize(optimizer: &Path, module: &Path) -> Result<()> {
    let began = Instant::now();
    let before = fs::metadata(module)?.len();
    let optimized = module.with_extension("optimized");
    process::capture(
        Command::new(optimizer).arg("-Oz").args(WASM_FEATURES).arg(module).arg("-o").arg(&optimized),
    )?;
    // Node.js compiles modules as browsers do. A module that it refuses fails the build.
    let read = "new WebAssembly.Module(require('fs').readFileSync(process.argv[1]))";
    process::capture(Command::new("node").args(["-e", read]).arg(&optimized))
        .context("Node.js cannot compile the optimized module")?;
    fs::rename(&optimized, module)?;
    let after = fs::metadata(module)?.len();
    println!(
        "    wasm-opt: {} kB -> {} kB ({})",
        before / 1000,
        after / 1000,
        format_duration(began.elapsed())
    );
    Ok(())
}

fn compress(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    let compressed = encoder.finish()?;
    println!(
        "    {}: {} kB, compressed {} kB",
        file.file_name().unwrap_or_default().display(),
        bytes.len() / 1000,
        compressed.len() / 1000
    );
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    write(Path::new(&name), &compressed)
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
