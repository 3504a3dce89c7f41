//! `cargo xtask frontend`: compiles the pages' browser code to wasm, binds it to JavaScript, optimizes and compresses it.

use crate::book;
use crate::bundle_packs::{Islands, LOADER, pack};
use crate::process;
use crate::site_files::{compress_folder, files_of, hash_files, remove, write};
use crate::steps::{Steps, format_duration};
use crate::system::{self, WASM_TARGET};
use crate::workspace::{Workspace, cargo};
use anyhow::{Context, Result};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
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

/// Part of the hash of a bundle: a new number for another way of making it from the same files.
const LAYOUT: u32 = 2;

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

/// Builds `target/site`: the bundle in `pkg` and the documentation in `help`. Does nothing for a part that has not changed.
///
/// The files of a bundle lie in a folder whose name is a hash of all they are made from, so that browsers may keep them for
/// good. The file `current` names the folder; it is written last, so that a running server never serves an incomplete
/// bundle. The bundle before it stays, for pages that are open.
pub(crate) fn build(workspace: &Workspace, profile: Profile) -> Result<()> {
    system::wasm_target()?;
    let name = if profile == Profile::Dev { "dev" } else { "wasm" };
    process::run(
        cargo()
            .current_dir(&workspace.root)
            .arg("rustc")
            .args(BROWSER_BUILD)
            .args(["--crate-type", "cdylib", "--profile", name])
            // The module is split along its relocations.
            .args(["--", "-Clink-arg=--emit-relocs"]),
    )?;
    let folder = if profile == Profile::Dev { "debug" } else { "wasm" };
    let module = workspace.target.join(WASM_TARGET).join(folder).join("frontend.wasm");
    let optimizer = if profile == Profile::Small { wasm_opt(workspace) } else { None };
    let static_files = workspace.root.join("static");
    let site = workspace.target.join("site");
    book::build(&workspace.root.join("docs"), &site.join("help"))?;

    let package = site.join("pkg");
    let hash = bundle_hash(&module, &static_files, optimizer.is_some())?;
    let old = fs::read_to_string(package.join("current")).unwrap_or_default();
    if old == hash && package.join(&hash).is_dir() {
        println!("    {} is up to date", package.join(hash).display());
        return Ok(());
    }
    let new = package.join("new");
    remove(&new)?;
    fs::create_dir_all(&new).with_context(|| format!("creating {}", new.display()))?;
    let islands = bind(&module, &new, profile)?;
    if let Some(optimizer) = optimizer {
        optimize_all(&optimizer, &files_of(&new, "wasm")?)?;
    }
    pack(&new, &islands)?;
    for file in files_of(&static_files, "")? {
        let name = file.file_name().unwrap_or_default();
        fs::copy(&file, new.join(name)).with_context(|| format!("copying {}", file.display()))?;
    }
    compress_folder(&new)?;
    remove(&package.join(&hash))?;
    fs::rename(&new, package.join(&hash)).with_context(|| format!("renaming {}", new.display()))?;
    write(&package.join("current.new"), hash.as_bytes())?;
    fs::rename(package.join("current.new"), package.join("current")).context("naming the current bundle")?;
    remove_bundles(&package, [&hash, &old])
}

/// Removes what is neither of two bundles.
fn remove_bundles(package: &Path, kept: [&String; 2]) -> Result<()> {
    for entry in fs::read_dir(package).with_context(|| format!("reading {}", package.display()))? {
        let path = entry?.path();
        let keep = kept.iter().any(|name| path.file_name().is_some_and(|found| found == name.as_str()));
        if path.is_dir() && !keep {
            remove(&path)?;
        } else if path.is_file() && path.file_name().is_some_and(|name| name != "current") {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Hash of the module, the static files, and how they are processed: equal hashes mean equal bundles.
fn bundle_hash(module: &Path, static_files: &Path, optimized: bool) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![module.to_owned()];
    files.extend(files_of(static_files, "")?);
    hash_files(&files, &mut hasher)?;
    (LAYOUT, optimized.then_some((BINARYEN, WASM_FEATURES))).hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// Splits the module at its lazy islands, then does what the wasm-bindgen tool does, in the version that `Cargo.lock`
/// pins. Each island becomes a module of its own, and what only some of them share becomes further modules. Returns which modules
/// an island needs.
fn bind(module: &Path, folder: &Path, profile: Profile) -> Result<Islands> {
    let began = Instant::now();
    let input = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let main = folder.join("main.wasm");
    let mut options = wasm_split_cli_support::Options::new(&input);
    options.output_dir = folder;
    options.main_out_path = &main;
    let link = format!("./{LOADER}");
    options.link_name = &link;
    options.main_module = "./frontend.js";
    let split = wasm_split_cli_support::transform(options)
        .map_err(|report| anyhow::anyhow!("splitting {}: {report:#}", module.display()))?;
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&main).out_name("frontend").typescript(false).web(true)?;
    bindgen.keep_lld_exports(true).demangle(false);
    if profile == Profile::Small {
        bindgen.remove_name_section(true).remove_producers_section(true);
    }
    bindgen.generate(folder).context("generating the JavaScript bindings")?;
    fs::remove_file(&main).with_context(|| format!("removing {}", main.display()))?;
    println!(
        "    split off {} modules and generated the JavaScript bindings ({})",
        split.split_modules.len(),
        format_duration(began.elapsed())
    );
    Ok(split.prefetch_map.into_iter().collect())
}

/// Installs `wasm-opt` from npm. Without it the bundle works but is larger, so a failure is only printed.
fn wasm_opt(workspace: &Workspace) -> Option<PathBuf> {
    match system::npm_package(workspace, BINARYEN) {
        Ok(package) => Some(package.join("bin/wasm-opt")),
        Err(error) => {
            println!("    wasm-opt is not available, so the bundle is larger: {error:#}");
            None
        }
    }
}

/// Optimizes modules two at a time: the tool spends most of its time starting.
fn optimize_all(optimizer: &Path, modules: &[PathBuf]) -> Result<()> {
    for pair in modules.chunks(2) {
        std::thread::scope(|scope| {
            let work: Vec<_> =
                pair.iter().map(|module| scope.spawn(move || optimize(optimizer, module))).collect();
            work.into_iter().try_for_each(|work| {
                work.join().map_err(|_| anyhow::anyhow!("the thread of wasm-opt panicked"))?
            })
        })?;
    }
    Ok(())
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
