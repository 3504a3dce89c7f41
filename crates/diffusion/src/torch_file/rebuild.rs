//! Tensors from the calls that would rebuild them (`torch/_utils.py` and `torch/_tensor.py`).

use super::problem::Checked;
use super::source::Extent;
use super::tensor::StoredTensor;
use super::value::{Id, Object, Pickle, Value};
use ::safetensors::Dtype;
use std::collections::HashMap;

/// The positions of the storages in the file, by key.
#[derive(Debug)]
pub(super) struct Storages {
    pub(super) extents: HashMap<String, Extent>,
    pub(super) big_endian: bool,
}

/// The description of a storage in a pickle: ('storage', type, key, location, elements, view).
pub(super) struct StorageRecord<'a> {
    element: Element,
    pub(super) key: &'a str,
    elements: u64,
    /// The first element, in files of torch before 0.4, where a storage could be a part of another.
    offset: u64,
}

impl<'a> StorageRecord<'a> {
    /// `None` if the persistent value is something else, such as the source text of a class.
    pub(super) fn read(pickle: &'a Pickle, id: Id) -> Option<Checked<Self>> {
        let parts = pickle.sequence(id)?;
        if pickle.text(*parts.first()?) != Some("storage") {
            return None;
        }
        Some(Self::parse(pickle, parts))
    }

    fn parse(pickle: &'a Pickle, parts: &[Id]) -> Checked<Self> {
        let field = |i: usize| parts.get(i).copied();
        let class = field(1).and_then(|id| pickle.global(id)).ok_or("has a storage without a type")?;
        let element = Element::of_storage(class)?;
        let key = field(2).and_then(|id| pickle.text(id)).ok_or("has a storage without a key")?;
        let count = |id: Option<Id>| id.and_then(|id| u64::try_from(pickle.integer(id)?).ok());
        let elements = count(field(4)).ok_or("has a storage without a length")?;
        let view = field(5).and_then(|id| pickle.sequence(id));
        let (mut offset, mut length) = (0, elements);
        if let Some(view) = view {
            offset = count(view.get(1).copied()).ok_or("has a storage without an offset")?;
            length = count(view.get(2).copied()).ok_or("has a storage without a length")?;
        }
        Ok(Self { element, key, elements: length, offset })
    }

    /// The number of bytes of an element.
    pub(super) fn width(&self) -> u64 {
        match self.element {
            Element::Untyped => 1,
            Element::Known(dtype) => dtype.bitsize() as u64 / 8,
            Element::ComplexDouble => 16,
        }
    }
}

/// The element type of a storage.
#[derive(Clone, Copy)]
enum Element {
    /// Bytes; the tensor has the type.
    Untyped,
    Known(Dtype),
    /// A type that safetensors does not have.
    ComplexDouble,
}

impl Element {
    fn of_storage(class: &str) -> Checked<Self> {
        Ok(Self::Known(match class.rsplit('.').next().unwrap_or(class) {
            "UntypedStorage" | "_UntypedStorage" => return Ok(Self::Untyped),
            "ComplexDoubleStorage" => return Ok(Self::ComplexDouble),
            "ComplexFloatStorage" => Dtype::C64,
            "DoubleStorage" => Dtype::F64,
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "LongStorage" => Dtype::I64,
            "IntStorage" | "QInt32Storage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" | "QInt8Storage" => Dtype::I8,
            "ByteStorage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            _ => return Err(format!("has a storage of unknown type {class:?}")),
        }))
    }
}

/// The type with this name in torch.
fn tensor_dtype(name: &str) -> Checked<Dtype> {
    Ok(match name.strip_prefix("torch.").unwrap_or(name) {
        "bool" => Dtype::BOOL,
        "uint8" => Dtype::U8,
        "int8" => Dtype::I8,
        "uint16" => Dtype::U16,
        "int16" => Dtype::I16,
        "uint32" => Dtype::U32,
        "int32" => Dtype::I32,
        "uint64" => Dtype::U64,
        "int64" => Dtype::I64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e4m3fnuz" => Dtype::F8_E4M3FNUZ,
        "float8_e5m2" => Dtype::F8_E5M2,
        "float8_e5m2fnuz" => Dtype::F8_E5M2FNUZ,
        "float8_e8m0fnu" => Dtype::F8_E8M0,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "complex64" => Dtype::C64,
        _ => return Err(unknown_type(name)),
    })
}

fn unknown_type(name: &str) -> String {
    format!("has type {name}, which safetensors does not support: save it as another type")
}

/// Whether an object is a tensor of any kind.
pub(super) fn is_tensor(pickle: &Pickle, object: &Object) -> bool {
    let class = pickle.class(object);
    class.starts_with("torch._utils._rebuild_") || is_typed(class)
}

/// Whether a function rebuilds a tensor of a subclass.
fn is_typed(class: &str) -> bool {
    [
        "torch._tensor._rebuild_from_type_v2",
        "torch._tensor._rebuild_from_type",
        "torch.tensor._rebuild_from_type",
    ]
    .contains(&class)
}

/// The tensor that an object describes.
pub(super) fn tensor(pickle: &Pickle, storages: &Storages, object: &Object) -> Checked<StoredTensor> {
    let mut name = pickle.class(object);
    let mut arguments = pickle.arguments(object);
    // Parameters and tensors of subclasses wrap the call that rebuilds the tensor itself.
    for _ in 0..8 {
        if is_typed(name) {
            let [function, _, inner, ..] = arguments[..] else { break };
            name = pickle.global(function).unwrap_or("");
            arguments = pickle.sequence(inner).unwrap_or_default();
        } else if matches!(
            name,
            "torch._utils._rebuild_parameter"
                | "torch._utils._rebuild_parameter_with_state"
                | "torch._utils._rebuild_device_tensor_from_cpu_tensor"
        ) {
            let Some(Value::Object(inner)) = arguments.first().map(|&id| pickle.get(id)) else { break };
            name = pickle.class(inner);
            arguments = pickle.arguments(inner);
        } else {
            break;
        }
    }
    let kind = name.strip_prefix("torch._utils._rebuild_").unwrap_or(name);
    match kind {
        "tensor" | "tensor_v2" | "tensor_v3" => plain(pickle, storages, kind, arguments),
        "qtensor" => Err("is quantised: call dequantize() on it and save the model again".to_owned()),
        "sparse_tensor" | "sparse_csr_tensor" => {
            Err("is sparse: call to_dense() on it and save the model again".to_owned())
        }
        "meta_tensor_no_storage" => Err("has no values: it was saved from the meta device".to_owned()),
        "nested_tensor" => {
            Err("is nested: call to_padded_tensor() on it and save the model again".to_owned())
        }
        other => Err(format!(
            "is rebuilt by {other:?}, which is not supported: save the model again with plain tensors"
        )),
    }
}

fn plain(pickle: &Pickle, storages: &Storages, kind: &str, arguments: &[Id]) -> Checked<StoredTensor> {
    let [storage, offset, shape, strides, ..] = arguments[..] else {
        return Err("has an incomplete description".to_owned());
    };
    let Value::Persistent(storage) = pickle.get(storage) else {
        return Err(format!("is in {} instead of a storage", pickle.kind(storage)));
    };
    let record = StorageRecord::read(pickle, *storage).ok_or("is in something that is not a storage")??;
    let (dtype, metadata) = if kind == "tensor_v3" {
        let dtype = arguments.get(6).and_then(|&id| pickle.global(id)).ok_or("has no type")?;
        (tensor_dtype(dtype)?, arguments.get(7))
    } else {
        let dtype = match record.element {
            Element::Known(dtype) => dtype,
            Element::Untyped => return Err("has no type".to_owned()),
            Element::ComplexDouble => return Err(unknown_type("torch.complex128")),
        };
        (dtype, arguments.get(6))
    };
    if let Some(&metadata) = metadata
        && let Value::Dict(entries) = pickle.get(metadata)
        && entries.iter().any(|&(_, value)| matches!(pickle.get(value), Value::Bool(true)))
    {
        return Err(
            "is a lazy conjugate or negative: call resolve_conj().resolve_neg() on it and save it again"
                .to_owned(),
        );
    }
    let numbers = |id: Id| -> Option<Vec<u64>> {
        pickle.sequence(id)?.iter().map(|&id| u64::try_from(pickle.integer(id)?).ok()).collect()
    };
    let shape = numbers(shape)
        .and_then(|shape| {
            shape.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()
        })
        .ok_or("has an invalid shape")?;
    let strides = numbers(strides).ok_or("has invalid strides")?;
    let offset = pickle.integer(offset).and_then(|n| u64::try_from(n).ok()).ok_or("has no offset")?;

    let extent = storages.extents.get(record.key).copied();
    let extent =
        extent.ok_or_else(|| format!("is in storage {:?}, which the file does not have", record.key))?;
    let begin = record.offset.checked_mul(record.width());
    let length = record.elements.checked_mul(record.width());
    let extent = begin.zip(length).and_then(|(begin, length)| extent.part(begin, length)).ok_or_else(|| {
        format!(
            "is in storage {:?}, which should have {} elements but has {} bytes: copy or download the file again",
            record.key, record.elements, extent.length
        )
    })?;
    StoredTensor::view(dtype, shape, strides, offset, extent, storages.big_endian)
}
