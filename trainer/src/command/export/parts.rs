//! The networks of an exported model.

use anyhow::{Context, Result};
use candle_core::DType;
use diffusion::config;
use diffusion::layout::{PARTS, copy_part, write_fused};
use diffusion::lora::Network;
use diffusion::part_folders::PartFolders;
use process::progress::Progress;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Configs of the written parts, by part.
pub(super) type PartConfigs = BTreeMap<&'static str, Value>;

/// Writes config and weights of every part, or of the UNet alone, in the layout of diffusers. Adapters are fused into
/// the networks that they update.
pub(super) fn write_parts(
    folders: &PartFolders,
    out: &Path,
    unet_only: bool,
    dtype: DType,
) -> Result<PartConfigs> {
    let mut configs = PartConfigs::new();
    for (part, stem) in PARTS {
        if unet_only && part != "unet" {
            continue;
        }
        let from = match folders.part(part) {
            Ok(from) => from,
            // Only SDXL has a second text encoder.
            Err(_) if part == "text_encoder_2" => continue,
            Err(error) => return Err(error.into()),
        };
        let to = out.join(part);
        if let Some(network) = fused_network(folders, part)? {
            write_fused(folders, network, &to, dtype)
                .with_context(|| format!("{part} cannot be exported with its adapters"))?;
        } else {
            let mut bar = Progress::new(part, 100);
            copy_part(&from, &to, part, stem, dtype, &mut |done, total| {
                bar.reach(100 * done / total.max(1));
                Ok(())
            })
            .with_context(|| format!("{part} cannot be exported"))?;
            bar.finish();
        }
        configs.insert(part, config::read(&to.join("config.json"))?);
    }
    Ok(configs)
}

/// The network of a part into which adapters are fused. The UNet's is read with every adapter, so that each is checked.
fn fused_network(folders: &PartFolders, part: &str) -> Result<Option<Network>> {
    let Some(network) = Network::of_part(part) else { return Ok(None) };
    let files = if network == Network::Unet { folders.adapters() } else { folders.adapters_of(network)? };
    Ok((!files.is_empty()).then_some(network))
}
