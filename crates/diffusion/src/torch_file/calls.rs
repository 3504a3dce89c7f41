//! The calls that unpickling a file would make. None is made here. Calls that files of weights need are known: those that
//! rebuild tensors, containers and plain values. Any other may run arbitrary code, and what it would return is unknown.

use super::value::{Id, Pickle, Value};

/// Functions and classes that are called to rebuild tensors and plain values, by module.
const KNOWN: [(&[&str], &[&str]); 14] = [
    (&["torch._tensor", "torch.tensor"], &["_rebuild_from_type", "_rebuild_from_type_v2"]),
    (&["torch"], &["Size", "device"]),
    (&["torch.serialization"], &["_get_layout"]),
    (&["torch.nn.backends.thnn"], &["_get_thnn_function_backend"]),
    (&["collections"], &["Counter", "OrderedDict", "defaultdict", "deque"]),
    (
        &["builtins", "__builtin__"],
        &[
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "object",
            "range",
            "set",
            "slice",
            "str",
            "tuple",
        ],
    ),
    (&["_codecs"], &["encode"]),
    (&["copyreg", "copy_reg"], &["__newobj__", "__newobj_ex__", "_reconstructor"]),
    (&["numpy"], &["dtype", "ndarray"]),
    (&["numpy.core.multiarray", "numpy._core.multiarray"], &["_reconstruct", "scalar"]),
    (&["numpy.core.numeric", "numpy._core.numeric"], &["_frombuffer"]),
    (&["datetime"], &["date", "datetime", "time", "timedelta", "timezone"]),
    (
        &["pathlib", "pathlib._local"],
        &["Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"],
    ),
    (&["argparse", "types", "uuid", "decimal"], &["Namespace", "SimpleNamespace", "UUID", "Decimal"]),
];

/// Modules whose members are not classes to create instances of, but functions that reach the machine.
const DANGEROUS: [&str; 8] =
    ["builtins", "__builtin__", "os", "posix", "nt", "sys", "subprocess", "importlib"];

/// Whether a function or class is one that files of weights call.
fn is_known(name: &str) -> bool {
    if name.starts_with("torch._utils._rebuild_") {
        return true;
    }
    let Some((module, member)) = name.rsplit_once('.') else { return false };
    KNOWN.iter().any(|(modules, members)| modules.contains(&module) && members.contains(&member))
}

/// The function or class that would be called for a value, if it is not known.
pub(super) fn unknown_call(pickle: &Pickle, id: Id) -> Option<&str> {
    let Value::Object(object) = pickle.get(id) else { return None };
    let name = pickle.class(object);
    let module = name.rsplit_once('.').map_or("", |(module, _)| module);
    let is_call = object.is_call || DANGEROUS.contains(&module);
    (is_call && !is_known(name)).then_some(name)
}

/// The functions and classes that would be called and are not known, each once, sorted.
pub(super) fn unknown_calls(pickle: &Pickle) -> Vec<String> {
    let ids = (0..pickle.values.len() as u32).map(Id);
    let mut names: Vec<&str> = ids.filter_map(|id| unknown_call(pickle, id)).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}
