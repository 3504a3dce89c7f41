//! AdamW against bitsandbytes, candle's operations and values worked by hand.

use super::{AdamW, Moments};
use crate::optim::Gradients;
use candle_core::{Device, Tensor, Var};
use diffusion::weights::Variables;
use domain::train::Moments as Width;
use std::collections::HashMap;
use std::path::Path;

/// Compares 8-bit moments with bitsandbytes' AdamW8bit (oracles/adamw_8bit.py), whose search does not always find the
/// nearest fraction, as ours does. After the first update the weights and largest magnitudes are the same, and nearly
/// all codes. After three updates our weights are at least as close to those of f32 moments.
#[test]
fn eight_bit_moments_match_bitsandbytes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adamw_8bit.safetensors");
    let fixture: HashMap<String, Tensor> =
        candle_core::safetensors::load(file, &Device::Cpu).expect("the fixture");
    let wide = |name: &str| fixture[name].to_dtype(candle_core::DType::F32).expect(name);
    let numbers = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers");
    let run = |width: Width, updates: usize| {
        let w = Var::from_tensor(&wide("start")).expect("var");
        let variables = Variables::from([("w".to_owned(), w.clone())]);
        let mut adamw = AdamW::new([0.9, 0.999], 1e-8, 1e-2, width, &variables).expect("state");
        for update in 0..updates {
            let mut gradients = Gradients::default();
            let found = [("w".to_owned(), wide(&format!("gradient.{update}")))].into();
            gradients.add_named(found, &variables).expect("gradients");
            adamw.update(&variables, &gradients, 1.0, 1e-2).expect("update");
        }
        (numbers(w.as_tensor()), adamw.state().expect("state"))
    };
    let differences = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>();
    let (ours, state) = run(Width::Int8, 1);
    let off = differences(&ours, &numbers(&wide("after.0"))).into_iter().fold(0.0, f32::max);
    assert!(off < 2e-6, "off by {off}");
    for name in ["first", "second"] {
        let largest =
            (numbers(&state[&format!("w.{name}.largest")]), numbers(&wide(&format!("{name}.largest"))));
        let off = largest.0.iter().zip(&largest.1).map(|(a, b)| (a - b).abs() / b).fold(0.0, f32::max);
        // bitsandbytes computes 1 - beta2 in f32: 0.001000047.
        assert!(off <= if name == "first" { 1e-6 } else { 5e-5 }, "{name}: off by {off}");
        let codes = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<u8>()).expect("codes");
        let (ours, theirs) = (codes(&state[&format!("w.{name}")]), codes(&fixture[name]));
        let same = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        assert!(same * 100 >= ours.len() * 95, "{name}: {same} of {} codes are the same", ours.len());
    }
    let (ours, exact) = (run(Width::Int8, 3).0, run(Width::F32, 3).0);
    let distance = |from: &[f32]| differences(from, &exact).into_iter().map(f64::from).sum::<f64>();
    let (ours, theirs) = (distance(&ours), distance(&numbers(&wide("after.2"))));
    assert!(ours > 0.0 && ours <= theirs, "distance from f32 moments: {ours}, bitsandbytes {theirs}");
}

/// On a device without our kernel, the update is composed of candle's operations.
#[test]
fn composed_updates_equal_host_updates() {
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).expect("tensor");
    let gradient = tensor(&[0.3, -2.0, 0.0, 1e-3]);
    let vars = [(); 2].map(|()| Var::from_tensor(&tensor(&[1.0, -0.5, 2.0, 0.0])).expect("var"));
    let named = |w: &Var| Variables::from([("w".to_owned(), w.clone())]);
    let mut host = AdamW::new([0.9, 0.999], 1e-8, 0.1, Width::F32, &named(&vars[0])).expect("state");
    let mut device = AdamW::new([0.9, 0.999], 1e-8, 0.1, Width::F32, &named(&vars[1])).expect("state");
    let zeros = || gradient.zeros_like().expect("zeros");
    device.moments.insert("w".to_owned(), Moments::Device(zeros(), zeros()));
    for _ in 0..3 {
        for (adamw, w) in [(&mut host, &vars[0]), (&mut device, &vars[1])] {
            let mut gradients = Gradients::default();
            let found = [("w".to_owned(), gradient.clone())].into();
            gradients.add_named(found, &named(w)).expect("gradients");
            adamw.update(&named(w), &gradients, 0.5, 1e-2).expect("update");
        }
    }
    let [host, device] = vars.map(|w| w.to_vec1::<f32>().expect("values"));
    assert!(host.iter().zip(&device).all(|(a, b)| (a - b).abs() < 1e-6), "{host:?} {device:?}");
}

/// Two updates of one weight, worked by hand: gradient 2w, start 1, beta1 0.9, beta2 0.999.
#[test]
fn updates_of_a_worked_example() {
    let w = Var::from_tensor(&Tensor::new(&[1f32], &Device::Cpu).expect("tensor")).expect("var");
    let variables = Variables::from([("w".to_owned(), w.clone())]);
    let mut adamw = AdamW::new([0.9, 0.999], 1e-8, 0.1, Width::F32, &variables).expect("state");
    let step = |adamw: &mut AdamW| {
        let mut gradients = Gradients::default();
        let loss = w.sqr().and_then(|s| s.sum_all()).expect("loss");
        gradients.add(&loss.backward().expect("backward"), &variables).expect("gradients");
        adamw.update(&variables, &gradients, 1.0, 0.01).expect("update");
        w.to_vec1::<f32>().expect("values")[0]
    };
    // m = 0.2, v = 0.004; bias-corrected 2 and 4: w = 1 (1 - 0.001) - 0.01 * 2 / 2 = 0.989
    assert!((step(&mut adamw) - 0.989).abs() < 1e-6);
    // g = 1.978; m = 0.3778, v = 0.007908484...; corrected m/0.19 = 1.98842, v/0.001999 = 3.956220:
    // w = 0.989 * 0.999 - 0.01 * 1.98842 / 1.98903 = 0.978014
    assert!((step(&mut adamw) - 0.978_014).abs() < 2e-6);
}
