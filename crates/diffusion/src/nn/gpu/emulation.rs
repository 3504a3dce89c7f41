//! Running the kernels on an emulated GPU: a C compiler compiles them for the CPU, and they get the same arguments in the
//! same order as on a GPU.
#![expect(unsafe_code, reason = "a launch passes untyped arguments to a kernel")]

use super::grid::{Grid, Number, WARP};
use super::source::{SOURCE, scalar_macro};
use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};
use libloading::Library;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{c_uint, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The emulation, which is compiled together with the kernels.
const EMULATION: &str = include_str!("emulation.c");

thread_local! {
    /// Names of the kernels launched on this thread while the emulation is on; `None` while it is off.
    static LAUNCHED: RefCell<Option<BTreeSet<&'static str>>> = const { RefCell::new(None) };
}

/// Whether the emulation is on for this thread.
pub(super) fn is_on() -> bool {
    LAUNCHED.with_borrow(Option::is_some)
}

/// Runs `f` with the emulation on. Returns its result and the names of the kernels it launched.
pub(super) fn with<T>(f: impl FnOnce() -> T) -> (T, BTreeSet<&'static str>) {
    LAUNCHED.set(Some(BTreeSet::new()));
    let result = f();
    (result, LAUNCHED.take().unwrap_or_default())
}

/// The compiled libraries by element type. The mutex admits one launch at a time, because the emulated GPU is global state.
static LIBRARIES: LazyLock<Mutex<HashMap<DType, Library>>> = LazyLock::new(Mutex::default);

fn compile(dtype: DType) -> Library {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, library) = (folder.path().join("kernels.c"), folder.path().join("kernels.so"));
    std::fs::write(&source, format!("{EMULATION}\n{SOURCE}")).expect("written");
    let scalar = format!("-DSCALAR={}", scalar_macro(dtype).expect("a type with kernels"));
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-shared", "-fPIC", &scalar, "-o"])
        .args([&library, &source])
        .arg("-lm")
        .output()
        .expect("the C compiler cc, which Rust links with");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    open(&library)
}

fn open(library: &Path) -> Library {
    // SAFETY: the library has no initialisers.
    unsafe { Library::new(library) }.expect("the library")
}

/// The function `launch` of the emulation.
type LaunchFunction = unsafe extern "C" fn(*const c_void, c_uint, c_uint, *const i64, *const f32);

pub(super) fn launch(
    grid: &Grid,
    operands: &[Tensor],
    results: &[(DType, &[usize])],
    numbers: &[Number],
) -> Result<Vec<Tensor>> {
    LAUNCHED.with_borrow_mut(|launched| launched.get_or_insert_default().insert(grid.kernel));
    let dtype = operands[0].dtype();
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries.entry(dtype).or_insert_with(|| compile(dtype));
    // Filled with NaN, so that a value the kernel does not write fails the comparison.
    let mut buffers: Vec<Vec<u8>> = results
        .iter()
        .map(|(dtype, shape)| vec![0xff; shape.iter().product::<usize>() * dtype.size_in_bytes()])
        .collect();
    let inputs: Vec<Vec<u8>> = operands.iter().map(bytes).collect::<Result<_>>()?;
    let addresses = buffers.iter_mut().map(|bytes| bytes.as_mut_ptr() as i64);
    let mut whole: Vec<i64> = addresses.chain(inputs.iter().map(|bytes| bytes.as_ptr() as i64)).collect();
    let mut real = Vec::new();
    for number in numbers {
        match *number {
            Number::Whole(number) => whole.push(number as i64),
            Number::Real(number) => real.push(number as f32),
        }
    }
    assert!(whole.len() <= 16 && real.len() <= 8, "{}: too many arguments for the emulation", grid.kernel);
    assert!(grid.threads.is_multiple_of(WARP) && grid.threads <= 1024, "{}", grid.kernel);
    assert!(grid.shared <= 48 << 10, "{}: more shared memory than a block has", grid.kernel);
    whole.resize(16, 0);
    real.resize(8, 0.0);
    // SAFETY: the source defines both symbols, and the addresses point to vectors as large as the numbers say.
    unsafe {
        let kernel = library.get::<*const c_void>(grid.kernel.as_bytes()).expect(grid.kernel);
        let run = library.get::<LaunchFunction>(b"launch").expect("launch");
        run(*kernel, grid.blocks as c_uint, grid.threads as c_uint, whole.as_ptr(), real.as_ptr());
    }
    buffers.iter().zip(results).map(|(bytes, (dtype, shape))| tensor(bytes, *dtype, shape)).collect()
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
