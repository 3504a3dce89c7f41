//! Documentation refers to files, folders and headings that exist.

use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the repository that a path in documentation starts with.
const FOLDERS: [&str; 13] = [
    ".ci/",
    ".github/",
    "crates/",
    "docs/",
    "frontend/",
    "fuzz/",
    "migrations/",
    "models/",
    "oracles/",
    "server/",
    "static/",
    "trainer/",
    "xtask/",
];

/// Files of the repository with one of these extensions; build outputs and data are not among them.
fn files(root: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                let skip = ["target", "data", "node_modules", ".git", ".venv"];
                folders.extend((!skip.iter().any(|skip| name == *skip)).then_some(path));
            } else if path.extension().is_some_and(|e| extensions.iter().any(|extension| e == *extension)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Paths of the repository in inline code, braces expanded: `crates/{a,b}.rs` is two.
fn paths_in_code(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in text.lines() {
        for span in line.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder))
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./{},*".contains(c));
            // Upper-case letters stand for a name of the reader's choice, as in `models/NAME`; `step-` for a run's models.
            let is_example =
                span.split('/').any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
            if is_path && !is_example && !span.contains("/step-") {
                paths.extend(expand(span));
            }
        }
    }
    paths
}

fn expand(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    choices.split(',').flat_map(|choice| expand(&format!("{before}{}{after}", choice.trim()))).collect()
}

/// Targets of Markdown links.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// What is wrong with a link of a page, if anything.
fn broken_link(page: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = page.parent().expect("a folder").join(file);
    if !file.is_empty() && !target.exists() {
        return Some(format!("{}: link to {link}: no such file", page.display()));
    }
    let anchor = anchor?;
    let there = if file.is_empty() { text.to_owned() } else { fs::read_to_string(&target).ok()? };
    (!anchors(&there).iter().any(|known| known == anchor))
        .then(|| format!("{}: link to {link}: no such heading", page.display()))
}

#[test]
fn paths_and_links_exist() {
    let root = Workspace::find().expect("cargo metadata").root;
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in files(&root, &["md"]) {
        let text = fs::read_to_string(&page).expect("a page");
        // The card of an export names files of that export.
        if page.ends_with("trainer/templates/model_card.md") {
            continue;
        }
        broken.extend(links(&text).iter().filter_map(|link| broken_link(&page, &text, link)));
        for path in paths_in_code(&text) {
            seen += 1;
            let path = path.split('*').next().unwrap_or_default();
            if !root.join(path).exists() {
                broken.push(format!("{}: {path} does not exist", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 50, "only {seen} paths were found: the pages are not read");
}

#[test]
fn comments_name_pages_that_exist() {
    let root = Workspace::find().expect("cargo metadata").root;
    let mut missing = Vec::new();
    for file in files(&root, &["rs", "py", "toml", "cu"]) {
        let text = fs::read_to_string(&file).expect("a file");
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c)));
            for page in words.filter(|word| word.starts_with("docs/") && word.ends_with(".md")) {
                if !root.join(page).is_file() {
                    missing.push(format!("{}:{number}: {page}", file.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn broken_references_are_found() {
    let page = Workspace::find().expect("cargo metadata").root.join("README.md");
    assert!(broken_link(&page, "# A b", "absent.md").is_some());
    assert!(broken_link(&page, "# A b", "#a-c").is_some());
    assert!(broken_link(&page, "# A b", "#a-b").is_none());
    assert_eq!(paths_in_code("see `crates/{a,b}.rs`, `models/NAME`, `x/y`"), ["crates/a.rs", "crates/b.rs"]);
}
