//! Pages against the programs' own help: subcommands, options and environment variables exist as the pages have them.

use crate::markdown::Page;
use crate::{page, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The commands whose variables `docs/deploy.md` lists: the program, and its subcommand.
const COMMANDS: [(&str, Option<&str>); 3] = [
    ("diff-contrast-server", None),
    ("diff-contrast-trainer", Some("worker")),
    ("diff-contrast-trainer", Some("train")),
];

/// The help of a program.
fn help(program: &str, subcommands: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_diff-contrast-server")).with_file_name(program);
    let mut command = Command::new(&program);
    for variable in std::env::vars_os().map(|(name, _)| name) {
        // Values of set variables are part of the help.
        if variable != "PATH" && variable != "HOME" {
            command.env_remove(variable);
        }
    }
    let output = command.args(subcommands).arg("--help").output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A variable's default in a program's help; empty without one.
fn variables(help: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut last = None;
    for line in help.lines() {
        if let Some((_, rest)) = line.split_once("[env: ") {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.insert(name.clone(), String::new());
            last = Some(name);
        }
        if let (Some((_, rest)), Some(name)) = (line.split_once("[default: "), &last) {
            found.insert(name.clone(), rest.trim_end().trim_end_matches(']').to_owned());
        }
        if line.trim_start().starts_with('-') && !line.contains("[env: ") {
            last = None;
        }
    }
    found
}

/// A row of the table of variables in `docs/deploy.md`: programs and default by name.
fn rows(text: &str) -> BTreeMap<String, (BTreeSet<String>, String)> {
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    text.lines()
        .filter(|line| line.starts_with("| `") && line.split('|').count() == 6)
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            let name = code(cells[1]);
            let is_variable = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let programs = cells[2].split(',').map(|word| word.trim().to_owned()).collect();
            is_variable.then(|| (name, (programs, code(cells[3]))))
        })
        .collect()
}

#[test]
fn the_table_of_variables_is_that_of_the_programs() {
    let rows = rows(&read(&page("docs/deploy.md")));
    let mut expected: BTreeMap<String, (BTreeSet<String>, String)> = BTreeMap::new();
    for (program, subcommand) in COMMANDS {
        let label = subcommand.unwrap_or("server").to_owned();
        for (name, default) in variables(&help(program, subcommand.as_slice())) {
            let entry = expected.entry(name).or_default();
            entry.0.insert(label.clone());
            entry.1 = default;
        }
    }
    for (name, (programs, default)) in &expected {
        let Some((said_programs, said_default)) = rows.get(name) else {
            panic!("docs/deploy.md: no row for the variable {name} of {programs:?} (default {default:?})");
        };
        assert_eq!(said_programs, programs, "docs/deploy.md: programs of {name}");
        let said = if said_default == "none" { "" } else { said_default };
        assert_eq!(said, default, "docs/deploy.md: default of {name}");
    }
    for name in rows.keys() {
        assert!(expected.contains_key(name), "docs/deploy.md: no program reads {name}");
    }
}

/// Every `diff-contrast-...` command of a page, as words, with the line that it begins on.
fn commands(page: &Path) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for block in Page::read(page).blocks().filter(|block| block.is_shell()) {
        let joined = block.text.replace("\\\n", "  ");
        for line in joined.lines() {
            let line = line.trim_start_matches("$ ").split(" #").next().unwrap_or_default();
            // Variables may stand before the program; pipes and redirections end the command.
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| word.starts_with("diff-contrast-")) else { continue };
            if words[..at].iter().any(|word| !word.contains('=')) {
                continue;
            }
            let ends = |word: &&&str| !["|", ">", "2>&1", "&", "&&", ">>", "<"].contains(*word);
            let command = words[at..].iter().take_while(ends).map(|word| (*word).to_owned()).collect();
            found.push((block.place(), command));
        }
    }
    found
}

#[test]
fn commands_in_pages_use_subcommands_and_options_that_exist() {
    let mut pages = vec![page("README.md"), page("models/shapes/README.md")];
    let docs = std::fs::read_dir(page("docs")).expect("the pages").flatten().map(|entry| entry.path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let (mut seen, mut wrong) = (0, Vec::new());
    for (place, command) in pages.iter().flat_map(|page| commands(page)) {
        let program = command[0].clone();
        let is_option = |word: &&String| word.starts_with('-');
        if program == "diff-contrast-benchmark" {
            continue;
        }
        let mut path = vec![program.clone()];
        let nested = ["data", "shapes"];
        if program == "diff-contrast-trainer" {
            let count =
                if command.get(1).is_some_and(|word| nested.contains(&word.as_str())) { 2 } else { 1 };
            path.extend(command[1..].iter().take_while(|word| !is_option(word)).take(count).cloned());
        }
        // `...` stands for the arguments.
        if path.iter().any(|word| word == "...") {
            continue;
        }
        let text = helps.entry(path.clone()).or_insert_with(|| {
            let subcommands: Vec<&str> = path[1..].iter().map(String::as_str).collect();
            help(&program, &subcommands)
        });
        if !text.contains("Usage: ") {
            wrong.push(format!("{place}: there is no command {}", path.join(" ")));
        }
        for option in command.iter().filter(is_option).filter_map(|word| word.split('=').next()) {
            let known =
                text.split(|c: char| c.is_whitespace() || c == ',' || c == '[').any(|word| word == option);
            if !known {
                wrong.push(format!("{place}: {} has no option {option}", path.join(" ")));
            }
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "only {seen} commands were found");
}
