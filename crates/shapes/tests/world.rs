//! The public interface of the world: the properties of scenes, captions and prompts, and fingerprints that hold every
//! byte of them.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use shapes::quality::quality_pair;
use shapes::set::{Set, entry};
use shapes::vocabulary::{merges_txt, vocab_json};
use shapes::world::{Kind, Relation, Size, Split, allowed, held_out, held_out_prompts, pair_prompts, scene};
use shapes::{Image, SIDE, contact_sheet};

const KINDS: [Kind; 5] = [Kind::Centred, Kind::Single, Kind::Pair, Kind::Triple, Kind::Mixed];

/// The first 8 bytes of the SHA-256 of all parts.
fn fingerprint(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bundled models and their published figures depend on every byte of this world. After an intended change, train them
/// anew and commit the new values.
#[test]
fn the_world_is_the_one_the_bundled_model_was_trained_on() {
    let scenes = KINDS.iter().flat_map(|&kind| {
        [Split::Train, Split::HeldOut].into_iter().flat_map(move |split| {
            (0..10).flat_map(move |seed| {
                let scene = scene(seed, split, kind);
                [scene.paint().pixels().to_vec(), scene.caption().into_bytes()]
            })
        })
    });
    assert_eq!(fingerprint(scenes), "8dc5d0819f998c5f");
    let prompts = held_out_prompts(200, 0).into_iter().map(|prompt| prompt.caption.into_bytes());
    assert_eq!(fingerprint(prompts), "ef33364e68d24f0e");
    assert_eq!(fingerprint([vocab_json().into_bytes(), merges_txt().into_bytes()]), "7864d41c9047d469");
    let styled = |set| (0..5).map(move |index| entry(set, 0, index).winner.pixels().to_vec());
    let styled = [Set::VanGogh, Set::Sketch, Set::Winter].into_iter().flat_map(styled);
    assert_eq!(fingerprint(styled), "7392d1790e7b7cae");
    let pairs = (0..20).map(quality_pair);
    let pairs = pairs.flat_map(|pair| [pair.winner, pair.loser]).map(|image| image.pixels().to_vec());
    assert_eq!(fingerprint(pairs), "5fdcf46fa2974099");
}

#[test]
fn training_never_shows_a_held_out_combination() {
    for seed in 0..2000 {
        for kind in KINDS {
            let scene = scene(seed, Split::Train, kind);
            for object in &scene.objects {
                assert!(allowed(object.colour, scene.background));
                assert!(!held_out(object.shape, object.colour, scene.background), "{}", scene.caption());
            }
        }
        let scene = scene(seed, Split::HeldOut, Kind::Mixed);
        assert!(held_out(scene.objects[0].shape, scene.objects[0].colour, scene.background));
    }
}

#[test]
fn mixed_scenes_have_their_stated_shares_and_kinds_differ_under_one_seed() {
    let counts = (0..2000).map(|seed| scene(seed, Split::Train, Kind::Mixed).objects.len());
    let mut shares = [0.0f32; 4];
    counts.for_each(|count| shares[count] += 1.0 / 2000.0);
    for (share, stated) in shares.into_iter().zip([0.0, 0.65, 0.25, 0.10]) {
        assert!((share - stated).abs() < 0.04, "{shares:?}");
    }
    assert_eq!(scene(5, Split::Train, Kind::Pair), scene(5, Split::Train, Kind::Pair));
    assert_ne!(scene(5, Split::Train, Kind::Centred), scene(5, Split::Train, Kind::Single));
    assert_ne!(scene(5, Split::Train, Kind::Pair), scene(5, Split::HeldOut, Kind::Pair));
}

/// A scene with and without its objects differs only where the objects are: never on the outermost pixels.
#[test]
fn objects_lie_inside_the_image() {
    for kind in KINDS {
        for seed in 0..300 {
            let mut scene = scene(seed, Split::Train, kind);
            let whole = scene.paint();
            scene.objects.clear();
            let empty = scene.paint();
            let differs = |pixel: usize| whole.pixels()[pixel * 3..][..3] != empty.pixels()[pixel * 3..][..3];
            let edge =
                |pixel: &usize| [pixel % SIDE, pixel / SIDE].iter().any(|at| [0, SIDE - 1].contains(at));
            assert!(!(0..SIDE * SIDE).filter(edge).any(differs), "{kind:?} {seed}");
        }
    }
}

#[test]
fn captions_state_the_content_of_the_scene() {
    for seed in 0..1000 {
        let scene = scene(seed, Split::Train, Kind::Mixed);
        let caption = scene.caption();
        for object in &scene.objects {
            assert!(caption.contains(&format!("{} {}", object.colour, object.shape)), "{caption}");
        }
        if let Some(relation) = scene.relation {
            assert!(caption.contains(relation.name()), "{caption}");
        }
        for wrong in Size::ALL.iter().filter(|&&size| Some(size) != scene.objects[0].size) {
            assert!(!caption.contains(wrong.name()), "{caption}");
        }
        let words: Vec<&str> = caption.split(' ').collect();
        for pair in words.windows(2).filter(|pair| ["a", "an"].contains(&pair[0])) {
            assert_eq!(pair[0] == "an", pair[1].starts_with(['a', 'e', 'i', 'o', 'u']), "{caption}");
        }
    }
}

#[test]
fn held_out_prompts_contain_every_combination_once_before_any_twice() {
    let prompts = held_out_prompts(200, 1);
    assert_eq!(prompts.len(), 200);
    assert_eq!(prompts, held_out_prompts(200, 1));
    assert_ne!(prompts, held_out_prompts(200, 2));
    let combinations: Vec<_> =
        prompts.iter().map(|prompt| (prompt.shape, prompt.colour, prompt.background)).collect();
    let distinct: HashSet<_> = combinations.iter().collect();
    let round: HashSet<_> = combinations[..distinct.len()].iter().collect();
    assert_eq!(round, distinct);
    for prompt in &prompts {
        assert!(held_out(prompt.shape, prompt.colour, prompt.background));
        let object = format!("{} {} {}", prompt.size, prompt.colour, prompt.shape);
        assert_eq!(prompt.caption, format!("a {object} on a {} background", prompt.background));
    }
}

#[test]
fn pair_prompts_name_two_different_objects() {
    let prompts = pair_prompts(100, 1);
    assert!(prompts.iter().all(|prompt| prompt.first != prompt.second));
    assert!(Relation::ALL.iter().all(|&relation| prompts.iter().any(|prompt| prompt.relation == relation)));
    assert!(prompts.iter().all(|prompt| held_out(prompt.first.0, prompt.first.1, prompt.background)));
}

#[test]
fn png_files_hold_the_pixels_of_the_image() {
    let image = scene(1, Split::Train, Kind::Triple).paint();
    let read = image::load_from_memory(&image.to_png().unwrap()).unwrap().to_rgb8();
    assert_eq!(Image::from_pixels(read.into_raw()), Some(image.clone()));
    assert_eq!(Image::from_pixels(vec![0; 7]), None);
    let sheet = contact_sheet(&vec![image; 5], 3, 2);
    assert_eq!(sheet.dimensions(), (3 * 66 * 2, 2 * 66 * 2));
}
