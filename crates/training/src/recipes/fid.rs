//! Distances between two sets of images: features of both sides, then FID, KID and CMMD.

use crate::data::sets::draw;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use diffusion::noise::Noise;
use domain::data::DataSpec;
use domain::evaluate::{FidReport, KernelReport};
use evaluation::clip::Clip;
use evaluation::fid::{
    Extractor, Features, Mode, Statistics, TRUSTED_COUNT, cmmd, extract, frechet_distance, images_of,
    kernel_distance, open_image, read_statistics,
};
use evaluation::inception::Inception;
use image::RgbImage;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// One side of a comparison.
#[derive(Debug)]
pub enum Side {
    /// Image files.
    Files(Vec<PathBuf>),
    /// Images in memory.
    Images(Vec<RgbImage>),
    /// A `.npz` file with mean and covariance of features.
    Statistics(PathBuf),
}

/// Prefix of a set of the bundled world.
const SHAPES: &str = "shapes:";

impl Side {
    /// Parses a folder of images, a `.npz` file, or `shapes:SET:COUNT[:SEED]`, which stands for the winners of the set.
    /// `recursive` includes the folders below.
    ///
    /// # Errors
    /// Fails if the text is none of these, or if the folder has no images.
    pub fn parse(text: &str, recursive: bool) -> Result<Self> {
        let path = Path::new(text);
        if let Some(set) = text.strip_prefix(SHAPES) {
            return of_shapes(set).with_context(|| format!("{text:?} is not a set of the bundled world"));
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
            return Ok(Self::Statistics(path.to_owned()));
        }
        ensure!(
            path.is_dir(),
            "{text:?} is not a folder: give a folder of images, a .npz file of statistics, or {SHAPES}SET:COUNT[:SEED]"
        );
        Ok(Self::Files(images_of(path, recursive)?))
    }

    /// Number of images whose features have to be computed; 0 for statistics.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Images(images) => images.len(),
            Self::Statistics(_) => 0,
        }
    }
}

/// Draws `SET:COUNT[:SEED]`.
fn of_shapes(text: &str) -> Result<Side> {
    let mut fields = text.split(':');
    let spec = serde_json::json!({
        "source": "shapes",
        "set": fields.next().unwrap_or_default(),
        "count": fields.next().context("the count is missing: use shapes:SET:COUNT")?.parse::<u32>()?,
        "seed": fields.next().map_or(Ok(0), str::parse::<u64>)?,
    });
    ensure!(fields.next().is_none(), "there are too many fields: use shapes:SET:COUNT:SEED");
    let DataSpec::Shapes { set, count, seed } = serde_json::from_value(spec)? else {
        bail!("use shapes:SET:COUNT:SEED");
    };
    let examples = draw(set, seed, 0..u64::from(count));
    Ok(Side::Images(examples.into_iter().map(|example| example.winner).collect()))
}

/// The settings of a comparison.
#[derive(Clone, Debug)]
pub struct FidSettings {
    /// Inception's weights. Without them the features are CLIP's, and the distance is not FID.
    pub weights: Option<PathBuf>,
    /// The implementation of FID whose resizing and scaling are reproduced.
    pub mode: Mode,
    /// Folder of the CLIP that is used without Inception's weights.
    pub clip: PathBuf,
    /// Images per batch.
    pub batch: usize,
    /// Number of subsets of the kernel distance.
    pub subsets: usize,
    /// Largest number of images in a subset.
    pub subset_size: usize,
    /// Seed of the choice of subsets.
    pub seed: u64,
}

/// The features of a side and their statistics.
#[derive(Debug)]
pub struct SideFeatures {
    /// Mean and covariance of the features.
    pub statistics: Statistics,
    /// `None` for a side that was read as statistics.
    features: Option<Features>,
}

/// Loads the network that computes the features.
///
/// # Errors
/// Fails if its weights cannot be read.
pub fn open_extractor(settings: &FidSettings, device: &Device) -> Result<Extractor> {
    Ok(match &settings.weights {
        Some(file) => {
            let inception = Inception::load(file, device)
                .context("Inception's weights (pt_inception-2015-12-05-6726825d.pth)")?;
            Extractor::Inception(Box::new(inception), settings.mode)
        }
        None => {
            let clip = Clip::load(&settings.clip, device)
                .context("the bundled CLIP, which computes the features without --weights")?;
            Extractor::Clip(Box::new(clip))
        }
    })
}

/// Computes or reads the features of a side. `progress` receives the number of images done, and can interrupt: then the
/// result is `None`.
///
/// # Errors
/// Fails if an image or file cannot be read.
pub fn features_of(
    side: &Side,
    extractor: &Extractor,
    batch: usize,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<SideFeatures>> {
    let features = match side {
        Side::Statistics(file) => {
            return Ok(Some(SideFeatures { statistics: read_statistics(file)?, features: None }));
        }
        Side::Files(files) => extract(extractor, files.len(), batch, |i| open_image(&files[i]), progress)?,
        Side::Images(images) => extract(extractor, images.len(), batch, |i| Ok(images[i].clone()), progress)?,
    };
    let Some(features) = features else { return Ok(None) };
    Ok(Some(SideFeatures { statistics: Statistics::of(&features)?, features: Some(features) }))
}

/// The distances between two sides.
///
/// # Errors
/// Fails if the sides have features of different widths, or too few images.
pub fn compare(
    a: &SideFeatures,
    b: &SideFeatures,
    extractor: &Extractor,
    settings: &FidSettings,
) -> Result<FidReport> {
    let inception = matches!(extractor, Extractor::Inception(..));
    let mut kernel = None;
    let mut cmmd_distance = None;
    if let (Some(a), Some(b)) = (&a.features, &b.features) {
        let mut noise = Noise::new(settings.seed);
        let distance = kernel_distance(a, b, settings.subsets, settings.subset_size, |n| noise.below(n))?;
        kernel = Some(KernelReport {
            metric: if inception { "KID" } else { "kernel distance on CLIP features (not KID)" }.to_owned(),
            mean: distance.mean,
            deviation: distance.deviation,
            subsets: distance.subsets,
            subset_size: distance.subset_size,
        });
        if !inception {
            cmmd_distance = Some(cmmd(a, b)?);
        }
    }
    Ok(FidReport {
        metric: extractor.metric().to_owned(),
        features: match &settings.weights {
            Some(file) => format!("Inception, {}", file.display()),
            None => format!("CLIP, {}", settings.clip.display()),
        },
        mode: inception.then(|| settings.mode.as_str().to_owned()),
        images: [a.statistics.count, b.statistics.count],
        frechet: frechet_distance(&a.statistics, &b.statistics)?,
        kernel,
        cmmd: cmmd_distance,
        warnings: warnings([a, b], inception),
    })
}

/// What limits the meaning of the distances.
fn warnings([a, b]: [&SideFeatures; 2], inception: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, side) in [("A", a), ("B", b)] {
        match side.statistics.count {
            Some(count) if count < TRUSTED_COUNT => warnings.push(format!(
                "{name} has {count} images: below {TRUSTED_COUNT} the Frechet distance is biased upwards, and only \
                 comparable at equal counts; prefer the kernel distance"
            )),
            None => warnings.push(format!(
                "{name} is statistics: whether they come from the same features and preparation cannot be checked"
            )),
            Some(_) => {}
        }
    }
    if !inception {
        warnings.push(
            "without --weights the features are those of the bundled CLIP: these numbers are not FID, and not comparable \
             with published ones"
                .to_owned(),
        );
    }
    warnings
}

/// The distances between two sides, from images to report.
///
/// # Errors
/// Fails if a side cannot be read or compared, or if `progress` interrupts.
pub(super) fn fid(
    [a, b]: [&Side; 2],
    settings: &FidSettings,
    device: &Device,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<FidReport> {
    let extractor = open_extractor(settings, device)?;
    let first = features_of(a, &extractor, settings.batch, progress)?;
    let before = a.count();
    let second = features_of(b, &extractor, settings.batch, &mut |done| progress(before + done))?;
    match (first, second) {
        (Some(a), Some(b)) => compare(&a, &b, &extractor, settings),
        _ => bail!("interrupted"),
    }
}
