//! The allowed dependencies between the workspace's crates. A dependency that is not listed fails the test. Server and
//! trainer, for example, share data only through the database and the artifact store.

use crate::workspace::Workspace;
use serde_json::Value;

/// Each crate with its allowed dependencies, dev-dependencies included.
const ALLOWED: [(&str, &[&str]); 19] = [
    ("domain", &[]),
    ("files", &[]),
    ("shapes", &[]),
    ("process", &["domain"]),
    ("hub", &["files", "process"]),
    ("diffusion", &["files"]),
    ("store", &["domain", "files"]),
    // Files of pairs, for training and for the page that shows them: no tensors, no database.
    ("datasets", &["domain", "files"]),
    ("evaluation", &["diffusion", "files"]),
    ("catalogue", &["domain", "files", "process", "store", "datasets", "diffusion", "shapes"]),
    (
        "training",
        &[
            "domain",
            "files",
            "process",
            "hub",
            "store",
            "datasets",
            "diffusion",
            "evaluation",
            "catalogue",
            "shapes",
        ],
    ),
    ("shapes_model", &["domain", "files", "process", "shapes", "diffusion", "evaluation", "training"]),
    ("benchmark", &["domain", "process", "datasets", "diffusion", "evaluation", "catalogue", "training"]),
    (
        "trainer",
        &[
            "domain",
            "files",
            "process",
            "hub",
            "store",
            "datasets",
            "diffusion",
            "evaluation",
            "catalogue",
            "training",
            "shapes",
            "shapes_model",
        ],
    ),
    ("frontend", &["domain"]),
    (
        "server",
        &[
            "domain",
            "files",
            "process",
            "store",
            "datasets",
            "diffusion",
            "evaluation",
            "catalogue",
            "frontend",
            "shapes",
        ],
    ),
    ("pages_database", &["domain", "process", "store"]),
    ("fuzz_targets", &["datasets", "diffusion", "domain"]),
    ("xtask", &[]),
];

/// Every dependency between our crates that [`ALLOWED`] does not list, and every crate that it does not list.
fn forbidden(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            found.push(format!("{name} is not listed"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&to) && !allowed.contains(&to) {
                found.push(format!("{name} -> {to}"));
            }
        }
    }
    found
}

#[test]
fn crates_have_only_allowed_dependencies() {
    let workspace = Workspace::find().expect("cargo metadata");
    assert_eq!(forbidden(&workspace.metadata), Vec::<String>::new());
    let mut crates: Vec<&str> = workspace.crates().collect();
    let mut listed = ALLOWED.map(|(name, _)| name);
    crates.sort_unstable();
    listed.sort_unstable();
    assert_eq!(crates, listed, "ALLOWED lists exactly the crates of the workspace");
}

#[test]
fn a_forbidden_dependency_and_an_unlisted_crate_are_found() {
    let metadata = serde_json::json!({ "packages": [
        { "name": "domain", "dependencies": [{ "name": "serde", "kind": null }, { "name": "store", "kind": "dev" }] },
        { "name": "store", "dependencies": [{ "name": "domain", "kind": null }] },
        { "name": "helpers", "dependencies": [] },
    ] });
    assert_eq!(forbidden(&metadata), ["domain -> store", "helpers is not listed"]);
}

/// The dependencies of a manifest that state a version or path of their own.
fn own_versions(manifest: &toml::Table) -> Vec<&str> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
    std::iter::once(manifest)
        .chain(tables)
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flatten()
        .filter(|(_, dependency)| dependency.get("workspace").and_then(toml::Value::as_bool) != Some(true))
        .map(|(name, _)| name.as_str())
        .collect()
}

#[test]
fn versions_are_stated_in_the_workspace_manifest_only() {
    let workspace = Workspace::find().expect("cargo metadata");
    for package in workspace.metadata["packages"].as_array().expect("packages") {
        let path = package["manifest_path"].as_str().expect("a path");
        let manifest = std::fs::read_to_string(path).expect("a manifest").parse().expect("TOML");
        assert_eq!(own_versions(&manifest), Vec::<&str>::new(), "{path}: use `workspace = true`");
    }
    let manifest = "[dependencies]\na.workspace = true\nb = '1'\n[target.'cfg(unix)'.dev-dependencies]\nc = { version = '1' }";
    assert_eq!(own_versions(&manifest.parse().expect("TOML")), ["b", "c"]);
}
