//! A scratch folder in which a page is followed: the programs on the path, a checkout to stand in, a hub with small
//! models under published names, and the reader's images.

use crate::hub::{Hub, TOKEN};
use crate::markdown::{Block, Kind, Page};
use crate::photos;
use crate::shell::Shell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What must hold after a section.
pub(crate) type Check = fn(&mut Scene);

/// A page that is being followed.
pub(crate) struct Scene {
    scratch: TempDir,
    shell: Shell,
    /// Texts of the page that this machine lacks, and what the test puts in their place.
    replacements: Vec<(&'static str, String)>,
    /// What the last commands printed.
    printed: String,
    hub: Arc<Hub>,
}

impl Scene {
    /// A scene whose folder is `home` of the scratch folder, laid out like a checkout after a build.
    pub(crate) fn new(replacements: &[(&'static str, &str)]) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let home = scratch.path().join("home");
        let programs = Path::new(env!("CARGO_BIN_EXE_diff-contrast-server")).parent().expect("a folder");
        assert!(
            programs.join("diff-contrast-trainer").is_file(),
            "the trainer is not built: run `cargo xtask test`, or `cargo build -p trainer`"
        );
        fs::create_dir_all(home.join("target")).expect("a folder");
        symlink(programs, home.join("target/release")).expect("a link");
        symlink(format!("{ROOT}/target/site"), home.join("target/site")).expect("a link");
        symlink(format!("{ROOT}/static"), home.join("static")).expect("a link");
        fs::create_dir(home.join("models")).expect("a folder");
        symlink(format!("{ROOT}/models/shapes"), home.join("models/shapes")).expect("a link");

        let (hub, address) = Hub { repositories: repositories(), ..Hub::default() }.start();
        let path = std::env::var("PATH").unwrap_or_default();
        let variables = [
            ("PATH", format!("{}:{path}", programs.display())),
            ("HOME", home.display().to_string()),
            ("HF_HOME", scratch.path().join("hub").display().to_string()),
            ("HF_ENDPOINT", address),
            ("HF_TOKEN", TOKEN.to_owned()),
            ("RUST_LOG", "info,sqlx=warn,tower_http=warn".to_owned()),
        ];
        let shell = Shell::start(&home, &scratch.path().join("scripts"), &variables);
        let here = scratch.path().display().to_string();
        let replacements =
            replacements.iter().map(|(from, to)| (*from, to.replace("SCRATCH", &here))).collect();
        Self { scratch, shell, replacements, printed: String::new(), hub }
    }

    /// Sets a variable for the following commands.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.ask(&format!("export {name}='{value}'"));
    }

    /// A path of the folder that the page's commands start in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("home").join(name)
    }

    /// The output of a command that the test itself runs beside the page's.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        let command = self.replaced(command);
        self.shell.run("test", 1, &command).unwrap_or_else(|printed| panic!("{command}\n{printed}"))
    }

    pub(crate) fn ask_json(&mut self, command: &str) -> serde_json::Value {
        let text = self.ask(command);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{command}: {e}: {text}"))
    }

    /// Follows a page section by section. `checks` run after the section whose heading begins with their word.
    pub(crate) fn follow(&mut self, page: &Page, checks: &[(&str, Check)]) {
        let headings: Vec<&str> = page.sections.iter().map(|section| section.heading.as_str()).collect();
        for (heading, _) in checks {
            assert!(headings.iter().any(|known| known.starts_with(heading)), "no section {heading:?}");
        }
        for section in &page.sections {
            let began = std::time::Instant::now();
            for block in &section.blocks {
                self.follow_block(block);
            }
            for (_, check) in checks.iter().filter(|(heading, _)| section.heading.starts_with(heading)) {
                check(self);
            }
            println!("{:6.1} s  {}", began.elapsed().as_secs_f64(), section.heading);
        }
    }

    fn follow_block(&mut self, block: &Block) {
        match &block.kind {
            Kind::File(path) => self.write(&path.clone(), block),
            Kind::Commands => self.run_at(block, &block.text),
            Kind::Output => block.assert_within(&self.printed),
            Kind::Python => self.python(block),
            Kind::Shown => {}
        }
    }

    /// Runs commands that stand in a block.
    pub(crate) fn run_at(&mut self, block: &Block, commands: &str) {
        let text = self.replaced(commands);
        match self.shell.run(&block.page, block.line, &text) {
            Ok(printed) => self.printed = printed,
            Err(printed) => {
                panic!("{}: a command failed:\n{text}\n{printed}{}", block.place(), self.logs())
            }
        }
    }

    /// Writes a file of the page, and an image for every image that it names.
    fn write(&self, path: &Path, block: &Block) {
        let file = self.path(&self.replaced(&path.to_string_lossy()));
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, self.replaced(&block.text)).expect("a file");
        let is_list = path.extension().is_some_and(|extension| extension == "jsonl" || extension == "csv");
        if !is_list {
            return;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let words = block.text.split(|c: char| !is_name(c));
        for name in words.filter(|word| word.ends_with(".jpg") || word.ends_with(".png")) {
            let image = file.with_file_name(name);
            if !image.exists() {
                let seed = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
                photos::write(&image, seed);
            }
        }
    }

    /// Runs a script with the packages of `oracles/requirements.txt`, where ORACLES_PYTHON names a Python that has them.
    fn python(&mut self, block: &Block) {
        let Ok(python) = std::env::var("ORACLES_PYTHON") else {
            println!("{}: not run, since ORACLES_PYTHON is not set", block.place());
            return;
        };
        let script = self.scratch.path().join("script.py");
        fs::write(&script, self.replaced(&block.text)).expect("a script");
        let command = format!("'{python}' '{}'", script.display());
        match self.shell.run("python", 1, &command) {
            Ok(printed) => self.printed = printed,
            Err(printed) => panic!("{}: {printed}", block.place()),
        }
    }

    fn replaced(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// The end of every log in the folder, for messages.
    fn logs(&self) -> String {
        let find = Command::new("find")
            .arg(self.scratch.path())
            .args(["-name", "*.log", "-not", "-path", "*/target/*", "-exec", "tail", "-n", "15", "{}", "+"])
            .output();
        find.map_or_else(|e| e.to_string(), |found| String::from_utf8_lossy(&found.stdout).into_owned())
    }

    /// The paths that the programs requested from the hub so far.
    pub(crate) fn requested(&self) -> Vec<String> {
        self.hub.take_requests().into_iter().map(|(path, _)| path).collect()
    }
}

/// The repositories that the pages name.
fn repositories() -> BTreeMap<&'static str, BTreeMap<String, Vec<u8>>> {
    let crates = format!("{ROOT}/crates");
    let small = |name: &str| format!("{ROOT}/server/tests/fixtures/documents/{name}");
    let mut sd15 = files(Path::new(&small("sd15")));
    let single = format!("{crates}/diffusion/tests/fixtures/sources/sd1.ckpt");
    sd15.insert("v1-5-pruned-emaonly.ckpt".to_owned(), fs::read(single).expect("a fixture"));
    BTreeMap::from([
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", sd15),
        (
            "stabilityai/stable-diffusion-xl-base-1.0",
            files(Path::new(&format!("{crates}/diffusion/tests/fixtures/sdxl"))),
        ),
        ("openai/clip-vit-large-patch14", files(Path::new(&small("clip")))),
        ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", files(Path::new(&small("open_clip")))),
        (
            "datasets/yuvalkirstain/pickapic_v2",
            files(Path::new(&format!("{crates}/datasets/tests/fixtures/pick_a_pic/sound"))),
        ),
    ])
}

/// The files below a folder by their path, without the expected values of other tests.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !entry.file_name().to_string_lossy().starts_with("expected") {
                let name = path.strip_prefix(root).expect("a path below").to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}
