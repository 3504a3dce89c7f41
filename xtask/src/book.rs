//! The documentation as pages: mdBook renders `docs/` to fragments, which the server puts into the frame of its own pages.

use crate::formulas;
use crate::site_files::{compress_folder, files_of, hash_files, remove, write};
use anyhow::{Context, Result, anyhow};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_driver::config::Config;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

/// One page: the title in a comment, the table of contents, the text, and links to the pages before and after.
const PAGE: &str = r#"<!--{{chapter_title}}-->
<nav class="book-contents" aria-label="Contents">{{#toc}}{{/toc}}</nav>
<article class="book-text">
{{{content}}}
<nav class="book-turn" aria-label="Neighbouring pages">
{{#if previous}}<a rel="prev" href="{{previous.link}}"><small>Previous</small> {{previous.title}}</a>{{/if}}
{{#if next}}<a rel="next" href="{{next.link}}"><small>Next</small> {{next.title}}</a>{{/if}}
</nav>
</article>
"#;

/// Part of the hash of the documentation: a new number for another way of making it from the same files.
const LAYOUT: u32 = 3;

/// Names of the files that the server serves, beside the pages; the server has its own style.
const KEPT: [&str; 2] = ["elasticlunr.min.js", "searchindex.js"];

/// Builds the folder `into` from the Markdown files of `docs`, unless they have not changed.
pub(crate) fn build(docs: &Path, into: &Path) -> Result<()> {
    let hash = hash(docs)?;
    if fs::read_to_string(into.join("stamp")).is_ok_and(|old| old == hash) {
        return Ok(());
    }
    let beside = into.with_extension("new");
    remove(&beside)?;
    render(docs, &beside)?;
    write(&beside.join("stamp"), hash.as_bytes())?;
    remove(into)?;
    fs::rename(&beside, into).with_context(|| format!("renaming {}", beside.display()))
}

fn hash(docs: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    (LAYOUT, PAGE).hash(&mut hasher);
    hash_files(&files_of(docs, "")?, &mut hasher)?;
    Ok(format!("{:016x}", hasher.finish()))
}

fn render(docs: &Path, into: &Path) -> Result<()> {
    let theme = into.with_extension("theme");
    fs::create_dir_all(&theme).with_context(|| format!("creating {}", theme.display()))?;
    write(&theme.join("index.hbs"), PAGE.as_bytes())?;
    let mut config = Config::default();
    let set = |config: &mut Config, key: &str, value: toml::Value| {
        config.set(key, value).map_err(|error| anyhow!("mdBook's setting {key}: {error:#}"))
    };
    set(&mut config, "book.src", ".".into())?;
    set(&mut config, "build.build-dir", path_value(into)?)?;
    set(&mut config, "build.create-missing", false.into())?;
    set(&mut config, "output.html.theme", path_value(&theme)?)?;
    set(&mut config, "output.html.hash-files", false.into())?;
    set(&mut config, "output.html.no-section-label", true.into())?;
    set(&mut config, "output.html.input-404", "".into())?;
    set(&mut config, "output.html.print.enable", false.into())?;
    set(&mut config, "output.html.search.limit-results", 12.into())?;
    let mut book =
        MDBook::load_with_config(docs, config).map_err(|error| anyhow!("reading docs: {error:#}"))?;
    let mut outcome = Ok(());
    book.book.for_each_mut(|item| {
        if let BookItem::Chapter(chapter) = item {
            match formulas::render(&chapter.content) {
                Ok(content) => chapter.content = content,
                Err(error) => outcome = Err(error.context(chapter.name.clone())),
            }
        }
    });
    outcome?;
    book.build().map_err(|error| anyhow!("rendering docs: {error:#}"))?;
    remove(&theme)?;
    keep_pages(into)?;
    compress_folder(into)
}

fn path_value(path: &Path) -> Result<toml::Value> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.into())
}

/// Removes what mdBook adds for its own frame, and links out of the documentation, which only the repository has.
fn keep_pages(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_page = name.ends_with(".html") && name != "toc.html";
        if path.is_dir() {
            if name != "shapes" {
                remove(&path)?;
            }
        } else if is_page {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            write(&path, focusable(&unlink_outside(&text)).as_bytes())?;
        } else if !KEPT.contains(&name.as_str()) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Lets the keyboard reach what scrolls sideways in a narrow window.
fn focusable(text: &str) -> String {
    let scrolling = ["table", "pre", "div class=\"formula\""];
    scrolling.into_iter().fold(text.to_owned(), |text, tag| {
        text.replace(&format!("<{tag}>"), &format!("<{tag} tabindex=\"0\">"))
    })
}

/// Replaces links that leave the documentation by their text.
fn unlink_outside(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("<a href=\"../") {
        kept.push_str(before);
        let inner = link.split_once('>').map_or("", |(_, after)| after);
        let (inside, after) = inner.split_once("</a>").unwrap_or((inner, ""));
        kept.push_str(inside);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::{render, unlink_outside};
    use crate::workspace::Workspace;
    use std::fs;
    use std::path::Path;

    #[test]
    fn links_out_of_the_documentation_become_text() {
        let text = r#"see <a href="../SECURITY.html">the <b>policy</b></a> and <a href="data.html">data</a>"#;
        assert_eq!(unlink_outside(text), r#"see the <b>policy</b> and <a href="data.html">data</a>"#);
    }

    /// Values of an attribute in HTML.
    fn values<'a>(text: &'a str, attribute: &str) -> Vec<&'a str> {
        let key = format!(" {attribute}=\"");
        text.split(key.as_str()).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect()
    }

    fn has_id(page: &Path, id: &str) -> bool {
        fs::read_to_string(page).is_ok_and(|text| values(&text, "id").contains(&id))
    }

    #[test]
    fn every_document_is_a_page_whose_links_lead_somewhere() {
        let docs = Workspace::find().expect("the workspace").root.join("docs");
        let folder = std::env::temp_dir().join(format!("book-{}", std::process::id()));
        render(&docs, &folder).expect("the book");
        for entry in fs::read_dir(&docs).expect("docs").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".md").filter(|stem| *stem != "SUMMARY") {
                let stem = if stem == "README" { "index" } else { stem };
                assert!(folder.join(format!("{stem}.html")).is_file(), "{name} is not in docs/SUMMARY.md");
            }
        }
        let mut checked = 0;
        for entry in fs::read_dir(&folder).expect("pages").flatten() {
            let page = entry.path();
            if page.extension().is_none_or(|extension| extension != "html") {
                continue;
            }
            let text = fs::read_to_string(&page).expect("a page");
            for target in values(&text, "href").into_iter().chain(values(&text, "src")) {
                if target.contains("://") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { page.clone() } else { folder.join(file) };
                assert!(file.exists(), "{}: {target}", page.display());
                assert!(anchor.is_empty() || has_id(&file, anchor), "{}: {target}", page.display());
                checked += 1;
            }
        }
        assert!(checked > 400, "{checked} links");
        let index = fs::read_to_string(folder.join("searchindex.js")).expect("the search index");
        assert!(index.contains("contrast") && folder.join("searchindex.js.br").is_file());
        fs::remove_dir_all(&folder).expect("a folder of our own");
    }
}
