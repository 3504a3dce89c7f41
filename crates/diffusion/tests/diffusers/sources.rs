//! The forms of a part's weights in published folders: variants, shards, pickles, old names.

use crate::fixture::{Expected, folder, json};
use crate::loading::{assert_names, change_config, copy, load_unet};
use candle_core::{DType, Device, Tensor};
use diffusion::unet::{Unet, WEIGHTS_FILE};
use diffusion::vae::Autoencoder;
use diffusion::weights::{self, PartFiles, Stem};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

const INDEX: &str = "diffusion_pytorch_model.safetensors.index.fp16.json";

fn assert_is_unet_lists(folder: &Path) {
    let expected = Expected::read("unet_lists");
    let (unet, _) = Unet::load(folder, &Device::Cpu, false).expect("load");
    let [latents, timesteps, text] = ["latents", "timesteps", "text"].map(|name| expected.get(name));
    expected.assert_close("output", &unet.forward(latents, timesteps, text).expect("forward"), 1e-5);
}

fn tensors(file: &Path) -> BTreeMap<String, Tensor> {
    candle_core::safetensors::load(file, &Device::Cpu).expect("weights").into_iter().collect()
}

/// The weights of a fixture in shards, split as diffusers did, with the index that it wrote.
fn in_shards() -> TempDir {
    let cut = copy("unet_lists");
    let whole = cut.path().join(WEIGHTS_FILE);
    let tensors = tensors(&whole);
    std::fs::remove_file(whole).expect("remove");
    std::fs::copy(folder("sources").join(INDEX), cut.path().join(INDEX)).expect("copy");
    let index = json(&format!("sources/{INDEX}"));
    let mut shards: BTreeMap<&str, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (name, shard) in index["weight_map"].as_object().expect("a map") {
        let tensor = tensors.get(name).expect("a tensor").clone();
        shards.entry(shard.as_str().expect("a name")).or_default().insert(name.clone(), tensor);
    }
    assert_eq!(shards.len(), 2);
    for (shard, tensors) in shards {
        weights::save(&tensors, &cut.path().join(shard)).expect("save");
    }
    cut
}

const SHARDS: [&str; 2] = [
    "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
    "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
];

#[test]
fn full_precision_and_safetensors_are_preferred() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Stem::NETWORK.names().to_vec();
    assert_eq!(names[0], WEIGHTS_FILE);
    for name in &names {
        std::fs::write(folder.path().join(name), "{\"weight_map\": {\"a\": \"a shard\"}}").expect("write");
    }
    std::fs::write(folder.path().join("a shard"), "").expect("write");
    while !names.is_empty() {
        let chosen = PartFiles::locate(folder.path(), Stem::NETWORK).expect("weights");
        assert_eq!(chosen.origin(), folder.path().join(&names[0]));
        std::fs::remove_file(folder.path().join(names.remove(0))).expect("remove");
    }
    let others = folder.path().join("diffusion_pytorch_model.non_ema.safetensors");
    std::fs::write(others, "").expect("write");
    assert_names(
        PartFiles::locate(folder.path(), Stem::NETWORK),
        &[WEIGHTS_FILE, "is missing", ".fp16.safetensors", "it has diffusion_pytorch_model.non_ema"],
    );
}

#[test]
fn half_precision_is_enough() {
    let folder = copy("unet_lists");
    let whole = folder.path().join(WEIGHTS_FILE);
    std::fs::rename(&whole, folder.path().join("diffusion_pytorch_model.fp16.safetensors")).expect("rename");
    assert_is_unet_lists(folder.path());
}

/// The network gets the same values from every floating-point type.
#[test]
fn every_floating_point_type_is_read() {
    let folder = copy("unet_lists");
    let file = folder.path().join(WEIGHTS_FILE);
    let halves = tensors(&file);
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let stored: BTreeMap<_, _> =
            halves.iter().map(|(name, t)| (name.clone(), t.to_dtype(dtype).expect("a type"))).collect();
        weights::save(&stored, &file).expect("save");
        let (_, variables) = Unet::load(folder.path(), &Device::Cpu, true).expect("load");
        for (name, tensor) in &stored {
            let expected = tensor.to_dtype(DType::F32).expect("numbers");
            let difference = (variables[name].as_tensor() - expected).and_then(|d| d.abs()?.sum_all());
            assert_eq!(difference.and_then(|d| d.to_scalar::<f32>()).expect("a number"), 0.0, "{name}");
        }
    }
    let mut with_integers = tensors(&file);
    let bias = with_integers["conv_in.bias"].to_dtype(DType::I64).expect("integers");
    with_integers.insert("conv_in.bias".to_owned(), bias);
    weights::save(&with_integers, &file).expect("save");
    assert_names(load_unet(&folder), &[WEIGHTS_FILE, "conv_in.bias", "I64"]);
}

#[test]
fn shards_are_read_as_one_model() {
    assert_is_unet_lists(in_shards().path());
}

#[test]
fn missing_and_incomplete_shards_are_errors() {
    let cut = in_shards();
    let [first, second] = SHARDS.map(|name| cut.path().join(name));
    let bytes = std::fs::read(&second).expect("a shard");
    std::fs::remove_file(&second).expect("remove");
    assert_names(load_unet(&cut), &[INDEX, "1 of 2 shards", SHARDS[1]]);
    std::fs::write(&second, &bytes[..bytes.len() - 7]).expect("write");
    assert_names(load_unet(&cut), &[SHARDS[1], "again"]);
    std::fs::write(&second, &bytes).expect("write");
    let whole = tensors(&first);
    let mut less = whole.clone();
    let moved = less.remove("conv_in.weight").expect("a tensor");
    less.remove("conv_in.bias");
    weights::save(&less, &first).expect("save");
    assert_names(load_unet(&cut), &[INDEX, SHARDS[0], "conv_in.weight", "conv_in.bias", "is missing from"]);
    weights::save(&whole, &first).expect("save");
    let mut more = tensors(&second);
    more.insert("conv_in.weight".to_owned(), moved);
    weights::save(&more, &second).expect("save");
    assert_names(load_unet(&cut), &[SHARDS[1], "conv_in.weight", "is also in", SHARDS[0]]);
    std::fs::write(&second, &bytes).expect("write");
    load_unet(&cut).expect("complete again");
}

#[test]
fn an_index_may_only_name_files_in_its_folder() {
    let cut = in_shards();
    for elsewhere in ["../other.safetensors", "/etc/passwd", "below/shard.safetensors", ""] {
        change_config(&cut.path().join(INDEX), json!({ "weight_map": { "a": elsewhere } }));
        assert_names(load_unet(&cut), &[INDEX, "weight_map", elsewhere, "same folder"]);
    }
    change_config(&cut.path().join(INDEX), json!({ "weight_map": {} }));
    assert_names(load_unet(&cut), &[INDEX, "weight_map", "no shards"]);
    change_config(&cut.path().join(INDEX), json!({ "weight_map": null }));
    assert_names(load_unet(&cut), &[INDEX, "weight_map"]);
}

#[test]
fn problems_are_reported_together() {
    let folder = copy("unet_lists");
    let file = folder.path().join(WEIGHTS_FILE);
    let mut tensors = tensors(&file);
    let bias = tensors.remove("conv_in.bias").expect("a tensor");
    tensors.insert("conv_out.extra".to_owned(), bias.clone());
    tensors.insert("conv_norm_out.weight".to_owned(), bias.unsqueeze(0).expect("a row"));
    weights::save(&tensors, &file).expect("save");
    assert_names(
        load_unet(&folder),
        &[
            WEIGHTS_FILE,
            "\"conv_in.bias\" is missing",
            "\"conv_norm_out.weight\" has shape [1, 4]",
            "conv_out.extra",
        ],
    );
    // For a completely different file, only the first problems are listed.
    std::fs::copy(crate::fixture::folder("unet_sd15").join(WEIGHTS_FILE), &file).expect("copy");
    assert_names(load_unet(&folder), &["more"]);
}

/// A pickle whose attention layers have the names of old versions of diffusers.
#[test]
fn old_autoencoders_are_read_from_pickles() {
    let expected = Expected::read("model/vae");
    let (vae, _) = Autoencoder::load(&folder("sources/vae_old"), &Device::Cpu, false).expect("load");
    let posterior = vae.encode(expected.get("pictures")).expect("encode");
    expected.assert_close("mean", &posterior.mean, 1e-5);
    expected.assert_close("log_variance", &posterior.log_variance, 1e-5);
}
