//! How far two sets of images lie apart: features of both, then the distances.

use crate::data::sets::draw;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use diffusion::noise::Noise;
use domain::data::DataSpec;
use evaluation::clip::Clip;
use evaluation::fid::{
    Extractor, Features, Mode, Statistics, TRUSTED_COUNT, cmmd, extract, frechet_distance, images_of,
    kernel_distance, open_image, read_statistics,
};
use evaluation::inception::Inception;
use image::RgbImage;
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// One side of a comparison.
#[derive(Debug)]
pub enum Side {
    /// Image files.
    Files(Vec<PathBuf>),
    /// Images at hand.
    Images(Vec<RgbImage>),
    /// What numpy wrote of another time's images.
    Statistics(PathBuf),
}

/// Word before a set of the bundled world.
const SHAPES: &str = "shapes:";

impl Side {
    /// Of what a command line says: a folder, a `.npz` file, or `shapes:SET:COUNT[:SEED]`, whose winners are meant.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn parse(text: &str, recursive: bool) -> Result<Self> {
        let path = Path::new(text);
        if let Some(set) = text.strip_prefix(SHAPES) {
            return of_shapes(set).with_context(|| format!("{text:?} is no set of the bundled world"));
        }
        if path.extension().is_some_and(|extension| extension == "npz") {
            return Ok(Self::Statistics(path.to_owned()));
        }
        ensure!(
            path.is_dir(),
            "{text:?} is no folder: give a folder of images, a .npz file of statistics, or {SHAPES}SET:COUNT"
        );
        Ok(Self::Files(images_of(path, recursive)?))
    }

    /// How many images there are to be looked at.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Images(images) => images.len(),
            Self::Statistics(_) => 0,
        }
    }
}

fn of_shapes(text: &str) -> Result<Side> {
    let mut words = text.split(':');
    let spec = serde_json::json!({
        "source": "shapes",
        "set": words.next().unwrap_or_default(),
        "count": words.next().context("the count is missing: shapes:SET:COUNT")?.parse::<u32>()?,
        "seed": words.next().map_or(Ok(0), str::parse::<u64>)?,
    });
    ensure!(words.next().is_none(), "it has too many parts: shapes:SET:COUNT:SEED");
    let DataSpec::Shapes { set, count, seed } = serde_json::from_value(spec)? else {
        bail!("only sets of the bundled world are drawn: shapes:SET:COUNT:SEED");
    };
    let examples = draw(set, seed, 0..u64::from(count));
    Ok(Side::Images(examples.into_iter().map(|example| example.winner).collect()))
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct FidSettings {
    /// Inception's weights; without them the CLIP's features are compared, which is not FID.
    pub weights: Option<PathBuf>,
    /// Whose FID.
    pub mode: Mode,
    /// Folder of a CLIP for use without weights.
    pub clip: PathBuf,
    /// Images at a time.
    pub batch: usize,
    /// Subsets of the kernel distance.
    pub subsets: usize,
    /// Images in a subset at most.
    pub subset_size: usize,
    /// Of the subsets' draws.
    pub seed: u64,
}

/// What was found, with all that is needed to find it again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FidReport {
    /// What the first distance is called. Only Inception's features make it FID.
    pub metric: String,
    /// What looked at the images.
    pub features: String,
    /// Whose way of resizing and scaling, where it is FID.
    pub mode: Option<String>,
    /// Images of each side; none of statistics, which do not say.
    pub images: [Option<usize>; 2],
    /// The Frechet distance.
    pub frechet: f64,
    /// The kernel distance over subsets (KID where it is of Inception's features); none of statistics.
    pub kernel: Option<KernelReport>,
    /// 1000 times the kernel distance of CMMD, on the CLIP's features.
    pub cmmd: Option<f64>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// A kernel distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelReport {
    /// What it is called.
    pub metric: String,
    /// Mean over the subsets.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// How many.
    pub subsets: usize,
    /// Images of each side in one.
    pub subset_size: usize,
}

/// Statistics of a side, and its features where there are images.
#[derive(Debug)]
pub struct Seen {
    /// Mean and covariance.
    pub statistics: Statistics,
    features: Option<Features>,
}

/// The network that looks.
///
/// # Errors
/// Its weights cannot be read.
pub fn open_extractor(settings: &FidSettings, device: &Device) -> Result<Extractor> {
    Ok(match &settings.weights {
        Some(file) => {
            let inception = Inception::load(file, device)
                .context("Inception's weights (pt_inception-2015-12-05-6726825d.pth)")?;
            Extractor::Inception(Box::new(inception), settings.mode)
        }
        None => {
            let clip = Clip::load(&settings.clip, device)
                .context("the bundled CLIP, whose features are compared without --weights")?;
            Extractor::Clip(Box::new(clip))
        }
    })
}

/// Looks at a side. `progress` hears how many images are done and can stop: then the result is `None`.
///
/// # Errors
/// An image or file that cannot be read.
pub fn look(
    side: &Side,
    extractor: &Extractor,
    batch: usize,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Seen>> {
    let features = match side {
        Side::Statistics(file) => {
            return Ok(Some(Seen { statistics: read_statistics(file)?, features: None }));
        }
        Side::Files(files) => extract(extractor, files.len(), batch, |i| open_image(&files[i]), progress)?,
        Side::Images(images) => extract(extractor, images.len(), batch, |i| Ok(images[i].clone()), progress)?,
    };
    let Some(features) = features else { return Ok(None) };
    Ok(Some(Seen { statistics: Statistics::of(&features)?, features: Some(features) }))
}

/// The distances of two sides.
///
/// # Errors
/// Sides that cannot be compared.
pub fn compare(a: &Seen, b: &Seen, extractor: &Extractor, settings: &FidSettings) -> Result<FidReport> {
    let inception = matches!(extractor, Extractor::Inception(..));
    let mut warnings = Vec::new();
    for (name, side) in [("A", a), ("B", b)] {
        match side.statistics.count {
            Some(count) if count < TRUSTED_COUNT => warnings.push(format!(
                "{name} has {count} images: below {TRUSTED_COUNT} the Frechet distance is larger than it should be, and \
                 comparable only at equal counts; trust the kernel distance rather"
            )),
            None => warnings.push(format!(
                "{name} is statistics: that they are of the same features, made the same way, cannot be checked"
            )),
            Some(_) => {}
        }
    }
    if !inception {
        warnings.push(
            "without --weights the bundled CLIP looked at the images: these numbers are not FID, and cannot be compared \
             with published ones"
                .to_owned(),
        );
    }
    let mut kernel = None;
    let mut distance = None;
    if let (Some(a), Some(b)) = (&a.features, &b.features) {
        let mut noise = Noise::new(settings.seed);
        let of = kernel_distance(a, b, settings.subsets, settings.subset_size, |n| noise.below(n))?;
        kernel = Some(KernelReport {
            metric: if inception { "KID" } else { "kernel distance on CLIP features (not KID)" }.to_owned(),
            mean: of.mean,
            deviation: of.deviation,
            subsets: of.subsets,
            subset_size: of.subset_size,
        });
        if !inception {
            distance = Some(cmmd(a, b)?);
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
        cmmd: distance,
        warnings,
    })
}

/// Both sides, looked at and compared.
///
/// # Errors
/// What cannot be read or compared, or that somebody asked to stop.
pub fn fid(
    [a, b]: [&Side; 2],
    settings: &FidSettings,
    device: &Device,
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<FidReport> {
    let extractor = open_extractor(settings, device)?;
    let first = look(a, &extractor, settings.batch, progress)?;
    let before = a.count();
    let second = look(b, &extractor, settings.batch, &mut |done| progress(before + done))?;
    match (first, second) {
        (Some(a), Some(b)) => compare(&a, &b, &extractor, settings),
        _ => bail!("stopped"),
    }
}
