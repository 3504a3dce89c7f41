//! Hostile files: each must give an error or a result in bounded time and memory, and leave no partial file.

use super::{convert, files, folder};
use std::path::Path;

/// A small random number generator (splitmix64), so that every run tests the same files.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Converts a file with these bytes and checks that a failure leaves nothing behind.
fn try_bytes(scratch: &Path, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (from, to) = (scratch.join("in.pt"), scratch.join("out.safetensors"));
    std::fs::write(&from, bytes).expect("written");
    let result = convert(&from, None, &to);
    if let Err(problem) = &result {
        assert!(!to.exists(), "left a file after: {problem}");
        assert!(problem.len() < 10_000, "an error of {} bytes", problem.len());
    } else {
        std::fs::remove_file(&to).expect("what was written");
    }
    let left = std::fs::read_dir(scratch).expect("the folder").count();
    assert_eq!(left, 1, "{result:?} left files");
    result
}

#[test]
fn a_truncated_file_is_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    for file in files() {
        let bytes = std::fs::read(&file).expect("a fixture");
        let step = bytes.len().div_ceil(100);
        for length in (0..bytes.len()).step_by(step).chain(bytes.len() - 20..bytes.len()) {
            let result = try_bytes(scratch.path(), &bytes[..length]);
            assert!(result.is_err(), "{} cut to {length} bytes passed", file.display());
        }
    }
}

#[test]
fn corrupted_files_never_panic() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(7);
    for file in files() {
        let bytes = std::fs::read(&file).expect("a fixture");
        for _ in 0..100 {
            let mut changed = bytes.clone();
            for _ in 0..=dice.below(3) {
                let place = dice.below(changed.len());
                changed[place] = match dice.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => changed[place] ^ (1 << dice.below(8)),
                    _ => dice.below(256) as u8,
                };
            }
            let _ = try_bytes(scratch.path(), &changed);
        }
    }
}

/// A file in the old format with this object. If it has tensors, they all use one storage of 4 floats.
fn old_format(object: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(b"\x80\x02");
    file.extend(object);
    if !object.windows(7).any(|part| part == b"storage") {
        file.extend(b".\x80\x02].");
        return file;
    }
    file.extend(b".\x80\x02]U\x01sa.");
    file.extend(4_u64.to_le_bytes());
    file.extend([0; 16]);
    file
}

/// The opcodes of a tensor; offset, shape and strides are opcodes too.
fn tensor(offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut pickle =
        b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK\x04NtQ"
            .to_vec();
    pickle.extend(offset);
    pickle.extend(shape);
    pickle.extend(strides);
    pickle.extend(b"tR");
    pickle
}

fn long(value: u64) -> Vec<u8> {
    let mut pickle = b"\x8a\x09".to_vec();
    pickle.extend(value.to_le_bytes());
    pickle.push(0);
    pickle
}

/// (a, b)
fn pair(a: &[u8], b: &[u8]) -> Vec<u8> {
    [b"(", a, b, b"t"].concat()
}

#[test]
fn views_beyond_their_storage_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let try_tensor = |offset: &[u8], shape: &[u8], strides: &[u8]| {
        try_bytes(scratch.path(), &old_format(&tensor(offset, shape, strides)))
    };
    let one = pair(b"K\x02", b"K\x02");
    assert!(try_tensor(b"K\x00", &one, &pair(b"K\x02", b"K\x01")).is_ok());
    let problem = try_tensor(b"K\x01", &one, &pair(b"K\x02", b"K\x01")).expect_err("one too far");
    assert!(problem.contains("reaches beyond its storage"), "{problem}");
    for strides in
        [pair(b"K\x03", b"K\x01"), pair(&long(u64::MAX), b"K\x01"), pair(&long(1 << 63), &long(1 << 63))]
    {
        let problem = try_tensor(b"K\x00", &one, &strides).expect_err("too far");
        assert!(problem.contains("reaches beyond its storage"), "{problem}");
    }
    assert!(try_tensor(&long(u64::MAX), &one, &pair(b"K\x02", b"K\x01")).is_err());
    assert!(try_tensor(b"J\xff\xff\xff\xff", &one, &pair(b"K\x02", b"K\x01")).is_err());
    assert!(try_tensor(b"K\x00", &one, &pair(b"J\xff\xff\xff\xff", b"K\x01")).is_err());
    assert!(try_tensor(b"K\x00", &one, b"(K\x01t").is_err());
    // More elements than fit into memory, from a storage of four, or with none.
    let zero_strides = pair(b"K\x00", b"K\x00");
    for shape in
        [pair(&long(1 << 40), b"K\x01"), pair(&long(1 << 62), &long(1 << 62)), pair(&long(1 << 60), b"K\x00")]
    {
        let result = try_tensor(b"K\x00", &shape, &zero_strides);
        assert!(
            result.as_ref().is_err() || result.as_ref().is_ok_and(|bytes| bytes.len() < 200),
            "{result:?}"
        );
    }
}

#[test]
fn pickles_that_exhaust_memory_or_time_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let try_pickle = |pickle: &[u8]| try_bytes(scratch.path(), &old_format(pickle));
    let small = tensor(b"K\x00", b"(K\x04t", b"(K\x01t");

    // Nested lists do not use the call stack.
    let deep = 300_000;
    let nested = |inside: &[u8]| [&b"]".repeat(deep)[..], inside, &b"a".repeat(deep)].concat();
    assert_eq!(try_pickle(&nested(b"N")).map(|bytes| bytes.len() < 200), Ok(true));
    let problem = try_pickle(&nested(&small)).expect_err("too deep");
    assert!(problem.contains("deeper"), "{problem}");
    // Nor do nested tuples and parameters.
    assert!(try_pickle(&[&small[..], &b"\x85".repeat(deep)].concat()).is_err());
    let wrapped = |times: usize| {
        [&b"ctorch._utils\n_rebuild_parameter\n(".repeat(times)[..], &small, &b"\x88NtR".repeat(times)]
            .concat()
    };
    assert!(try_pickle(&wrapped(1)).is_ok());
    assert!(try_pickle(&wrapped(50_000)).is_err());

    // A list with ten references to a list with ten references, and so on: 10^30 tensors.
    let mut laughs = [&b"("[..], &small, b"lq\x00"].concat();
    for _ in 0..30 {
        laughs.extend(b"0(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00lq\x00");
    }
    let problem = try_pickle(&laughs).expect_err("too many");
    assert!(problem.contains("more than 1000000 tensors"), "{problem}");

    // A list and a dict that contain themselves.
    assert!(try_pickle(b"]q\x00h\x00a").is_ok());
    assert!(try_pickle(&[&b"}q\x00U\x01ah\x00sU\x01b"[..], &small, b"s"].concat()).is_ok());

    // Excessive lengths and numbers, and values that do not exist.
    for pickle in [
        &b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"X\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"h\x05",
        b"j\xff\xff\xff\xff",
        b"0",
        b"1",
        b"t",
        b"(K\x01d",
        b"R",
        b"NNR",
        b"NQ",
        b"(NQ)R",
        b"\x82\x01",
        b"\x97",
        b"\x80\x63N",
        b"Nb",
        b"K\x01K\x02a",
        b"K\x01K\x02K\x03s",
        b"g99\n",
        b"gx\n",
        b"px\n",
        b"\x93",
        b"(",
    ] {
        let result = try_pickle(pickle);
        assert!(
            result.as_ref().is_err() || result.as_ref().is_ok_and(|bytes| bytes.len() < 200),
            "{pickle:?}"
        );
    }
    assert!(try_pickle(&b"N".repeat(5_000_000)).is_ok());
    let problem = try_pickle(&b"]".repeat(5_000_000)).expect_err("too many");
    assert!(problem.contains("more than 4000000 values"), "{problem}");
}

/// The position of a member's record in the directory.
fn record(zip: &[u8], member: &str) -> usize {
    let name = zip.windows(member.len()).rposition(|bytes| bytes == member.as_bytes()).expect("the member");
    zip[..name].windows(4).rposition(|bytes| bytes == b"PK\x01\x02").expect("its record")
}

#[test]
fn archives_with_a_wrong_directory_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let deflated = std::fs::read(folder().join("deflated.pt")).expect("a fixture");
    let at = record(&deflated, "data/0");
    let change = |offset: usize, bytes: &[u8]| {
        let mut changed = deflated.clone();
        changed[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        try_bytes(scratch.path(), &changed)
    };
    // Encrypted, compressed with an unknown method, at another position, longer than the file, and with two wrong lengths.
    for (offset, bytes, expected) in [
        (8, &[1, 0][..], "is encrypted"),
        (10, &[12, 0], "is compressed with"),
        (42, &[0xff, 0xff, 0, 0], "does not begin where the directory says"),
        (20, &[0xff, 0xff, 0xff, 0x7f], "reaches beyond the end of the file"),
        (24, &[0xff, 0xff, 0xff, 0x7f], "claim to be"),
        (24, &[0, 1, 0, 0], "of another length"),
        // The name becomes that of the next member.
        (61, b"1", "two members of one name"),
    ] {
        let problem = change(offset, bytes).expect_err("a wrong directory");
        assert!(problem.contains(expected), "{problem}");
    }
    let script = std::fs::read(folder().join("types_zip.pt")).expect("a fixture");
    let problem = try_bytes(scratch.path(), &[&script[..], &[0; 70_000]].concat()).expect_err("no end");
    assert!(problem.contains("damaged directory"), "{problem}");
}

#[test]
fn safetensors_with_a_wrong_header_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = |header: &str, data: &[u8]| {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        try_bytes(scratch.path(), &bytes)
    };
    assert!(file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]).is_ok());
    for header in [
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615,3],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}"#,
        "{",
    ] {
        assert!(file(header, &[0; 4]).is_err(), "{header}");
    }
}
