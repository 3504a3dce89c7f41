//! The fenced blocks of a Markdown page, and what each is for.

use std::path::{Path, PathBuf};

/// A page, split at its headings of the second level.
pub(crate) struct Page {
    pub(crate) sections: Vec<Section>,
}

/// A heading and the blocks up to the next.
pub(crate) struct Section {
    /// Empty before the first heading.
    pub(crate) heading: String,
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block that the test uses.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    /// The page's file name, and the number of the block's first line within it, from 1.
    pub(crate) page: String,
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The first word after the opening fence.
    pub(crate) language: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `path=FILE`: the text of a file.
    File(PathBuf),
    /// `bash`: commands.
    Commands,
    /// `output`: lines that the commands before it print. `...` stands for any text.
    Output,
    /// `python`: a script that needs the packages of `oracles/`.
    Python,
    /// `bash not-run`, and blocks of any other kind: shown only.
    Shown,
}

impl Page {
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self::parse(&file.file_name().expect("a file name").to_string_lossy(), &text)
    }

    pub(crate) fn parse(page: &str, text: &str) -> Self {
        let mut sections = vec![Section { heading: String::new(), blocks: Vec::new() }];
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(block) = &mut open {
                if line.trim_end() == "```" {
                    let block = open.take().expect("an open block");
                    sections.last_mut().expect("a section").blocks.push(block);
                } else {
                    block.text += line;
                    block.text.push('\n');
                }
            } else if let Some(info) = line.strip_prefix("```") {
                open = Some(Block {
                    page: page.to_owned(),
                    line: number + 1,
                    text: String::new(),
                    language: info.split_whitespace().next().unwrap_or_default().to_owned(),
                    kind: Kind::of(info),
                });
            } else if let Some(heading) = line.strip_prefix("## ") {
                sections.push(Section { heading: heading.to_owned(), blocks: Vec::new() });
            }
        }
        assert!(open.is_none(), "{page}: the last block is not closed");
        Self { sections }
    }

    /// The blocks of all sections.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.sections.iter().flat_map(|section| &section.blocks)
    }
}

impl Kind {
    fn of(info: &str) -> Self {
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        if let Some(path) = rest.iter().find_map(|word| word.strip_prefix("path=")) {
            return Self::File(PathBuf::from(path));
        }
        match (language, rest.as_slice()) {
            ("bash", []) => Self::Commands,
            ("output", []) => Self::Output,
            ("python", []) => Self::Python,
            _ => Self::Shown,
        }
    }
}

impl Block {
    /// Whether the block has commands for a shell, run or not.
    pub(crate) fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "bash" | "console" | "sh")
    }

    /// The place of the block, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// Asserts that the lines of this block appear in `output` in this order.
    pub(crate) fn assert_within(&self, output: &str) {
        let mut lines = output.lines();
        for (offset, expected) in self.text.lines().enumerate() {
            let expected = expected.trim();
            if expected.is_empty() || expected == "..." {
                continue;
            }
            assert!(
                lines.any(|line| fits(expected, line.trim())),
                "{}:{}: the output has no line {expected:?} here:\n{output}",
                self.page,
                self.line + offset
            );
        }
    }
}

/// Whether a line fits a pattern in which `...` stands for any text.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_pattern_fits_lines() {
    for (pattern, line, expected) in [
        ("imported", "imported", true),
        ("imported", "imported twice", false),
        ("unet: ... numbers of ...", "unet: 12 tensors, 7 numbers of F16, a file", true),
        ("... done", "all done", true),
        ("... done", "all done now", false),
        ("a...b...c", "a b c b c", true),
        ("a...b", "ba", false),
    ] {
        assert_eq!(fits(pattern, line), expected, "{pattern:?} {line:?}");
    }
}

#[test]
fn blocks_have_kind_and_line() {
    let text = "intro\n\n## One\n\n```toml path=a/b.toml\nx = 1\n```\n```bash\nls\n```\n\n## Two\n```bash not-run\nrm\n```\n";
    let page = Page::parse("p.md", text);
    let found: Vec<_> = page.blocks().map(|block| (block.line, block.kind.clone())).collect();
    assert_eq!(found, [(6, Kind::File("a/b.toml".into())), (9, Kind::Commands), (14, Kind::Shown)]);
    assert_eq!(page.sections[2].heading, "Two");
    assert_eq!(page.sections[1].blocks[0].text, "x = 1\n");
}
