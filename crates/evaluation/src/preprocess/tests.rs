//! Comparison of resizing and preprocessing with Pillow, torch, torchvision and transformers (`oracles/resizers.py`).

use super::pillow_resize::{resize_nearest, resize_u8, resize_u16};
use super::torch_resize::{bicubic, bicubic_antialiased};
use super::{PillowImage, Preprocessing, Window, resize_f32};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess")
}

fn expected() -> (Value, HashMap<String, Tensor>) {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("a fixture");
    let tensors = candle_core::safetensors::load(folder().join("expected.safetensors"), &Device::Cpu)
        .expect("a fixture");
    (serde_json::from_str(&text).expect("a fixture"), tensors)
}

fn hash(bytes: &[u8]) -> String {
    files::sha256::of_bytes(bytes)
}

fn size(value: &Value) -> (usize, usize) {
    (value[0].as_u64().expect("a size") as usize, value[1].as_u64().expect("a size") as usize)
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hexadecimal");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal")).collect()
}

fn image(name: &str) -> PillowImage {
    let file = folder().join(name);
    PillowImage::decode(&std::fs::read(&file).expect("an image"), &file).expect(name)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values")
}

fn assert_near(name: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{name} is off by {worst:e}");
}

#[test]
fn resizing_equals_pillow_bit_for_bit_in_every_mode() {
    let (expected, _) = expected();
    let cases = expected["resized"].as_array().expect("cases");
    assert!(cases.len() >= 20);
    for case in cases {
        let (from, to) = (size(&case["from"]), size(&case["to"]));
        let channels = case["channels"].as_u64().expect("a number") as usize;
        let samples = bytes(&case["values"]);
        let mode = case["mode"].as_str().expect("a mode");
        let whole = Window::whole(to);
        let ours = match mode {
            "F" => {
                let samples: Vec<f32> = samples.iter().map(|&v| f32::from(v) * 1.7 - 40.0).collect();
                let resized = resize_f32(&samples, from, to, whole);
                resized.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            "I;16" => {
                let samples: Vec<u16> = samples.iter().map(|&v| u16::from(v) * 257).collect();
                let resized = resize_u16(&samples, from, to, whole);
                resized.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            _ => resize_u8(&samples, channels, from, to, whole),
        };
        assert_eq!(hash(&ours), case["bicubic"], "{mode} {from:?} to {to:?}");
        if mode == "L" {
            let ours = resize_nearest(&samples, from, to, Window::whole(to));
            assert_eq!(hash(&ours), case["nearest"], "{from:?} to {to:?} nearest");
        }
    }
}

#[test]
fn a_window_equals_that_part_of_the_whole() {
    let (from, to) = ((31, 22), (17, 45));
    let samples: Vec<u8> = (0..31 * 22 * 3).map(|i| (i * i % 251) as u8).collect();
    let window = Window { x: 4, y: 11, width: 9, height: 20 };
    let whole = resize_u8(&samples, 3, from, to, Window::whole(to));
    let part = resize_u8(&samples, 3, from, to, window);
    let cut: Vec<u8> = (11..31).flat_map(|y| whole[(y * 17 + 4) * 3..][..27].to_vec()).collect();
    assert!(part == cut);
}

#[test]
fn bicubic_interpolation_equals_torch() {
    let (_, tensors) = expected();
    for i in 0..4 {
        let get = |name: &str| &tensors[&format!("torch.{i}.{name}")];
        let size = |t: &Tensor| t.dims2().map(|(h, w)| (w, h)).expect("an image");
        let (from, to) = (size(get("values")), size(get("plain")));
        let samples = values(get("values"));
        assert_near("plain", &bicubic(&samples, from, to), &values(get("plain")), 2e-6);
        let ours = bicubic_antialiased(&samples, from, to);
        assert_near("antialiased", &ours, &values(get("antialiased")), 2e-6);
    }
}

/// PNG files bit for bit; of JPEG files, whose decoders differ, only the size.
#[test]
fn image_files_decode_as_in_pillow() {
    let (expected, _) = expected();
    let images = expected["pictures"].as_object().expect("pictures");
    assert!(images.len() >= 20);
    for (name, about) in images {
        let ours = image(name);
        assert_eq!(ours.size(), size(&about["size"]), "{name}");
        if name.ends_with(".png") {
            assert_eq!(hash(&ours.rgb()), about["rgb"], "{name}");
        }
    }
}

#[test]
fn preprocessing_equals_the_reference_packages() {
    let (expected, tensors) = expected();
    let side = expected["side"].as_u64().expect("a number") as usize;
    let ways = [
        ("openai", Preprocessing::OpenAi),
        ("transformers", Preprocessing::Transformers),
        ("hps", Preprocessing::Hps { antialias: false }),
        ("hps_antialias", Preprocessing::Hps { antialias: true }),
    ];
    for name in expected["pictures"].as_object().expect("pictures").keys() {
        for (way, preprocessing) in ways {
            let ours = preprocessing.batch(&[image(name)], side, &Device::Cpu);
            let Some(theirs) = tensors.get(&format!("{name}.{way}")) else {
                // The shorter side would have no pixel.
                assert!(ours.expect_err(name).to_string().contains("too narrow"), "{name}");
                continue;
            };
            let ours = ours.expect(name);
            assert_eq!(ours.dims()[1..], *theirs.dims(), "{name} {way}");
            // One level of difference between JPEG decoders is 1 / 255 / 0.26 = 0.015.
            let tolerance = if name.ends_with(".jpg") { 0.035 } else { 5e-6 };
            assert_near(&format!("{name} {way}"), &values(&ours), &values(theirs), tolerance);
        }
    }
}

/// The reference packages never call `exif_transpose`.
#[test]
fn exif_orientation_is_ignored() {
    assert!(image("turned.jpg") == image("photo.jpg"));
}

#[test]
fn other_files_and_bombs_are_refused_by_name() {
    let file = Path::new("some/file.png");
    let whole = std::fs::read(folder().join("rgba.png")).expect("an image");
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0x00, 0x7f, 0xff, 0xff, 0x00, 0x7f, 0xff, 0xff]);
    // With a valid checksum, so that the size is the only problem.
    let checksum = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&checksum);
    for (bytes, about) in [
        (&b""[..], "is not an image"),
        (&b"<svg/>"[..], "is not an image"),
        (&whole[..whole.len() / 2], "is an incomplete PNG image"),
        (&bomb, "scale it down"),
    ] {
        let message = PillowImage::decode(bytes, file).expect_err(about).to_string();
        assert!(message.starts_with("some/file.png: ") && message.contains(about), "{message}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
