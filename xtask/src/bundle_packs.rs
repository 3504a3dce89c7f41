//! Files of the browser bundle that a page loads in one piece. The splitter writes about twenty modules, most of which several
//! islands share; compressed together, those of one island have a sixth fewer bytes than each for itself.

use crate::site_files::{files_of, write};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The module that every island needs, as wasm-bindgen names it.
const MAIN: &str = "frontend_bg";

/// The script of the splitter, which fetches modules.
pub(crate) const LOADER: &str = "islands.js";

/// Names of the modules of each island, by the island's function.
pub(crate) type Islands = BTreeMap<String, Vec<String>>;

/// Replaces the modules of a bundle by a file for each island, with the extension `pack`: a line of JSON with names and sizes, then
/// the modules.
pub(crate) fn pack(folder: &Path, islands: &Islands) -> Result<()> {
    for (island, modules) in islands {
        let mut names = vec![MAIN.to_owned()];
        names.extend(modules.iter().cloned());
        let mut sizes = Vec::new();
        let mut bytes = Vec::new();
        for name in names {
            let file = folder.join(format!("{name}.wasm"));
            let module = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            sizes.push((name, module.len()));
            bytes.extend(module);
        }
        let mut packed = serde_json::to_vec(&sizes)?;
        packed.push(b'\n');
        packed.extend(bytes);
        write(&folder.join(format!("{}.pack", file_stem(island))), &packed)?;
    }
    for module in files_of(folder, "wasm")? {
        fs::remove_file(&module).with_context(|| format!("removing {}", module.display()))?;
    }
    let loader = folder.join(LOADER);
    let script = fs::read_to_string(&loader).with_context(|| format!("reading {}", loader.display()))?;
    write(&loader, from_packs(&script)?.as_bytes())
}

/// The name of an island's file: `RunLive` of the page, `run_live_loader_123` of the splitter, give `runlive`.
fn file_stem(island: &str) -> String {
    let name = island.split("_loader").next().unwrap_or(island);
    name.chars().filter(|character| *character != '_').collect()
}

/// The splitter's script, which takes modules from the files that the page has loaded.
fn from_packs(script: &str) -> Result<String> {
    const FETCH: &str = "fetch(new URL(\"./";
    let mut parts = script.split(FETCH);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut modules = 0;
    for part in parts {
        let (name, rest) = part
            .split_once(".wasm\", import.meta.url))")
            .with_context(|| format!("{LOADER} fetches a module in another way: update `from_packs`"))?;
        text.push_str(&format!("globalThis.bundlePart(\"{name}\")"));
        text.push_str(rest);
        modules += 1;
    }
    ensure!(modules > 0, "{LOADER} fetches no module: update `from_packs`");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Islands, LOADER, pack};

    #[test]
    fn modules_of_an_island_are_in_one_file() {
        let folder = std::env::temp_dir().join(format!("packs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = |name: &str| folder.join(name);
        for (name, text) in [("frontend_bg.wasm", "main"), ("chunk_1.wasm", "one"), ("split_a.wasm", "a")] {
            std::fs::write(file(name), text).expect("written");
        }
        let script = "const src = fetch(new URL(\"./chunk_1.wasm\", import.meta.url));\n";
        std::fs::write(file(LOADER), script).expect("written");
        let islands: Islands =
            [("run_live_loader_12".to_owned(), vec!["chunk_1".to_owned(), "split_a".to_owned()])].into();
        pack(&folder, &islands).expect("packed");
        let packed = std::fs::read_to_string(file("runlive.pack")).expect("a pack");
        assert_eq!(packed, "[[\"frontend_bg\",4],[\"chunk_1\",3],[\"split_a\",1]]\nmainonea");
        assert!(!file("chunk_1.wasm").exists());
        let script = std::fs::read_to_string(file(LOADER)).expect("a script");
        assert_eq!(script, "const src = globalThis.bundlePart(\"chunk_1\");\n");
        // A script of another form is refused: pages would not find their modules.
        std::fs::write(file(LOADER), "import(\"./chunk_1.wasm\")").expect("written");
        pack(&folder, &Islands::new()).expect_err("no fetch");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
