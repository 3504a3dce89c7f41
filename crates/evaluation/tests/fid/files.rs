//! Statistics files of numpy, and the images of a folder.

use crate::fixture;
use crate::formula::{features, image};
use evaluation::fid::{Statistics, images_of, open_image, read_statistics, write_statistics};
use image::{GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use std::path::Path;

/// The largest absolute difference of means and covariances.
fn difference(a: &Statistics, b: &Statistics) -> f64 {
    let mean = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).abs());
    let covariance = a.covariance.iter().zip(&b.covariance).map(|(a, b)| (a - b).abs());
    mean.chain(covariance).fold(0.0, f64::max)
}

#[test]
fn statistics_files_are_exchanged_with_numpy() {
    let ours = Statistics::of(&features("statistics", 30, 8)).expect("statistics");
    let theirs = read_statistics(&fixture("pytorch-fid.npz")).expect("numpy's compressed file");
    assert!(theirs.width() == 8 && difference(&ours, &theirs) < 1e-12);
    // Big-endian f4 in column-major order.
    let odd = read_statistics(&fixture("odd.npz")).expect("numpy's plain file");
    assert!(difference(&ours, &odd) < 1e-6);

    // `oracles/fid.py check` reads the same bytes with numpy.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ours.npz");
    write_statistics(&theirs, &file).expect("written");
    let committed = std::fs::read(fixture("ours.npz")).unwrap_or_default();
    let new = std::fs::read(&file).expect("the new file");
    assert!(new == committed, "the written bytes changed: if this is intended, commit {}", file.display());
    assert!(difference(&theirs, &read_statistics(&file).expect("read again")) == 0.0);
}

#[test]
fn other_files_are_refused_with_a_remedy() {
    let scratch = tempfile::tempdir().expect("a folder");
    let refused = |name: &str, bytes: &[u8]| {
        let file = scratch.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        read_statistics(&file).expect_err("no statistics").to_string()
    };
    assert!(refused("text.npz", b"mu = 0").contains("--save-statistics"));
    let whole = std::fs::read(fixture("ours.npz")).expect("the committed file");
    assert!(refused("short.npz", &whole[..whole.len() / 2]).contains("short.npz"));
    // A shape of terabytes is refused before memory is allocated.
    let place = whole.windows(6).position(|w| w == b"(8, 8)").expect("the shape");
    let mut huge = whole.clone();
    huge[place..place + 8].copy_from_slice(b"(9**9,9)");
    assert!(refused("huge.npz", &huge).contains("sigma"));
}

/// One image, written losslessly by Pillow in every format that pytorch-fid lists.
#[test]
fn every_listed_format_is_decoded() {
    let files = images_of(&fixture("formats"), false).expect("images");
    let endings: Vec<&str> =
        files.iter().map(|file| file.extension().map_or("", |e| e.to_str().unwrap_or(""))).collect();
    assert_eq!(endings, ["bmp", "png", "ppm", "tif", "tiff", "webp", "pgm"]);
    let colour = image("formats", 12, 9);
    let mut grey = colour.clone();
    grey.pixels_mut().for_each(|pixel| pixel.0 = [pixel.0[0]; 3]);
    for file in files {
        let opened = open_image(&file).unwrap_or_else(|e| panic!("{e}"));
        let right = if file.ends_with("grey.pgm") { &grey } else { &colour };
        assert!(opened == *right, "{} is not what Pillow wrote", file.display());
    }
}

#[test]
fn folders_are_listed_as_in_pytorch_fid_and_images_converted_as_in_pillow() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    std::fs::create_dir(at("deeper")).expect("a folder");
    GrayImage::from_pixel(2, 1, Luma([9])).save(at("b.png")).expect("saved");
    RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 0])).save(at("a.png")).expect("saved");
    GrayImage::new(1, 1).save(at("deeper/c.png")).expect("saved");
    std::fs::write(at("d.txt"), "no image").expect("saved");
    // pytorch-fid passes over it: extensions count there in lower case only.
    GrayImage::new(1, 1).save_with_format(at("e.PNG"), ImageFormat::Png).expect("saved");

    let files = images_of(scratch.path(), false).expect("three");
    assert_eq!(files, [at("a.png"), at("b.png"), at("e.PNG")]);
    assert_eq!(images_of(scratch.path(), true).expect("four").len(), 4);
    // Alpha is dropped, grey is converted to RGB.
    assert_eq!(open_image(&files[0]).expect("decoded").as_raw(), &[1, 2, 3]);
    assert_eq!(open_image(&files[1]).expect("decoded").as_raw(), &[9; 6]);

    std::fs::write(at("b.png"), b"\x89PNG and nothing more").expect("damaged");
    assert!(open_image(&files[1]).expect_err("damaged").to_string().contains("b.png"));
    std::fs::create_dir(at("empty")).expect("a folder");
    assert!(images_of(&at("empty"), false).expect_err("nothing").to_string().contains("--recursive"));
}
