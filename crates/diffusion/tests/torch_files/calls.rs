//! Files whose unpickling would call something. `oracles/floats.py` creates the fixtures.

use diffusion::torch_file::{Listing, WeightsFile};
use std::path::{Path, PathBuf};

fn fixtures() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_calls");
    let names = ["eval", "system", "getattr", "own_rebuild", "load_from_bytes"];
    let files = names.into_iter().flat_map(|name| [0, 2, 4].map(|protocol| (name, protocol)));
    files.map(|(name, protocol)| (name.to_owned(), folder.join(format!("{name}_{protocol}.pt")))).collect()
}

fn skipping(file: &Path) -> Listing {
    WeightsFile::open_skipping_calls(file).and_then(|file| file.list(None)).expect("the rest is readable")
}

/// The error names what would be called and the entry that it would make.
#[test]
fn a_file_that_would_call_something_is_refused_by_name() {
    for (name, file) in fixtures() {
        let (callables, place): (&[&str], _) = match name.as_str() {
            "eval" => (&["builtins.eval", "__builtin__.eval"], "\"conv.weight\""),
            "system" => (&["posix.system"], "\"layers.0.bias\""),
            "getattr" => (&["builtins.getattr", "__builtin__.getattr"], "\"act\""),
            "own_rebuild" => (&["__main__.rebuild_packed"], "\"conv.weight\""),
            _ => (&["torch.storage._load_from_bytes"], "\"conv.weight\""),
        };
        let error = WeightsFile::open(&file).expect_err(&name).to_string();
        let is_named = callables.iter().any(|callable| error.contains(&format!("{callable:?}")));
        assert!(is_named && error.contains(place) && error.contains("--skip-calls"), "{error}");
    }
    assert!(!Path::new("torch_file_was_executed").exists());
}

/// On request the rest is read, and the entry that the call would make is named.
#[test]
fn what_a_call_would_make_is_named_and_left_out() {
    for (name, file) in fixtures() {
        // Protocol 0 writes the places of tensors as text, which torch does not load either.
        if file.to_string_lossy().ends_with("_0.pt") {
            continue;
        }
        let listing = skipping(&file);
        let names: Vec<&str> = listing.tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["weight"], "{name}: {:?} {:?}", listing.left_out, listing.unreadable);
        assert_eq!(listing.left_out.len(), 1, "{name}: {:?}", listing.left_out);
        assert!(listing.left_out[0].contains("is made by calling"), "{:?}", listing.left_out);
        assert!(listing.unreadable.is_empty());
    }
    assert!(!Path::new("torch_file_was_executed").exists());
}

/// A file in the old format with this object, and this pickle of the system that wrote it.
fn old_format(system: &[u8], object: &[u8]) -> tempfile::NamedTempFile {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02".to_vec();
    bytes.extend(system);
    bytes.extend(b".\x80\x02");
    bytes.extend(object);
    bytes.extend(b".\x80\x02].");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}

#[test]
fn calls_are_found_wherever_a_pickle_makes_them() {
    let call = &b"cos\nsystem\n(U\x04truetR"[..];
    for (system, object) in [
        // In another pickle than that of the weights, as a key, dropped from the stack, in the state of an object.
        (call, &b"}"[..]),
        (b"}", b"}cos\nsystem\n(U\x04truetRK\x01s"),
        (b"}", b"cos\nsystem\n(U\x04truetR0}"),
        (b"}", b"}U\x01acargparse\nNamespace\n)\x81cos\nsystem\n(U\x04truetRbs"),
        // Other opcodes than REDUCE: INST, OBJ, NEWOBJ, and an extension.
        (b"}", b"}U\x01a(U\x04trueios\nsystem\ns"),
        (b"}", b"}U\x01a(cos\nsystem\nU\x04trueos"),
        (b"}", b"}U\x01acos\nsystem\n(U\x04truet\x81s"),
        (b"}", b"}U\x01a\x82\x01(U\x04truetRs"),
    ] {
        let file = old_format(system, object);
        let error = WeightsFile::open(file.path()).expect_err("a call").to_string();
        let called = if object.contains(&0x82) { "a registered extension" } else { "os.system" };
        assert!(error.contains("would call") && error.contains(called), "{error}");
        WeightsFile::open_skipping_calls(file.path()).expect("it can be listed");
    }
    // Instances without initialisation and known calls are data.
    for object in [
        &b"}U\x01acargparse\nNamespace\n)\x81}bs"[..],
        b"}U\x01acmy.library\nSettings\n)\x81s",
        b"}U\x01bccopy_reg\n_reconstructor\n(cmy.library\nSettings\nc__builtin__\nobject\nNtRs",
        b"ccollections\nOrderedDict\n)R",
        b"}U\x01a(imy.library\nSettings\ns",
    ] {
        WeightsFile::open(old_format(b"}", object).path()).expect("no call");
    }
}
