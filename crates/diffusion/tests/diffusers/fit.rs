//! Parts of different families, judged by their configs alone.

use crate::fixture::folder;
use crate::loading::change_config;
use candle_core::{DType, Device, Tensor};
use diffusion::lora;
use diffusion::part_folders::PartFolders;
use diffusion::pipeline::TextToImage;
use diffusion::weights;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// A folder with the configs of a fixture's parts, and no weights.
fn configs(name: &str) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for part in ["unet", "vae", "text_encoder", "text_encoder_2", "scheduler"] {
        let file = if part == "scheduler" { "scheduler_config.json" } else { "config.json" };
        let from = folder(name).join(part).join(file);
        if from.is_file() {
            std::fs::create_dir(copy.path().join(part)).expect("create");
            std::fs::copy(from, copy.path().join(part).join(file)).expect("copy");
        }
    }
    copy
}

fn changed(name: &str, file: &str, fields: Value) -> TempDir {
    let copy = configs(name);
    change_config(&copy.path().join(file), fields);
    copy
}

fn folders(folder: &Path) -> PartFolders {
    PartFolders::new(folder, None)
}

#[test]
fn channels_and_widths_must_fit() {
    for name in ["model", "sd21", "sdxl"] {
        folders(configs(name).path()).check_fit().expect(name);
    }
    let unet = "unet/config.json";
    for (name, file, fields, words) in [
        (
            "model",
            unet,
            json!({ "in_channels": 9 }),
            ["takes 9 channels: an inpainting model draws nothing from text alone", "have 4"],
        ),
        ("model", unet, json!({ "in_channels": 8 }), ["takes 8 channels: an editing model", "have 4"]),
        ("model", unet, json!({ "in_channels": 5 }), ["takes 5 channels", "depth"]),
        ("model", unet, json!({ "out_channels": 8 }), ["out_channels: gives 8", "have 4"]),
        ("model", "vae/config.json", json!({ "latent_channels": 16 }), ["takes 4 channels", "have 16"]),
        (
            "model",
            "text_encoder/config.json",
            json!({ "hidden_size": 10 }),
            ["cross_attention_dim", "width 10"],
        ),
        (
            "sdxl",
            "text_encoder_2/config.json",
            json!({ "projection_dim": 3 }),
            ["projection_class_embeddings_input_dim", "width 3"],
        ),
    ] {
        let copy = changed(name, file, fields);
        let error = folders(copy.path()).check_fit().expect_err(words[0]).to_string();
        assert!(error.contains("unet/config.json"), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error} instead of {words:?}");
        // What draws images asks the same, before it reads weights.
        let error = folders(copy.path()).defaults().expect_err(words[0]).to_string();
        assert!(error.contains(words[0]), "{error}");
        let error = TextToImage::open(&folders(copy.path()), &Device::Cpu).expect_err(words[0]).to_string();
        assert!(error.contains("unet"), "{error}");
    }
}

/// A model that edits images draws nothing from text alone, but can be imported for `style`.
#[test]
fn editing_models_are_recognised() {
    assert!(!folders(configs("model").path()).is_editor().expect("configs"));
    let copy = changed("model", "unet/config.json", json!({ "in_channels": 8 }));
    assert!(folders(copy.path()).is_editor().expect("configs"));
    change_config(&copy.path().join("text_encoder/config.json"), json!({ "hidden_size": 10 }));
    let error = folders(copy.path()).is_editor().expect_err("another width").to_string();
    assert!(error.contains("cross_attention_dim"), "{error}");
}

#[test]
fn a_reference_must_be_of_the_family_of_the_base() {
    let base = configs("model");
    let base = folders(base.path());
    base.check_reference(&base).expect("itself");
    for (file, fields, words) in [
        ("unet/config.json", json!({ "cross_attention_dim": 20 }), ["cross_attention_dim", "20"]),
        ("unet/config.json", json!({ "in_channels": 9 }), ["in_channels", "9"]),
        (
            "scheduler/scheduler_config.json",
            json!({ "prediction_type": "v_prediction" }),
            ["VPrediction", "Epsilon"],
        ),
        ("scheduler/scheduler_config.json", json!({ "beta_end": 0.02 }), ["timestep", "share"]),
    ] {
        let other = changed("model", file, fields);
        let error = base.check_reference(&folders(other.path())).expect_err(words[0]).to_string();
        assert!(error.contains("reference") && error.contains(file), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error} instead of {words:?}");
    }
    // Where neither schedule keeps any signal at the end, they are the same.
    let zero = json!({ "prediction_type": "v_prediction", "rescale_betas_zero_snr": true });
    let [one, two] = [(); 2].map(|()| changed("model", "scheduler/scheduler_config.json", zero.clone()));
    folders(one.path()).check_reference(&folders(two.path())).expect("equal");
    assert!(base.check_reference(&folders(one.path())).is_err());
}

/// An adapter of another model, below which the base's folder lies.
#[test]
fn adapters_must_fit_the_base() {
    let base = configs("model");
    let adapter = |values: &[(&str, [usize; 2])]| {
        let copy = tempfile::tempdir().expect("a folder");
        let tensors = values.iter().map(|(name, shape)| {
            let zeros = Tensor::zeros(shape.as_slice(), DType::F32, &Device::Cpu).expect("zeros");
            ((*name).to_owned(), zeros)
        });
        weights::save(&tensors.collect(), &copy.path().join(lora::WEIGHTS_FILE)).expect("save");
        copy
    };
    let fits = |values: &[(&str, [usize; 2])]| {
        PartFolders::new(adapter(values).path(), Some(base.path()))
            .check_fit()
            .map_err(|error| error.to_string())
    };
    const DOWN: &str = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight";
    const UP: &str = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight";
    assert_eq!(fits(&[(DOWN, [2, 12]), (UP, [8, 2])]), Ok(()));
    let wide = fits(&[(DOWN, [2, 768]), (UP, [8, 2])]).expect_err("another text width");
    assert!(wide.contains(DOWN) && wide.contains("[2, 768]") && wide.contains("[2, 12]"), "{wide}");
    let tall = fits(&[(DOWN, [2, 12]), (UP, [320, 2])]).expect_err("other channels");
    assert!(tall.contains(UP) && tall.contains("[320, 2]") && tall.contains("[8, 2]"), "{tall}");
    let elsewhere =
        fits(&[("unet.down_blocks.7.resnets.0.conv1.lora_A.weight", [2, 12])]).expect_err("no layer");
    assert!(
        elsewhere.contains("down_blocks.7") && elsewhere.contains("another kind of model"),
        "{elsewhere}"
    );
}
