//! Writes contact sheets of the world into a folder: `cargo run -p shapes --example contact_sheet FOLDER`.

use std::path::PathBuf;

use shapes::contact_sheet;
use shapes::world::{Kind, Split, scene};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    for (name, kind) in [("centred", Kind::Centred), ("mixed", Kind::Mixed), ("pair", Kind::Pair)] {
        let scenes: Vec<_> = (0..40).map(|seed| scene(seed, Split::Train, kind)).collect();
        let pictures: Vec<_> = scenes.iter().map(|scene| scene.paint()).collect();
        contact_sheet(&pictures, 10, 2).save(folder.join(format!("{name}.png")))?;
        scenes.iter().take(10).for_each(|scene| println!("{name}: {}", scene.caption()));
    }
    let start = std::time::Instant::now();
    let painted = (0..1000).map(|seed| scene(seed, Split::Train, Kind::Mixed).paint()).count();
    println!("{:.3} ms a picture", start.elapsed().as_secs_f64() * 1e3 / painted as f64);
    Ok(())
}
