//! Models in every layout of weights files: import, train, evaluate and export read each, with the same result.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

const PARTS: [(&str, &str, &str); 3] = [
    ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
    ("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
    ("text_encoder", "model", "pytorch_model"),
];

fn read(file: &Path) -> Tensors {
    let bytes = fs::read(file).expect("a file");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors().into_iter();
    tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect()
}

fn write(tensors: &Tensors, file: &Path) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("bytes"))
    });
    fs::write(file, safetensors::serialize(views, None).expect("tensors")).expect("written");
}

/// A file in the format of torch before 1.6.
fn pickle(tensors: &Tensors) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let number = |number: usize| [b"J", &(number as u32).to_le_bytes()[..]].concat();
    let mut file =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}(".to_vec();
    for (name, (dtype, shape, _)) in tensors {
        let storage: &[u8] = match dtype {
            Dtype::F16 => b"HalfStorage",
            Dtype::F32 => b"FloatStorage",
            other => panic!("{other} is not written"),
        };
        let count: usize = shape.iter().product();
        file.extend(text(name));
        file.extend(b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\n");
        file.extend(storage);
        file.extend([b"\n", &text(name)[..], b"U\x03cpu", &number(count), b"NtQK\x00("].concat());
        shape.iter().for_each(|&size| file.extend(number(size)));
        file.extend(b"t(");
        let strides = (0..shape.len()).map(|i| shape[i + 1..].iter().product::<usize>());
        strides.for_each(|stride| file.extend(number(stride)));
        file.extend(b"ttR");
    }
    file.extend(b"u.\x80\x02](");
    tensors.keys().for_each(|name| file.extend(text(name)));
    file.extend(b"e.");
    for (_, shape, data) in tensors.values() {
        file.extend((shape.iter().product::<usize>() as u64).to_le_bytes());
        file.extend(data);
    }
    file
}

/// Moves the weights of a part to another layout.
fn lay_out(folder: &Path, stem: &str, pickled: &str, layout: &str) {
    let whole = folder.join(format!("{stem}.safetensors"));
    let tensors = read(&whole);
    fs::remove_file(&whole).expect("removed");
    match layout {
        "bin" => fs::write(folder.join(format!("{pickled}.bin")), pickle(&tensors)).expect("written"),
        "shards" | "fp16 shards" => {
            let (part, index) = if layout == "shards" { ("", "") } else { (".fp16", ".fp16") };
            let shard = |i: usize| format!("{stem}{part}-0000{}-of-00002.safetensors", i + 1);
            let mut map = BTreeMap::new();
            for i in 0..2 {
                let own = tensors
                    .iter()
                    .enumerate()
                    .filter(|(j, _)| j % 2 == i)
                    .map(|(_, (k, v))| (k.clone(), v.clone()));
                let own: Tensors = own.collect();
                map.extend(own.keys().map(|name| (name.clone(), shard(i))));
                write(&own, &folder.join(shard(i)));
            }
            let index = folder.join(format!("{stem}.safetensors.index{index}.json"));
            fs::write(index, json!({ "weight_map": map }).to_string()).expect("written");
        }
        variant => write(&tensors, &folder.join(format!("{stem}.{variant}.safetensors"))),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).expect("copied") }
    }
}

fn trainer(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    command.current_dir(folder).args(arguments).args(["--models", "models"]);
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_layout_is_imported_trained_evaluated_and_exported() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes");
    copy(&bundled, &folder.join("models/shapes"));
    let layouts = ["fp16", "bf16", "shards", "fp16 shards", "bin"];
    let mut models = vec!["shapes".to_owned()];
    for layout in layouts {
        let name = layout.replace(' ', "-");
        let source = folder.join(&name);
        copy(&bundled, &source);
        for (part, stem, pickled) in PARTS {
            lay_out(&source.join(part), stem, pickled, layout);
        }
        trainer(folder, &["import", source.to_str().expect("a path"), "--name", &name]);
        let imported = folder.join("models").join(&name);
        assert!(!imported.join("unet/diffusion_pytorch_model.safetensors").exists(), "{layout} was changed");
        models.push(name);
    }
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let mut trained = vec![];
    for model in &models {
        trainer(folder, &["export", model, "--out", &format!("{model}-out"), "--dtype", "f16"]);
        let config = format!(
            "name = 'from-{model}'\nbase = '{model}'\nsteps = 1\nbatch_size = 2\nobjective = {{ kind = 'sft' }}\n\
             data = {{ source = 'shapes', set = 'winter', count = 4 }}\nlearning_rate = {{ rate = 1e-4 }}"
        );
        fs::write(folder.join("train.toml"), config).expect("written");
        trainer(folder, &["train", "train.toml"]);
        trained.push(read(&folder.join(format!("data/runs/from-{model}/models/step-0000001")).join(unet)));
    }
    for (model, weights) in models.iter().zip(&trained) {
        for part in [unet, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"] {
            let exported = |model: &str| read(&folder.join(format!("{model}-out")).join(part));
            assert!(exported(model) == exported("shapes"), "{part} of {model}");
        }
        assert!(*weights == trained[0], "trained from {model}");
    }
    let spec = json!({
        "models": models, "steps": 2, "seed": 3, "prompts": { "source": "shapes_held_out", "count": 2 }
    });
    fs::write(folder.join("all.toml"), toml::to_string(&spec).expect("TOML")).expect("written");
    trainer(folder, &["evaluate", "all.toml", "--out", "report"]);
    let report = fs::read(folder.join("report/report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["models"].as_array().map(Vec::len), Some(models.len()));
    for (i, model) in models.iter().enumerate().skip(1) {
        for image in ["00000.png", "00001.png"] {
            let drawn = |i: usize| {
                fs::read(folder.join(format!("report/images/0{i}")).join(image)).expect("an image")
            };
            assert!(drawn(i) == drawn(0), "{image} of {model}");
        }
    }
}
