//! `cargo xtask bench`: our trainer and PyTorch's packages on the same weights, shapes and batch, step by step in turn, so
//! that a busy moment of the machine hits both. The figure is the median of the rounds' ratios.

mod data;
mod score;

use crate::deployment;
use crate::process;
use crate::steps::Steps;
use crate::system;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

/// What `bench` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A training step, a batch of images, a step of Diff-contrast beside one of Diffusion-DPO, a step by our GPU kernels
    /// beside one composed of candle's operations, reading pairs, a step on what was prepared beside one that encodes its
    /// images first, scoring images, or their Inception features.
    task: Task,
    /// Images in a batch.
    #[arg(long, default_value_t = 16)]
    batch: u32,
    /// Timed rounds, after two that warm up.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Denoising steps of `generate`.
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// Random weights of a published model's shape, in place of `--model`; of `score`, vit-l-14 when absent.
    #[arg(long)]
    shape: Option<Shape>,
    /// Side of the latents; the model's own when absent.
    #[arg(long)]
    side: Option<NonZero<u32>>,
    /// The model, a folder in diffusers layout.
    #[arg(long, default_value = "models/shapes")]
    model: PathBuf,
    /// Size of the shard that `data` reads, made under target/ when it is not there.
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,
    /// The device of both: cpu, or cuda with a `--trainer` that was built for it.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What the networks of `train`, `generate`, `objectives` and `kernels` compute in: f32, f16 or bf16.
    #[arg(long, default_value = "f32")]
    precision: String,
    /// A trainer that is built already; without, one is built.
    #[arg(long)]
    trainer: Option<PathBuf>,
    /// Threads of both; all cores when absent.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// A Python that has xtask/bench/requirements.txt (of ImageReward, requirements-image-reward.txt); one is made from PyPI under target/ when absent.
    #[arg(long)]
    python: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Task {
    Train,
    Generate,
    Objectives,
    Kernels,
    Data,
    Prepared,
    Score,
    Fid,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shape {
    /// Stable Diffusion 1.5 with half the channels.
    #[value(name = "sd15-half")]
    Sd15Half,
    /// OpenAI's CLIP ViT-L/14: its CLIP score.
    #[value(name = "vit-l-14")]
    VitL14,
    /// LAION's CLIP ViT-H/14: HPSv2.
    #[value(name = "vit-h-14")]
    VitH14,
    /// ImageReward: BLIP's ViT-L/16 and a BERT that looks at the image.
    #[value(name = "image-reward")]
    ImageReward,
}

const WARM_UP: usize = 2;

/// What one step took.
#[derive(Clone, Copy)]
struct Measured {
    seconds: f64,
    peak_bytes: f64,
}

/// `cargo xtask bench`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    ensure!(options.rounds > 0, "--rounds: use 1 or more");
    ensure!(
        options.task != Task::Kernels || options.device != "cpu",
        "--device: these kernels are a GPU's; use --device cuda"
    );
    let threads = options.threads.map_or_else(std::thread::available_parallelism, Ok)?.get();
    let mut steps = Steps::new();
    let python = match (&options.python, options.task) {
        (_, Task::Objectives | Task::Kernels | Task::Prepared) => PathBuf::new(),
        (Some(python), _) => python.clone(),
        (None, _) => {
            steps.take("PyTorch's packages from PyPI", || virtual_environment(&workspace, options.shape))?
        }
    };
    let scored = match options.task {
        Task::Score | Task::Fid => Some(score::Scored::of(options)?),
        _ => None,
    };
    // Both programs, as `demo` builds them: alone, the trainer's dependencies would be compiled once more with fewer
    // features.
    let program = match &options.trainer {
        Some(program) => program.clone(),
        None => {
            steps.take("release build", || deployment::build(&workspace))?;
            workspace.target.join("release/diff-contrast-trainer")
        }
    };
    let trainer = || Command::new(&program);
    if options.task == Task::Data {
        steps.take("rounds", || data::run(&workspace, &python, trainer(), options))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(scored) = scored {
        score::run(scored, &workspace, &python, trainer(), options, threads, &mut steps)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut ours, mut theirs) = (trainer(), trainer());
    let names = match options.task {
        Task::Objectives => {
            ours.args(["bench", "train", "--objective", "diff_contrast"]);
            theirs.args(["bench", "train", "--objective", "diffusion_dpo"]);
            ["Diff-contrast", "Diffusion-DPO"]
        }
        Task::Kernels => {
            ours.args(["bench", "train", "--objective", "diff_contrast"]);
            theirs.args(["bench", "train", "--objective", "diff_contrast", "--composed"]);
            ["our kernels", "composed"]
        }
        Task::Prepared => {
            ours.args(["bench", "train", "--objective", "diff_contrast"]);
            theirs.args(["bench", "train", "--objective", "diff_contrast", "--from-images"]);
            ["prepared", "from images"]
        }
        Task::Train | Task::Generate => {
            let task = if matches!(options.task, Task::Train) { "train" } else { "generate" };
            ours.args(["bench", task]);
            theirs = Command::new(python);
            theirs.arg(workspace.root.join("xtask/bench/bench.py")).arg(task);
            ["our trainer", "PyTorch"]
        }
        Task::Data | Task::Score | Task::Fid => bail!("is measured otherwise"),
    };
    let model = match options.shape {
        Some(Shape::Sd15Half) => workspace.root.join("xtask/bench/shapes/sd15-half"),
        Some(Shape::VitL14 | Shape::VitH14 | Shape::ImageReward) => {
            bail!("--shape: this one scores images; use sd15-half")
        }
        None => workspace.root.join(&options.model),
    };
    for command in [&mut ours, &mut theirs] {
        command
            .arg("--model")
            .arg(&model)
            .args(["--batch", &options.batch.to_string(), "--steps", &options.steps.to_string()])
            .args(options.shape.map(|_| "--random-weights"))
            .args(options.side.map(|side| format!("--side={side}")))
            .args(["--device", &options.device, "--precision", &options.precision]);
        limit_threads(command, threads);
    }
    let (mut ours, mut theirs) = steps.take("both load the model", || {
        Ok((Stepper::start(names[0], &mut ours)?, Stepper::start(names[1], &mut theirs)?))
    })?;
    let rounds = steps.take("rounds", || rounds(&mut ours, &mut theirs, options.rounds))?;
    print(names, &model, options, threads, &rounds);
    Ok(ExitCode::SUCCESS)
}

/// Tells a program how many threads to take, in all the ways that one listens to.
fn limit_threads(command: &mut Command, threads: usize) {
    let threads = threads.to_string();
    command.args(["--threads", &threads]).env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads);
}

fn rounds(ours: &mut Stepper, theirs: &mut Stepper, count: usize) -> Result<Vec<(Measured, Measured)>> {
    for _ in 0..WARM_UP {
        ours.step()?;
        theirs.step()?;
    }
    (0..count)
        .map(|round| {
            // Who goes first alternates: a cache left warm or a clock that sags then favours neither.
            let pair = if round % 2 == 0 {
                let first = ours.step()?;
                (first, theirs.step()?)
            } else {
                let first = theirs.step()?;
                (ours.step()?, first)
            };
            println!(
                "    round {:>2}: {} {:.3} s, {} {:.3} s",
                round + 1,
                ours.name,
                pair.0.seconds,
                theirs.name,
                pair.1.seconds
            );
            Ok(pair)
        })
        .collect()
}

fn print(names: [&str; 2], model: &Path, options: &Options, threads: usize, rounds: &[(Measured, Measured)]) {
    let of = |value: fn(&(Measured, Measured)) -> f64| median(rounds.iter().map(value).collect());
    let peak = |value: fn(&(Measured, Measured)) -> f64| rounds.iter().map(value).fold(0.0, f64::max) / 1e6;
    println!();
    println!(
        "bench: {}, {}, batch {}, {threads} threads, {} rounds, {}",
        options.device,
        options.precision,
        options.batch,
        rounds.len(),
        model.display()
    );
    println!("              seconds per step (median)    peak memory");
    println!("{:<13} {:>24.3}     {:>8.0} MB", names[0], of(|r| r.0.seconds), peak(|r| r.0.peak_bytes));
    println!("{:<13} {:>24.3}     {:>8.0} MB", names[1], of(|r| r.1.seconds), peak(|r| r.1.peak_bytes));
    println!(
        "ratio of time {:>24.3}     (median of the rounds' ratios; below 1, {} is faster)",
        of(|r| r.0.seconds / r.1.seconds),
        names[0]
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// A program that does one step for each line we send it; it ends when we stop sending.
struct Stepper {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What the last step came to, where both programs must come to the same.
    result: Option<f64>,
}

impl Stepper {
    fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut stepper = Self { name, child, input, output, result: None };
        let first = stepper.line()?;
        ensure!(first == "ready", "{name} said {first:?} instead of `ready`");
        Ok(stepper)
    }

    fn step(&mut self) -> Result<Measured> {
        if process::stop_requested() {
            bail!("stopped");
        }
        let input = self.input.as_mut().context("no standard input")?;
        writeln!(input, "step").with_context(|| format!("asking {} for a step", self.name))?;
        let line = self.line()?;
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        let measured = (numbers.next(), numbers.next());
        self.result = numbers.next().transpose().ok().flatten();
        match measured {
            (Some(Ok(seconds)), Some(Ok(peak_bytes))) => Ok(Measured { seconds, peak_bytes }),
            _ => bail!("{} said {line:?} instead of seconds and bytes", self.name),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "{} ended early; its error is above", self.name);
        Ok(line.trim().to_owned())
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        self.input = None;
        self.child.wait().ok();
    }
}

/// A virtual environment with the pinned requirements, made once.
fn virtual_environment(workspace: &Workspace, shape: Option<Shape>) -> Result<PathBuf> {
    let is_image_reward = matches!(shape, Some(Shape::ImageReward));
    let apart = if is_image_reward { "-image-reward" } else { "" };
    let folder = workspace.target.join(format!("bench-venv{apart}"));
    let python = folder.join("bin/python");
    let requirements = workspace.root.join(format!("xtask/bench/requirements{apart}.txt"));
    let wanted = fs::read(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    let marker = folder.join("installed-requirements.txt");
    if fs::read(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if let Err(error) = make_environment(&folder) {
        println!("    {error:#}");
        system::install(&["python3-venv"], "a virtual environment")?;
        make_environment(&folder)?;
    }
    let install = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip
    };
    process::run(install().arg("-r").arg(&requirements))?;
    if is_image_reward {
        process::run(install().args(["--no-deps", "image-reward==1.5"]))?;
    }
    fs::write(&marker, wanted).with_context(|| format!("writing {}", marker.display()))?;
    Ok(python)
}

fn make_environment(folder: &Path) -> Result<()> {
    process::capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]).to_bits(), 3.0_f64.to_bits());
    }
}
