//! The command `convert`, on files that torch wrote and on files that it wrote itself.

use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A name and a shape.
type Named = (String, Vec<usize>);
type Tensors = Vec<Named>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/diffusion/tests/fixtures/torch_files").join(name)
}

/// Runs the command; returns standard output, standard error and whether it succeeded.
fn convert(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (String, String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("convert")
        .args(arguments.iter().map(|argument| argument.as_ref()))
        .output()
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.success())
}

/// Writes a safetensors file of zeros.
fn write(file: &Path, tensors: &[Named]) {
    let zeros =
        vec![0; tensors.iter().map(|(_, shape)| 4 * shape.iter().product::<usize>()).max().unwrap_or(0)];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    std::fs::write(file, safetensors::serialize(views, None).expect("tensors")).expect("room");
}

fn names(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).expect("the output");
    let mut names: Vec<String> = safetensors::SafeTensors::deserialize(&bytes)
        .expect("safetensors")
        .names()
        .iter()
        .map(|n| n.to_string())
        .collect();
    names.sort();
    names
}

fn aesthetic() -> Tensors {
    let layers = [(0, 1024, 768), (2, 128, 1024), (4, 64, 128), (6, 16, 64), (7, 1, 16)];
    let tensors = layers.into_iter().flat_map(|(i, out, into)| {
        [(format!("layers.{i}.weight"), vec![out, into]), (format!("layers.{i}.bias"), vec![out])]
    });
    tensors.collect()
}

#[test]
fn a_torch_file_becomes_safetensors() {
    let scratch = tempfile::tempdir().expect("a folder");
    let out = scratch.path().join("new/out.safetensors");
    for name in ["types_legacy", "types_turned_zip", "views_zip", "checkpoint_4_zip"] {
        let (stdout, stderr, ok) = convert(&[&fixture(&format!("{name}.pt")), &out]);
        assert!(ok && stdout.is_empty(), "{stderr}");
        let expected = std::fs::read(fixture(&format!("{name}.safetensors"))).expect("a fixture");
        assert!(std::fs::read(&out).expect("the output") == expected, "{name}");
    }
    let (_, stderr, ok) = convert(&[&fixture("checkpoint_3_zip.pt"), &out, &"--root", &"state_dict"]);
    assert!(ok, "{stderr}");
    assert_eq!(names(&out).len(), 9);
    assert!(names(&out).contains(&"body.1.running_mean".to_owned()));
}

/// A file that would call something when unpickled is refused by the name of what it would call. A flag skips the call.
#[test]
fn calls_are_refused_and_skipped_on_request() {
    let scratch = tempfile::tempdir().expect("a folder");
    let out = scratch.path().join("out.safetensors");
    let calls = |name: &str| fixture("../torch_calls").join(name);
    for (file, words) in [
        (fixture("malice_legacy.pt"), ["posix.system", "payload"]),
        (fixture("malice_zip.pt"), ["posix.system", "payload"]),
        (calls("eval_2.pt"), ["__builtin__.eval", "conv.weight"]),
        (calls("getattr_4.pt"), ["builtins.getattr", "act"]),
        (calls("own_rebuild_4.pt"), ["__main__.rebuild_packed", "conv.weight"]),
    ] {
        for arguments in [&[&file as &dyn AsRef<std::ffi::OsStr>, &out][..], &[&file, &"--list"]] {
            let (_, stderr, ok) = convert(arguments);
            assert!(!ok && !out.exists(), "{stderr}");
            assert!(
                words.iter().all(|word| stderr.contains(word)) && stderr.contains("--skip-calls"),
                "{stderr}"
            );
        }
        let (_, stderr, ok) = convert(&[&file, &out, &"--skip-calls"]);
        assert!(
            ok && stderr.contains("left out: ") && words.iter().all(|word| stderr.contains(word)),
            "{stderr}"
        );
        assert_eq!(names(&out), ["weight"]);
        std::fs::remove_file(&out).expect("removed");
    }
    let (_, stderr, ok) = convert(&[&fixture("malice_legacy.pt"), &out, &"--skip-calls"]);
    assert!(ok, "{stderr}");
    let expected = std::fs::read(fixture("malice_legacy.safetensors")).expect("a fixture");
    assert!(std::fs::read(&out).expect("the output") == expected);
    assert!(!Path::new("torch_file_was_executed").exists());
}

#[test]
fn a_list_needs_no_output_file_and_includes_readable_tensors_only() {
    let (stdout, stderr, ok) = convert(&[&fixture("network_legacy.pt"), &"--list", &"--root", &"body"]);
    assert!(ok, "{stderr}");
    assert_eq!(stdout.lines().next(), Some("0.weight\tF32\t[2, 3]"));
    assert_eq!(stdout.lines().last(), Some("1.num_batches_tracked\tI64\t[]"));
    let (stdout, stderr, ok) = convert(&[&fixture("quantised.pt"), &"--list"]);
    assert!(ok && stdout == "fine\tF32\t[2]\n" && stderr.contains("\"quantised\" is quantised"), "{stderr}");
    let (_, stderr, ok) = convert(&[&fixture("quantised.pt")]);
    assert!(!ok && stderr.contains("OUT"), "{stderr}");
}

#[test]
fn a_failure_keeps_the_old_output() {
    let scratch = tempfile::tempdir().expect("a folder");
    let out = scratch.path().join("out.safetensors");
    std::fs::write(&out, "old").expect("room");
    for name in ["quantised.pt", "collision.pt", "script.pt", "plain.pt", "no_tensors.pt", "absent.pt"] {
        let (_, stderr, ok) = convert(&[&fixture(name), &out]);
        assert!(!ok && stderr.contains(name), "{stderr}");
        assert_eq!(std::fs::read(&out).expect("the old file"), b"old");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).expect("the folder").count(), 1);
    write(&out, &aesthetic());
    let (_, stderr, ok) = convert(&[&out, &out]);
    assert!(!ok && stderr.contains("both IN and OUT"), "{stderr}");
}

#[test]
fn a_prefix_is_removed_from_the_names_that_have_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (file, out) = (scratch.path().join("in.safetensors"), scratch.path().join("out.safetensors"));
    let tensors = ["module.a", "module.b.c", "modules.d", "e"].map(|name| (name.to_owned(), vec![2]));
    write(&file, &tensors);
    for prefix in ["module.", "module"] {
        let (_, stderr, ok) = convert(&[&file, &out, &"--strip-prefix", &prefix]);
        assert!(ok, "{stderr}");
        let rest = if prefix == "module" { "s.d" } else { "modules.d" };
        let mut expected = ["a", "b.c", "e", rest];
        expected.sort_unstable();
        assert_eq!(names(&out), expected);
    }
    let (_, stderr, ok) = convert(&[&file, &out, &"--strip-prefix", &"nothing."]);
    assert!(!ok && stderr.contains("no tensor's name starts with it"), "{stderr}");
    write(&file, &["module.e", "e"].map(|name| (name.to_owned(), vec![2])));
    let (_, stderr, ok) = convert(&[&file, &out, &"--strip-prefix", &"module."]);
    assert!(!ok && stderr.contains("two tensors that would be named \"e\""), "{stderr}");
}

#[test]
fn a_published_model_must_have_exactly_its_tensors() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (file, out) = (scratch.path().join("in.safetensors"), scratch.path().join("out.safetensors"));
    let try_with = |change: &dyn Fn(&mut Tensors), arguments: &[&str]| {
        let mut tensors = aesthetic();
        change(&mut tensors);
        write(&file, &tensors);
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&file, &out, &"--for", &"aesthetic"];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        let (_, stderr, ok) = convert(&all);
        assert_eq!(out.exists(), ok);
        let _ = std::fs::remove_file(&out);
        if ok { Ok(()) } else { Err(stderr) }
    };
    assert_eq!(try_with(&|_| {}, &[]), Ok(()));
    for (change, expected) in [
        ((|t| drop(t.pop())) as fn(&mut Tensors), "\"layers.7.bias\" is missing"),
        (|t| t.push(("layers.8.bias".to_owned(), vec![1])), "\"layers.8.bias\" does not belong to it"),
        (|t| t[0].1 = vec![768, 1024], "\"layers.0.weight\" has shape [768, 1024] instead of [1024, 768]"),
    ] {
        let problem = try_with(&change, &[]).expect_err(expected);
        assert!(problem.contains(expected) && problem.contains("LAION"), "{problem}");
    }
    let prefixed = |t: &mut Tensors| t.iter_mut().for_each(|(name, _)| *name = format!("module.{name}"));
    let problem = try_with(&prefixed, &[]).expect_err("a prefix");
    assert!(problem.contains("--strip-prefix module."), "{problem}");
    assert_eq!(try_with(&prefixed, &["--strip-prefix", "module."]), Ok(()));
    assert_eq!(try_with(&prefixed, &["--root", "module"]), Ok(()));
}
