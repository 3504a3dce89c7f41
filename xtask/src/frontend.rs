//! The browser's half of the pages: compiled to wasm, bound to JavaScript, made small, compressed once.

use crate::process;
use crate::steps::{Steps, seconds};
use crate::system;
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

const TARGET: &str = "wasm32-unknown-unknown";
/// The npm package that brings `wasm-opt`.
const BINARYEN: &str = "binaryen@132.0.0";

/// What `wasm-opt` may use: what the compiler's target has by itself, and every browser of the last years knows. With all
/// that it knows it writes modules that browsers of today refuse (compact imports).
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// What `frontend` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compile fast and leave the bundle large (the default is small).
    #[arg(long)]
    dev: bool,
    /// The default, spelled out.
    #[arg(long, conflicts_with = "dev")]
    release: bool,
}

/// How the bundle is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Compiles fast.
    Dev,
    /// Loads fast.
    Small,
}

/// `cargo xtask frontend`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let profile = if options.dev { Profile::Dev } else { Profile::Small };
    let mut steps = Steps::new();
    steps.take("frontend", || build(&workspace, profile))?;
    Ok(ExitCode::SUCCESS)
}

/// Cargo's arguments that select what runs in the browser. Its features never meet those of the server's half.
pub(crate) const BROWSER_HALF: [&str; 8] =
    ["-p", "frontend", "--lib", "--target", TARGET, "--no-default-features", "--features", "hydrate"];

/// Makes `target/site/pkg` what the sources say it is; does nothing when it already is.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    system::wasm_target()?;
    let name = if profile == Profile::Dev { "dev" } else { "wasm" };
    process::run(
        cargo().current_dir(&workspace.root).arg("build").args(BROWSER_HALF).args(["--profile", name]),
    )?;
    let folder = if profile == Profile::Dev { "debug" } else { "wasm" };
    let module = workspace.target.join(TARGET).join(folder).join("frontend.wasm");
    let optimizer = if profile == Profile::Small { wasm_opt(workspace) } else { None };

    let site = workspace.target.join("site");
    let stamp = stamp(&module, optimizer.is_some())?;
    let package = site.join("pkg");
    if fs::read_to_string(package.join("stamp")).is_ok_and(|old| old == stamp) {
        println!("    {} is up to date", package.display());
        return Ok(());
    }
    // Beside the old one first: a server that runs meanwhile never serves half a bundle.
    let fresh = site.join("pkg.new");
    remove(&fresh)?;
    fs::create_dir_all(&fresh).with_context(|| format!("creating {}", fresh.display()))?;
    bind(&module, &fresh, profile)?;
    if let Some(optimizer) = optimizer {
        shrink(&optimizer, &fresh.join("frontend_bg.wasm"))?;
    }
    for file in ["frontend.js", "frontend_bg.wasm"] {
        compress(&fresh.join(file))?;
    }
    write(&fresh.join("stamp"), stamp.as_bytes())?;
    remove(&package)?;
    fs::rename(&fresh, &package).with_context(|| format!("renaming {}", fresh.display()))
}

/// Which input, made how: equal stamps mean equal bundles.
fn stamp(module: &Path, optimized: bool) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    fs::read(module).with_context(|| format!("reading {}", module.display()))?.hash(&mut hasher);
    let made =
        if optimized { format!("{BINARYEN} {}", WASM_FEATURES.join(" ")) } else { "as compiled".to_owned() };
    Ok(format!("{:016x} {made}", hasher.finish()))
}

/// What the wasm-bindgen tool does, in the version that our lock file pins.
fn bind(module: &Path, folder: &Path, profile: Profile) -> Result<()> {
    let began = Instant::now();
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name("frontend").typescript(false).web(true)?;
    if profile == Profile::Small {
        bindgen.remove_name_section(true).remove_producers_section(true);
    }
    bindgen.generate(folder).context("binding the module to JavaScript")?;
    println!("    bound to JavaScript ({})", seconds(began.elapsed()));
    Ok(())
}

/// `wasm-opt` from npm. The bundle works without it and is then larger, so its absence is only said.
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
            println!("    without wasm-opt, so the bundle stays larger: {error:#}");
            return None;
        }
    }
    Some(program)
}

fn shrink(optimizer: &Path, module: &Path) -> Result<()> {
    let began = Instant::now();
    let before = fs::metadata(module)?.len();
    let smaller = module.with_extension("smaller");
    process::capture(
        Command::new(optimizer).arg("-Oz").args(WASM_FEATURES).arg(module).arg("-o").arg(&smaller),
    )?;
    // Node.js, which brought the tool, reads modules as browsers do: better no bundle than one that pages cannot start.
    let read = "new WebAssembly.Module(require('fs').readFileSync(process.argv[1]))";
    process::capture(Command::new("node").args(["-e", read]).arg(&smaller))
        .context("the smaller bundle cannot be started")?;
    fs::rename(&smaller, module)?;
    let after = fs::metadata(module)?.len();
    println!("    wasm-opt: {} kB -> {} kB ({})", before / 1000, after / 1000, seconds(began.elapsed()));
    Ok(())
}

fn compress(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    let packed = encoder.finish()?;
    println!(
        "    {}: {} kB, compressed {} kB",
        file.file_name().unwrap_or_default().display(),
        bytes.len() / 1000,
        packed.len() / 1000
    );
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    write(Path::new(&name), &packed)
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
