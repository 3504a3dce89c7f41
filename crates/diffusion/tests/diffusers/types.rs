//! The types of elements that weights may have. `oracles/floats.py` wrote what torch makes of every 8-bit float.

use crate::fixture::{Expected, RawTensor, folder, raw, write_raw};
use crate::loading::copy;
use candle_core::{DType, Device};
use diffusion::clip::TextTower;
use diffusion::controlnet::ControlNet;
use diffusion::lora::{self, Layers, Network};
use diffusion::single_file::{Options, SingleFile};
use diffusion::torch_file::WeightsFile;
use diffusion::unet::{Unet, WEIGHTS_FILE};
use diffusion::vae::Autoencoder;
use diffusion::weights::{Parameters, PartFiles, Stem, StoredWeights};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::Path;

/// The bits of each value, so that NaN can be compared.
fn bits(tensor: &candle_core::Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
    values.into_iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

#[test]
fn every_8_bit_float_is_widened_as_torch_does() {
    let (expected, file) = (Expected::read("f8"), folder("f8/values.safetensors"));
    let opened = WeightsFile::open(&file).expect("a fixture");
    let stored = StoredWeights::open(&PartFiles::one(&file)).expect("a fixture");
    for (name, tensor) in opened.list(None).expect("a list").tensors {
        assert_eq!(tensor.shape(), [256], "{name}");
        assert_eq!(
            bits(&opened.load_tensor(&name, &tensor, DType::F32).expect("values")),
            bits(expected.get(&name))
        );
        // Other types than f32, too, of which candle's own conversion to f64 does not return.
        for dtype in [DType::F64, DType::F16] {
            let read =
                stored.read(&name, &[256], dtype).and_then(|t| Ok(t.to_dtype(DType::F32)?)).expect("values");
            assert_eq!(bits(&read), bits(expected.get(&name)), "{name} as {dtype:?}");
        }
    }
}

/// 8-bit values for a tensor, none of them NaN, infinite or large.
fn as_f8(tensor: &RawTensor) -> RawTensor {
    let count = tensor.shape.iter().product();
    let data = (0..count)
        .map(|i: usize| (i * 37 % 0x38) as u8 | if i.is_multiple_of(3) { 0x80 } else { 0 })
        .collect();
    RawTensor { dtype: Dtype::F8_E4M3, shape: tensor.shape.clone(), data }
}

#[test]
fn a_network_in_8_bit_floats_is_read() {
    let unet = copy("model/unet");
    let file = unet.path().join(WEIGHTS_FILE);
    let small: BTreeMap<String, RawTensor> =
        raw(&file).iter().map(|(name, t)| (name.clone(), as_f8(t))).collect();
    write_raw(&small, &file);
    let (_, weights) = Unet::load_with_weights(unet.path(), &Device::Cpu).expect("a UNet");
    let table = bits(Expected::read("f8").get("e4m3"));
    for (name, tensor) in &small {
        let expected: Vec<u32> = tensor.data.iter().map(|&bits| table[usize::from(bits)]).collect();
        assert_eq!(bits(&weights[name]), expected, "{name}");
    }
}

/// Replaces the type of a tensor, with as many zero bytes as it needs.
fn retype(file: &Path, name: &str, dtype: Dtype) {
    let mut tensors = raw(file);
    let tensor = tensors.get_mut(name).expect(name);
    let width = dtype.bitsize() / 8;
    *tensor = RawTensor {
        dtype,
        shape: tensor.shape.clone(),
        data: vec![0; width * tensor.shape.iter().product::<usize>()],
    };
    write_raw(&tensors, file);
}

const REFUSED: [Dtype; 9] = [
    Dtype::I8,
    Dtype::U8,
    Dtype::I16,
    Dtype::I32,
    Dtype::I64,
    Dtype::BOOL,
    Dtype::C64,
    Dtype::F8_E8M0,
    Dtype::F8_E4M3FNUZ,
];

/// Every reader names the file, the tensor and the type.
#[test]
fn other_types_are_refused_by_every_reader() {
    type Read = fn(&Path) -> diffusion::Result<()>;
    let networks: [(&str, &str, &str, Read); 5] = [
        ("model/unet", WEIGHTS_FILE, "conv_in.weight", |folder| {
            Unet::load(folder, &Device::Cpu, false).map(drop)
        }),
        ("model/unet", WEIGHTS_FILE, "conv_in.weight", |folder| {
            Unet::load_with_weights(folder, &Device::Cpu).map(drop)
        }),
        ("model/vae", WEIGHTS_FILE, "decoder.conv_in.weight", |folder| {
            Autoencoder::load(folder, &Device::Cpu, false).map(drop)
        }),
        ("model/text_encoder", "model.safetensors", "text_model.final_layer_norm.bias", |folder| {
            TextTower::load(folder, &Device::Cpu).map(drop)
        }),
        ("controlnet_plain", WEIGHTS_FILE, "conv_in.weight", |folder| {
            ControlNet::load(folder, &Device::Cpu).map(drop)
        }),
    ];
    for (fixture, file, tensor, read) in networks {
        for dtype in REFUSED {
            let part = copy(fixture);
            read(part.path()).expect(fixture);
            retype(&part.path().join(file), tensor, dtype);
            let error = read(part.path()).expect_err(fixture).to_string();
            for word in [file, tensor, &dtype.to_string(), "weights must be"] {
                assert!(error.contains(word), "{fixture} with {dtype}: {error}");
            }
        }
    }
}

/// ComfyUI writes 8-bit weights with scales. Read without them, the weights would be wrong.
#[test]
fn scaled_8_bit_weights_are_refused_by_name() {
    for extra in ["conv_in.scale_weight", "scaled_fp8", "conv_in.scale_input", "conv_in.weight_scale"] {
        let unet = copy("model/unet");
        let file = unet.path().join(WEIGHTS_FILE);
        let mut tensors = raw(&file);
        let scale = RawTensor { dtype: Dtype::F32, shape: vec![], data: 2f32.to_le_bytes().to_vec() };
        tensors.insert(extra.to_owned(), scale);
        write_raw(&tensors, &file);
        let error = Unet::load_with_weights(unet.path(), &Device::Cpu).expect_err(extra).to_string();
        assert!(error.contains(extra) && error.contains("scaled fp8"), "{error}");
        assert!(Parameters::open(&file, &Device::Cpu, DType::F32, false).is_err(), "{extra}");
        let error = SingleFile::open(&file, Options::default()).expect_err(extra).to_string();
        assert!(error.contains(extra) && error.contains("scaled fp8"), "{error}");
    }
}

/// The types of an adapter's tensors: 8-bit factors and alphas are read, integers are not factors.
#[test]
fn adapters_are_read_in_8_bit_floats() {
    let unet = Unet::load_with_weights(&folder("unet_lists"), &Device::Cpu).expect("a UNet").1;
    let networks = BTreeMap::from([(Network::Unet, Layers::of(&unet))]);
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("adapter.safetensors");
    let kohya = raw(&folder("lora_kohya/kohya.safetensors"));
    let change = |change: &dyn Fn(&str, &RawTensor) -> RawTensor| {
        write_raw(&kohya.iter().map(|(name, t)| (name.clone(), change(name, t))).collect(), &file);
        lora::open(&file, &networks)
    };
    // 0x38 is 1 in E4M3, and 0x40 is 2.
    let alpha = |data: u8| RawTensor { dtype: Dtype::F8_E4M3, shape: vec![], data: vec![data] };
    let adapters =
        change(&|name, t| if name.ends_with(".alpha") { alpha(0x40) } else { as_f8(t) }).expect("read");
    assert!(adapters[&Network::Unet].layers().values().all(|update| update.alpha() == 2.0));
    // An alpha may also be an integer.
    let two = RawTensor { dtype: Dtype::I64, shape: vec![], data: 2i64.to_le_bytes().to_vec() };
    let integer = |name: &str, t: &RawTensor| if name.ends_with(".alpha") { two.clone() } else { t.clone() };
    let adapters = change(&integer).expect("read");
    assert!(adapters[&Network::Unet].layers().values().all(|update| update.alpha() == 2.0));
    for (ending, dtype) in
        [("lora_down.weight", Dtype::I8), ("lora_up.weight", Dtype::U8), (".alpha", Dtype::BOOL)]
    {
        let retyped = |name: &str, t: &RawTensor| match name.ends_with(ending) {
            true => RawTensor { dtype, shape: t.shape.clone(), data: vec![0; t.shape.iter().product()] },
            false => t.clone(),
        };
        let error = change(&retyped).expect_err("a type").to_string();
        for word in ["adapter.safetensors", ending, &dtype.to_string()] {
            assert!(error.contains(word), "{error}");
        }
    }
}

/// NaN and infinities in an adapter, and sums that overflow, are named.
#[test]
fn adapters_that_are_not_finite_are_refused() {
    let unet = Unet::load_with_weights(&folder("unet_lists"), &Device::Cpu).expect("a UNet").1;
    let networks = BTreeMap::from([(Network::Unet, Layers::of(&unet))]);
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("adapter.safetensors");
    let kohya = raw(&folder("lora_kohya/kohya.safetensors"));
    for ending in ["lora_down.weight", "lora_up.weight", ".alpha"] {
        for value in [0x7e00_u16, 0x7c00, 0xfc00] {
            let mut tensors = kohya.clone();
            let (name, tensor) = tensors.iter_mut().find(|(name, _)| name.ends_with(ending)).expect(ending);
            assert_eq!(tensor.dtype, Dtype::F16);
            let end = tensor.data.len();
            tensor.data[end - 2..].copy_from_slice(&value.to_le_bytes());
            let name = name.clone();
            write_raw(&tensors, &file);
            let error = lora::open(&file, &networks).expect_err(ending).to_string();
            assert!(error.contains(&name) && error.contains("finite"), "{error}");
            assert!(lora::verify(&file).expect_err(ending).to_string().contains(&name));
        }
    }
    write_raw(&kohya, &file);
    let adapter = &lora::open(&file, &networks).expect("finite")[&Network::Unet];
    let mut weights = unet.clone();
    let error = adapter.fuse(1e39, &mut weights).expect_err("an overflow").to_string();
    assert!(error.contains("lora") && error.contains(".weight is not finite"), "{error}");
    let names: Vec<usize> = lora::verify(&file).expect("finite").into_values().collect();
    assert_eq!(names, [adapter.layers().len()]);
}

/// One look-up finds the weights in every layout, and every reader uses it.
#[test]
fn variants_are_found_in_order() {
    let names = Stem::TRANSFORMER.names();
    let at = |name: &str| names.iter().position(|known| known == name).expect(name);
    let order = [
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "model.fp16.safetensors",
        "pytorch_model.fp16.bin",
        "model.bf16.safetensors",
        "model.safetensors.index.bf16.json",
        "pytorch_model.bf16.bin",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{names:?}");
    for variant in ["fp16", "bf16"] {
        let part = copy("controlnet_plain");
        let new = part.path().join(format!("diffusion_pytorch_model.{variant}.safetensors"));
        std::fs::rename(part.path().join(WEIGHTS_FILE), new).expect("renamed");
        ControlNet::load(part.path(), &Device::Cpu).expect(variant);
    }
}
