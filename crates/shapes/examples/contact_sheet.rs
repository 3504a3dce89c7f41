//! Writes contact sheets of scenes, styles and quality pairs into a folder: `cargo run -p shapes --example
//! contact_sheet FOLDER`.

use std::path::PathBuf;

use shapes::sheet::{quality_sheet, style_sheet, world_sheet};
use shapes::world::{Kind, Split};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: contact_sheet FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    world_sheet(Kind::Centred, Split::Train, 40).save(folder.join("centred.png"))?;
    world_sheet(Kind::Mixed, Split::Train, 60).save(folder.join("mixed.png"))?;
    style_sheet(8).save(folder.join("styles.png"))?;
    quality_sheet(12, 3).save(folder.join("quality.png"))?;
    Ok(())
}
