//! Which of our crates may depend on which. Arrows never turn back, and none exists that is not listed here:
//! server and trainer, for one, meet only in the database and in the artifact store.

#![cfg(test)]

use crate::workspace::Workspace;
use serde_json::Value;

/// Every crate and what it may depend on, for building and for testing alike.
const ALLOWED: [(&str, &[&str]); 17] = [
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
    ("xtask", &[]),
];

/// Every edge between our crates that no line above allows, and every crate without a line.
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
fn crates_depend_only_along_the_arrows() {
    let workspace = Workspace::find().expect("cargo describes the workspace");
    assert_eq!(forbidden(&workspace.metadata), Vec::<String>::new());
    let mut crates: Vec<&str> = workspace.crates().collect();
    let mut listed = ALLOWED.map(|(name, _)| name);
    crates.sort_unstable();
    listed.sort_unstable();
    assert_eq!(crates, listed, "a crate that is gone leaves no line behind");
}

#[test]
fn an_arrow_that_turns_back_is_found() {
    let metadata = serde_json::json!({ "packages": [
        { "name": "domain", "dependencies": [{ "name": "serde", "kind": null }, { "name": "store", "kind": "dev" }] },
        { "name": "store", "dependencies": [{ "name": "domain", "kind": null }] },
        { "name": "helpers", "dependencies": [] },
    ] });
    assert_eq!(forbidden(&metadata), ["domain -> store", "helpers is not listed"]);
}
