//! CLIP's text tower: states of padded ids, and pooled states.

use crate::fixture::{Expected, folder};
use candle_core::{DType, Device};
use diffusion::clip::TextTower;

fn check(name: &str) {
    let expected = Expected::read(name);
    let (tower, _) = TextTower::load(&folder(name), &Device::Cpu).expect(name);
    let ids = expected.get("ids").to_dtype(DType::U32).and_then(|t| t.to_vec2::<u32>()).expect("ids");
    let states = tower.forward(&ids).expect("forward");
    expected.assert_close("states", &states, 1e-5);
    expected.assert_close("pooled", &tower.pool(&states, &ids).expect("pool"), 1e-5);
}

/// OpenAI's text tower, as in SD 1.5, whose config has 2 as the end token although it is the largest id.
#[test]
fn quick_gelu_and_the_largest_id() {
    check("model/text_encoder");
}

#[test]
fn exact_gelu_and_the_end_token() {
    check("text_encoder_gelu");
}

#[test]
fn an_id_outside_the_vocabulary_is_an_error() {
    let (tower, _) = TextTower::load(&folder("text_encoder_gelu"), &Device::Cpu).expect("load");
    assert!(tower.forward(&[vec![0, tower.config().vocab_size as u32]]).is_err());
    assert!(tower.forward(&[vec![0; 78]]).is_err());
}
