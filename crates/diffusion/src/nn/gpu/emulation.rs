//! The kernels on a GPU that a C compiler makes of the CPU, launched with the same arguments in the same order.
#![expect(unsafe_code, reason = "a kernel's arguments are what its source says they are")]

use super::{Launch, Number, SOURCE, scalar};
use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};
use libloading::Library;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{c_uint, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

const GPU: &str = include_str!("emulation.c");

thread_local! {
    /// Names of the kernels launched, while the CPU stands in for a GPU.
    static LAUNCHED: RefCell<Option<BTreeSet<&'static str>>> = const { RefCell::new(None) };
}

pub(super) fn is_on() -> bool {
    LAUNCHED.with_borrow(Option::is_some)
}

/// Runs `f` with the CPU standing in for a GPU; returns the names of the kernels that it launched, too.
pub(super) fn with<T>(f: impl FnOnce() -> T) -> (T, BTreeSet<&'static str>) {
    LAUNCHED.set(Some(BTreeSet::new()));
    let result = f();
    (result, LAUNCHED.take().unwrap_or_default())
}

/// The libraries, by the type of their numbers. Their state is that of one GPU: one launch at a time.
static LIBRARIES: LazyLock<Mutex<HashMap<DType, Library>>> = LazyLock::new(Mutex::default);

fn compile(dtype: DType) -> Library {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, library) = (folder.path().join("kernels.c"), folder.path().join("kernels.so"));
    std::fs::write(&source, format!("{GPU}\n{SOURCE}")).expect("written");
    let scalar = format!("-DSCALAR={}", scalar(dtype).expect("a type that the kernels have"));
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-shared", "-fPIC", &scalar, "-o"])
        .args([&library, &source])
        .arg("-lm")
        .output()
        .expect("cc, the C compiler that Rust links with");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    open(&library)
}

fn open(library: &Path) -> Library {
    // SAFETY: it has no initialisers.
    unsafe { Library::new(library) }.expect("the library")
}

type Run = unsafe extern "C" fn(*const c_void, c_uint, c_uint, *const i64, *const f32);

pub(super) fn launch(
    launch: &Launch<'_>,
    operands: &[Tensor],
    results: &[(DType, &[usize])],
    numbers: &[Number],
) -> Result<Vec<Tensor>> {
    LAUNCHED.with_borrow_mut(|launched| launched.get_or_insert_default().insert(launch.kernel));
    let dtype = operands[0].dtype();
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries.entry(dtype).or_insert_with(|| compile(dtype));
    // Bytes that no kernel leaves: what it forgets to write shows.
    let mut fresh: Vec<Vec<u8>> = results
        .iter()
        .map(|(dtype, shape)| vec![0xff; shape.iter().product::<usize>() * dtype.size_in_bytes()])
        .collect();
    let given: Vec<Vec<u8>> = operands.iter().map(bytes).collect::<Result<_>>()?;
    let addresses = fresh.iter_mut().map(|bytes| bytes.as_mut_ptr() as i64);
    let mut whole: Vec<i64> = addresses.chain(given.iter().map(|bytes| bytes.as_ptr() as i64)).collect();
    let mut real = Vec::new();
    for number in numbers {
        match *number {
            Number::Whole(number) => whole.push(number as i64),
            Number::Real(number) => real.push(number as f32),
        }
    }
    assert!(whole.len() <= 16 && real.len() <= 8, "{}: more arguments than are passed", launch.kernel);
    assert!(launch.threads.is_multiple_of(super::WARP) && launch.threads <= 1024, "{}", launch.kernel);
    assert!(launch.shared <= 48 << 10, "{}: more shared memory than a block has", launch.kernel);
    whole.resize(16, 0);
    real.resize(8, 0.0);
    // SAFETY: the symbols are the source's; the addresses are those of vectors as large as the numbers say.
    unsafe {
        let kernel = library.get::<*const c_void>(launch.kernel.as_bytes()).expect(launch.kernel);
        let run = library.get::<Run>(b"launch").expect("launch");
        run(*kernel, launch.blocks as c_uint, launch.threads as c_uint, whole.as_ptr(), real.as_ptr());
    }
    fresh.iter().zip(results).map(|(bytes, (dtype, shape))| tensor(bytes, *dtype, shape)).collect()
}

fn bytes(t: &Tensor) -> Result<Vec<u8>> {
    let t = t.flatten_all()?;
    Ok(match t.dtype() {
        DType::F32 => t.to_vec1::<f32>()?.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        DType::F16 => t.to_vec1::<f16>()?.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        _ => t.to_vec1::<bf16>()?.iter().flat_map(|v| v.to_ne_bytes()).collect(),
    })
}

fn tensor(bytes: &[u8], dtype: DType, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_raw_buffer(bytes, dtype, shape, &Device::Cpu)
}
