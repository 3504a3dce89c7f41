//! Single-file checkpoints, which become parts in diffusers layout, and the vocabulary that they lack.

use super::base::Base;
use anyhow::{Context, Result, bail, ensure};
use diffusion::config::Prediction;
use diffusion::part_folders::PartFolders;
use diffusion::single_file::{LeftOut, Options, Plan, SingleFile};
use diffusion::tokenizer::Tokenizer;
use files::{copy_atomically, write_atomically};
use hub::{Hub, HubSettings, RepoType};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The repository whose vocabulary all published single files use.
const VOCABULARY_REPOSITORY: &str = "openai/clip-vit-large-patch14";
const VOCABULARY_FILES: [&str; 2] = ["vocab.json", "merges.txt"];
/// The file that transformers 5 writes instead of these two.
const WHOLE_TOKENIZER: &str = "tokenizer.json";
/// Files of a tokenizer that a single file's family decides.
const SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// How to read a single file.
pub(super) struct SingleFileOptions<'a> {
    /// What the UNet predicts; `None` if the file decides it.
    pub(super) prediction: Option<Prediction>,
    /// Whether to take the moving averages of the UNet's weights.
    pub(super) average: bool,
    pub(super) unet_only: bool,
    /// Folder of the vocabulary.
    pub(super) tokenizer: Option<&'a Path>,
    pub(super) hub: &'a HubSettings,
}

/// Writes the parts of a single file in diffusers layout.
pub(super) fn import_single_file(
    file: &Path,
    options: &SingleFileOptions<'_>,
    base: Option<&Base>,
    out: &Path,
) -> Result<()> {
    let SingleFileOptions { prediction, average, unet_only, .. } = *options;
    let single = SingleFile::open(file, Options { prediction, average, unet_only })?;
    print_plan(file, single.plan(), average);
    if let (Some(base), true) = (base, unet_only) {
        check_base(file, single.plan(), prediction.is_some(), base)?;
    }
    single.write(out, &mut |part| println!("writing {}/", part.name))?;
    write_left_out(&single.plan().left_out, out)?;
    if unet_only {
        return Ok(());
    }
    for (file, path) in vocabulary(options, base)? {
        for folder in ["tokenizer", "tokenizer_2"].map(|name| out.join(name)) {
            if folder.is_dir() {
                copy_atomically(&path, &folder.join(&file))?;
            }
        }
    }
    Ok(())
}

/// The file of a model's folder that lists what was not imported.
const LEFT_OUT: &str = "left_out.txt";
/// Names of a kind that are printed; the others are in [`LEFT_OUT`] only.
const PRINTED: usize = 6;

/// Checks that a UNet alone fits the noise schedule of its base, which it will be used with.
fn check_base(file: &Path, plan: &Plan, is_chosen: bool, base: &Base) -> Result<()> {
    let schedule = PartFolders::new(&base.folder, None).schedule()?;
    if let Some(prediction) = plan.prediction.filter(|prediction| *prediction != schedule.prediction()) {
        let source = if is_chosen { "--prediction-type".to_owned() } else { file.display().to_string() };
        bail!(
            "{source} says that the UNet predicts {}, but the base {}, whose noise schedule is used for a UNet alone, predicts {}: \
             give another base, or import the whole file",
            quantity(prediction),
            base.name,
            quantity(schedule.prediction())
        );
    }
    ensure!(
        !plan.no_last_signal || schedule.config().ends_without_signal(),
        "{} says that its last timestep has no signal (zero terminal SNR), but the noise schedule of the base {}, which is used for \
         a UNet alone, has some: give another base, or import the whole file",
        file.display(),
        base.name
    );
    Ok(())
}

fn quantity(prediction: Prediction) -> &'static str {
    match prediction {
        Prediction::Epsilon => "the noise",
        Prediction::VPrediction => "the velocity",
    }
}

fn print_plan(file: &Path, plan: &Plan, average: bool) {
    println!("{}: {} in one file", file.display(), plan.family.title());
    for note in &plan.notes {
        println!("{note}");
    }
    if plan.has_average {
        let (taken, left) = if average { ("averages", "weights") } else { ("weights", "averages") };
        println!("it has the UNet's weights and their moving averages: taking the {taken}, not the {left}");
    }
    for (reason, names) in by_reason(&plan.left_out) {
        let count = names.len();
        let more = match count.saturating_sub(PRINTED) {
            0 => String::new(),
            more => format!(" and {more} more, all in {LEFT_OUT} of the model's folder"),
        };
        println!("left out, {count} that {reason}: {}{more}", names[..count.min(PRINTED)].join(", "));
    }
}

fn by_reason(left_out: &[LeftOut]) -> BTreeMap<&str, Vec<&str>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for LeftOut { name, reason } in left_out {
        reasons.entry(reason).or_default().push(name);
    }
    reasons
}

/// Writes the list of what was not imported, if there is anything.
fn write_left_out(left_out: &[LeftOut], out: &Path) -> Result<()> {
    if left_out.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for (reason, names) in by_reason(left_out) {
        text += &format!("{} that {reason}:\n", names.len());
        names.iter().for_each(|name| text += &format!("  {name}\n"));
    }
    Ok(write_atomically(&out.join(LEFT_OUT), text.as_bytes())?)
}

/// The files of CLIP's vocabulary, which single files lack, with their names. Those of a folder include its added tokens.
fn vocabulary(options: &SingleFileOptions<'_>, base: Option<&Base>) -> Result<Vec<(String, PathBuf)>> {
    let tokenizer = options.tokenizer.map(Path::to_owned);
    if let Some(folder) = tokenizer.or_else(|| base.map(|base| base.folder.join("tokenizer"))) {
        let named = Tokenizer::files(&folder).into_iter().filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            // The settings of the tokenizer, such as its padding token, are those of the file's family.
            (!SETTINGS.contains(&name.as_str())).then_some((name, path))
        });
        let found: Vec<_> = named.collect();
        let is_whole = found.iter().any(|(name, _)| name == WHOLE_TOKENIZER);
        for file in VOCABULARY_FILES {
            ensure!(
                is_whole || found.iter().any(|(name, _)| name == file),
                "{}: is missing: --tokenizer needs a folder with vocab.json and merges.txt, or tokenizer.json",
                folder.join(file).display()
            );
        }
        return Ok(found);
    }
    let fetch = || {
        let snapshot = Hub::new(options.hub)?.snapshot(RepoType::Model, VOCABULARY_REPOSITORY, "main")?;
        let files = VOCABULARY_FILES.into_iter();
        files.map(|file| Ok((file.to_owned(), snapshot.fetch(file)?))).collect::<Result<_>>()
    };
    fetch().context(
        "a single file has no vocabulary, and it cannot be fetched from the hub: give --tokenizer with a folder that has \
         vocab.json and merges.txt, or --base",
    )
}
