//! Conversion of single-file checkpoints against diffusers' conversion, which `oracles/sources.py` ran.

use crate::fixture::{folder, json};
use diffusion::config::Prediction;
use diffusion::single_file::{Family, Metadata, Options, SingleFile, View, plan};
use serde_json::Value;
use std::collections::BTreeMap;

type Shapes = BTreeMap<String, Vec<usize>>;

/// The tensors of a published model by name, and for each the part, the new name and the view.
fn published(name: &str) -> (Shapes, Vec<(String, [String; 3])>) {
    let text = std::fs::read_to_string(folder("sources").join(name)).expect("a list");
    let (mut shapes, mut becomes) = (Shapes::new(), vec![]);
    let mut before = [String::new(), String::new()];
    let name = |shared: &str, before: &str| -> String {
        let (shared, rest) = shared.split_once(' ').expect("a name");
        before[..shared.parse().expect("a number")].to_owned() + rest
    };
    for line in text.lines() {
        let [shape, old, part, new, view] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        before = [name(old, &before[0]), name(new, &before[1])];
        let [old, new] = before.clone();
        let shape = shape.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().expect(line)).collect();
        shapes.insert(old.clone(), shape);
        becomes.push((old, [part.to_owned(), new, view.to_owned()]));
    }
    (shapes, becomes)
}

const VELOCITY: Options =
    Options { prediction: Some(Prediction::VPrediction), average: false, unet_only: false };

const PUBLISHED: [(&str, Family, Option<&str>); 3] = [
    ("sd1.txt", Family::StableDiffusion1, Some("sd15")),
    ("sd2.txt", Family::StableDiffusion2, Some("sd21")),
    ("sdxl.txt", Family::StableDiffusionXl, Some("sdxl")),
];

/// At full size, every tensor of the published models is converted as by diffusers, and the UNet's config is the published
/// one.
#[test]
fn published_models_at_full_size() {
    for (list, family, config) in PUBLISHED {
        let (shapes, mut expected) = published(list);
        let plan = plan(&shapes, &Metadata::new(), VELOCITY).expect(list);
        assert_eq!(plan.family, family);
        let mut ours = vec![];
        for part in &plan.parts {
            for tensor in &part.tensors {
                let view = match tensor.view {
                    View::Whole => "whole".to_owned(),
                    View::Third(i) => format!("third {i}"),
                    View::Transposed => "transposed".to_owned(),
                    View::Matrix => "matrix".to_owned(),
                };
                ours.push((tensor.old.clone(), [part.name.to_owned(), tensor.new.clone(), view]));
            }
        }
        let left_out = |old: &String| (old.clone(), [String::from("left out"), String::new(), String::new()]);
        let named: Vec<_> = ours.iter().map(|(old, _)| old.clone()).collect();
        ours.extend(shapes.keys().filter(|old| !named.contains(old)).map(left_out));
        ours.sort();
        expected.iter_mut().filter(|(_, [_, new, _])| new.is_empty()).for_each(|(_, [part, _, view])| {
            // The list has the reason in the column of the view.
            *part = std::mem::take(view);
        });
        expected.sort();
        assert_eq!(ours.len(), expected.len(), "{list}");
        for (ours, theirs) in ours.iter().zip(&expected) {
            assert_eq!(ours, theirs, "{list}");
        }
        let Some(config) = config else { continue };
        let theirs = json(&format!("published/{config}/config.json"));
        let ours = &plan.parts[0].config;
        for (field, value) in ours.as_object().expect("a config") {
            let neutral = ["_diffusers_version", "transformer_layers_per_block", "use_linear_projection"];
            if theirs[field] != *value && !(theirs[field].is_null() && neutral.contains(&field.as_str())) {
                assert_eq!(field, "_diffusers_version", "{config}: {value} is {} there", theirs[field]);
            }
        }
        assert_eq!(ours["transformer_layers_per_block"], theirs["transformer_layers_per_block"], "{config}");
    }
}

#[test]
fn missing_misshapen_and_superfluous_tensors_are_named() {
    let (whole, _) = published("sd1.txt");
    plan(&whole, &Metadata::new(), Options::default()).expect("complete");
    let problem = |change: &dyn Fn(&mut Shapes)| {
        let mut shapes = whole.clone();
        change(&mut shapes);
        plan(&shapes, &Metadata::new(), Options::default()).expect_err("a problem")
    };
    const NAME: &str = "model.diffusion_model.output_blocks.5.2.conv.weight";
    let missing = problem(&|s| drop(s.remove(NAME)));
    assert!(missing.contains(NAME) && missing.contains("missing"), "{missing}");
    let misshapen = problem(&|s| drop(s.insert(NAME.to_owned(), vec![640, 640, 1, 1])));
    assert!(misshapen.contains(NAME) && misshapen.contains("[640, 640, 1, 1]"), "{misshapen}");
    let extra = problem(&|s| drop(s.insert("first_stage_model.more.weight".to_owned(), vec![1])));
    assert!(extra.contains("first_stage_model.more.weight") && extra.contains("is not part of"), "{extra}");
    let hostile = problem(&|s| {
        s.insert("model.diffusion_model.input_blocks.99999999999.0.op.weight".to_owned(), vec![1]);
    });
    assert!(hostile.contains("99999999999"), "{hostile}");
    for (prefix, words) in [("first_stage_model.", "autoencoder"), ("cond_stage_model.", "text tower")] {
        let without = problem(&|s| s.retain(|name, _| !name.starts_with(prefix)));
        assert!(without.contains(words) && without.contains("over a base"), "{without}");
    }
    let lora = problem(&|s| drop(s.insert("lora_unet_down.weight".to_owned(), vec![1])));
    assert!(lora.contains("LoRA"), "{lora}");
    let nothing = plan(&Shapes::new(), &Metadata::new(), Options::default()).expect_err("nothing");
    assert!(nothing.contains("model.diffusion_model."), "{nothing}");
    // Tensors that belong to no part are left out.
    let mut more = whole.clone();
    more.insert("embedding_manager.strings".to_owned(), vec![4]);
    let left_out = plan(&more, &Metadata::new(), Options::default()).expect("a plan").left_out;
    let strings = left_out.iter().find(|tensor| tensor.name == "embedding_manager.strings").expect("listed");
    assert_eq!(strings.reason, "belong to no part of the model");
    let betas = left_out.iter().find(|tensor| tensor.name == "betas");
    assert!(betas.is_none_or(|betas| betas.reason.contains("noise schedule")), "{betas:?}");
    let (second, _) = published("sd2.txt");
    let unknown = plan(&second, &Metadata::new(), Options::default()).expect_err("no prediction");
    assert!(unknown.contains("--prediction-type"), "{unknown}");
    // A file with only the UNet, of which only the UNet is converted.
    let mut alone = second;
    alone.retain(|name, _| name.starts_with("model.diffusion_model."));
    let plan =
        plan(&alone, &Metadata::new(), Options { unet_only: true, ..Options::default() }).expect("a UNet");
    assert_eq!((plan.parts.len(), plan.family), (1, Family::StableDiffusion2));
}

/// Files of torch with the additional content of training checkpoints. The converted weights equal diffusers' byte for byte.
#[test]
fn converted_checkpoints_equal_diffusers() {
    let expected = json("sources/expected.json");
    for (name, parts) in [("sd1", 3), ("sd2", 3), ("sdxl", 4)] {
        let file = folder("sources").join(format!("{name}.ckpt"));
        for average in [false, true] {
            let options = Options { average, ..VELOCITY };
            if average && name != "sd1" {
                let problem = SingleFile::open(&file, options).expect_err("no averages").to_string();
                assert!(problem.contains("model_ema"), "{problem}");
                continue;
            }
            let scratch = tempfile::tempdir().expect("a folder");
            let single = SingleFile::open(&file, options).unwrap_or_else(|e| panic!("{e}"));
            let mut written = 0;
            single.write(scratch.path(), &mut |_| written += 1).expect("written");
            assert_eq!((written, single.plan().parts.len()), (parts, parts));
            assert_eq!(single.plan().has_average, name == "sd1");
            for part in &single.plan().parts {
                let weights = scratch.path().join(part.name).join(part.weights_file());
                let key = if average && part.name == "unet" { "unet of averages" } else { part.name };
                assert_eq!(
                    files::sha256::of_file(&weights).expect("a file"),
                    expected[name][key].as_str().expect(key),
                    "{name}'s {key}"
                );
            }
            for (field, value) in expected[name]["config"].as_object().expect("a config") {
                let ours = &single.plan().parts[0].config[field];
                let is_default = ours.is_null() && *value == 1;
                assert!(ours == value || is_default, "{name}: {field} is {ours} instead of {value}");
            }
            let schedule =
                std::fs::read(scratch.path().join("scheduler/scheduler_config.json")).expect("a file");
            let schedule: Value = serde_json::from_slice(&schedule).expect("JSON");
            assert_eq!(schedule["prediction_type"], "v_prediction");
        }
    }
}

/// What a file of SDXL says of itself, by markers and by its header, decides what its UNet predicts.
#[test]
fn statements_of_a_file_are_obeyed_or_asked_about() {
    let (plain, _) = published("sdxl.txt");
    let marked = |markers: &[&str]| {
        let mut shapes = plain.clone();
        shapes.extend(markers.iter().map(|name| ((*name).to_owned(), vec![0])));
        shapes
    };
    let header = |entries: &[(&str, &str)]| -> Metadata {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let chosen = |prediction| Options { prediction, ..Options::default() };
    let (epsilon, velocity) = (Some(Prediction::Epsilon), Some(Prediction::VPrediction));
    let decided = |markers: &[&str], entries: &[(&str, &str)], options: Options| {
        let plan = plan(&marked(markers), &header(entries), options).expect("a plan");
        assert!(!plan.left_out.iter().any(|tensor| markers.contains(&tensor.name.as_str())));
        let schedule =
            &plan.configs.iter().find(|(name, _)| name.starts_with("scheduler/")).expect("a schedule").1;
        assert_eq!(schedule["prediction_type"] == "v_prediction", plan.prediction == velocity);
        assert_eq!(schedule["rescale_betas_zero_snr"] == true, plan.no_last_signal);
        assert_eq!(schedule["timestep_spacing"] == "trailing", plan.no_last_signal);
        (plan.prediction, plan.no_last_signal, plan.notes.join("; "))
    };
    const TYPE: &str = "modelspec.prediction_type";
    const XL: (&str, &str) = ("modelspec.architecture", "stable-diffusion-xl-v1-base");
    let none = Options::default();
    assert_eq!(decided(&[], &[XL], none), (epsilon, false, String::new()));
    for (markers, entries, without_signal) in [
        (&["v_pred"][..], &[][..], false),
        (&["v_pred", "ztsnr"], &[], true),
        (&[], &[(TYPE, "v"), XL], false),
        (&["ztsnr"], &[(TYPE, "v")], true),
        (&["v_pred"], &[("ss_zero_terminal_snr", "True")], true),
    ] {
        let (prediction, no_last_signal, notes) = decided(markers, entries, none);
        assert_eq!((prediction, no_last_signal), (velocity, without_signal), "{markers:?} {entries:?}");
        assert!(markers.iter().all(|name| notes.contains(name)) && notes.contains("velocity"), "{notes}");
    }
    assert_eq!(decided(&[], &[(TYPE, "epsilon")], none).0, epsilon);
    // The flag decides, and what it overrules is named.
    let (prediction, _, notes) = decided(&["v_pred"], &[(TYPE, "v")], chosen(epsilon));
    assert_eq!(prediction, epsilon);
    assert!(notes.contains("--prediction-type epsilon contradicts") && notes.contains(TYPE), "{notes}");
    let (prediction, without_signal, _) = decided(&["ztsnr"], &[], chosen(velocity));
    assert_eq!((prediction, without_signal), (velocity, true));

    let asked = |markers: &[&str], entries: &[(&str, &str)], options: Options, words: &[&str]| {
        let problem = plan(&marked(markers), &header(entries), options).expect_err("a question");
        for word in words.iter().chain(&["--prediction-type"]) {
            assert!(problem.contains(word), "{word:?} is not in {problem}");
        }
    };
    asked(&["v_pred"], &[(TYPE, "epsilon")], none, &["contradicts itself", "v_pred", TYPE]);
    asked(&["ztsnr"], &[], none, &["ztsnr", "nothing says"]);
    asked(&["ztsnr"], &[], chosen(epsilon), &["ztsnr", "contradicts"]);
    asked(&[], &[(TYPE, "sample")], none, &[TYPE, "sample", "only epsilon and v"]);
    asked(
        &[],
        &[("modelspec.architecture", "stable-diffusion-v1")],
        none,
        &["stable-diffusion-v1", "Stable Diffusion XL"],
    );
    for marker in ["edm_mean", "edm_std", "edm_vpred.sigma_max"] {
        let problem = plan(&marked(&[marker]), &Metadata::new(), none).expect_err("another noise schedule");
        assert!(problem.contains("not supported") && problem.contains(&marker[..7]), "{problem}");
    }

    // Files of Stable Diffusion 2 do not differ, but some say what they are.
    let (second, _) = published("sd2.txt");
    for (value, expected) in [("stable-diffusion-v2-768-v", velocity), ("stable-diffusion-v2-512", epsilon)] {
        let said = header(&[("modelspec.architecture", value)]);
        assert_eq!(plan(&second, &said, none).expect("a plan").prediction, expected);
    }
    // A UNet alone takes its noise schedule from a base, with which its statements are compared.
    let alone = Options { unet_only: true, ..none };
    assert_eq!(plan(&plain, &Metadata::new(), alone).expect("a plan").prediction, None);
    assert_eq!(plan(&marked(&["v_pred"]), &Metadata::new(), alone).expect("a plan").prediction, velocity);
}
