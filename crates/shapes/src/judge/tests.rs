//! The judge on scenes whose content is known.

use super::{detect, follows, judge, judge_pair};
use crate::image::{Image, SIDE};
use crate::world::{Kind, PairPrompt, Split, held_out_prompts, scene};

#[test]
fn shape_colour_size_and_background_of_single_objects_are_recognised() {
    let (mut both, mut size, mut background) = (0, 0, 0);
    for seed in 0..1000 {
        let split = if seed % 2 == 0 { Split::Train } else { Split::HeldOut };
        let scene = scene(seed, split, if seed % 4 < 2 { Kind::Single } else { Kind::Centred });
        let verdict = judge(&scene.paint());
        let object = &scene.objects[0];
        both += usize::from(verdict.shape == Some(object.shape) && verdict.colour == Some(object.colour));
        size += usize::from(verdict.size == object.size);
        background += usize::from(verdict.background == scene.background);
    }
    println!("of 1000: shape and colour {both}, size {size}, background {background}");
    assert!(both >= 990 && size >= 990 && background >= 990, "{both} {size} {background}");
}

#[test]
fn two_objects_and_their_relation_are_recognised() {
    let mut right = 0;
    for seed in 0..300 {
        let scene = scene(seed, Split::HeldOut, Kind::Pair);
        let looks = |index: usize| (scene.objects[index].shape, scene.objects[index].colour);
        let asked = PairPrompt {
            caption: scene.caption(),
            first: looks(0),
            relation: scene.relation.unwrap(),
            second: looks(1),
            background: scene.background,
        };
        let verdict = judge_pair(&scene.paint());
        right += usize::from(verdict.as_ref().is_some_and(|verdict| verdict.satisfies(&asked)));
        let opposite = PairPrompt { relation: asked.relation.inverse(), ..asked };
        assert!(!verdict.is_some_and(|verdict| verdict.satisfies(&opposite)));
    }
    println!("of 300 pairs: {right}");
    assert!(right >= 297, "{right}");
}

#[test]
fn three_objects_are_all_detected() {
    let found = (0..200)
        .filter(|&seed| {
            let scene = scene(seed, Split::Train, Kind::Triple);
            let seen = detect(&scene.paint()).objects;
            let is_seen =
                |shape, colour| seen.iter().any(|it| it.shape == Some(shape) && it.colour == colour);
            seen.len() == 3 && scene.objects.iter().all(|object| is_seen(object.shape, object.colour))
        })
        .count();
    println!("of 200 triples: {found}");
    assert!(found >= 196, "{found}");
}

#[test]
fn another_shape_or_colour_does_not_satisfy_a_prompt() {
    let prompts = held_out_prompts(200, 7);
    for seed in 0..50 {
        let scene = scene(seed, Split::HeldOut, Kind::Single);
        let verdict = judge(&scene.paint());
        let object = &scene.objects[0];
        for prompt in &prompts {
            let asked = prompt.shape == object.shape && prompt.colour == object.colour;
            assert_eq!(verdict.satisfies(prompt), asked, "{} for {}", scene.caption(), prompt.caption);
        }
    }
}

#[test]
fn images_without_objects_have_no_shape() {
    let flat = |level: u8| vec![level; SIDE * SIDE * 3];
    let mut state = 1u32;
    let mut noise = flat(0);
    noise.iter_mut().for_each(|byte| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    });
    let mut single_pixel = flat(0);
    single_pixel[3 * (SIDE * 30 + 30)..][..3].fill(255);
    let stripes = (0..SIDE * SIDE * 3).map(|byte| if byte / 3 % 2 == 0 { 0 } else { 255 }).collect();
    for pixels in [flat(0), flat(255), noise, single_pixel, stripes] {
        let image = Image::from_pixels(pixels).unwrap();
        assert_eq!(judge(&image).shape, None, "{:?}", detect(&image));
        if let Some(pair) = judge_pair(&image) {
            assert_eq!((pair.first.shape, pair.second.shape), (None, None));
        }
    }
}

#[test]
fn images_of_the_world_follow_their_captions_and_contradictions_do_not() {
    use crate::quality::quality_pair;
    use crate::world::Statement;
    let (mut right, mut wrong, mut contradicted) = (0, 0, 0);
    for seed in 0..300 {
        let pair = quality_pair(seed);
        if pair.swapped {
            continue;
        }
        let statement = Statement::parse(&pair.caption).expect("a caption");
        right += usize::from(follows(&pair.winner, &statement));
        if pair.flaw.contradicts() {
            contradicted += 1;
            wrong += usize::from(!follows(&pair.loser, &statement));
        }
    }
    assert!(right > 270, "{right} of about 285 winners");
    assert!(wrong * 100 > contradicted * 97, "{wrong} of {contradicted} contradictions");
}
