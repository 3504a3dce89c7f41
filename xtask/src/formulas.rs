//! TeX formulas of Markdown as MathML, which browsers draw without a script.

use anyhow::{Context, Result, ensure};
use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, push_mathml};

/// Replaces `$$...$$` and `$...$` by MathML, outside code.
///
/// # Errors
/// Fails with the formula that cannot be read.
pub(crate) fn render(markdown: &str) -> Result<String> {
    let mut out = String::with_capacity(markdown.len());
    let mut is_fenced = false;
    let mut block: Option<String> = None;
    for line in markdown.split_inclusive('\n') {
        let text = line.trim();
        if block.is_none() && text.starts_with("```") {
            is_fenced = !is_fenced;
        }
        if is_fenced || (block.is_none() && line.starts_with("    ")) {
            out.push_str(line);
        } else if text == "$$" {
            match block.take() {
                Some(tex) => out.push_str(&format!(
                    "<div class=\"formula\">{}</div>\n",
                    mathml(&tex, DisplayMode::Block)?
                )),
                None => block = Some(String::new()),
            }
        } else if let Some(tex) = &mut block {
            tex.push_str(line);
        } else {
            inline(line, &mut out)?;
        }
    }
    ensure!(block.is_none(), "a formula that begins with $$ has no end");
    Ok(out)
}

/// The formulas within a line of prose. Inline code keeps its dollars.
fn inline(line: &str, out: &mut String) -> Result<()> {
    for (index, span) in line.split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        if index % 2 == 1 {
            out.push_str(span);
            continue;
        }
        let parts: Vec<&str> = span.split('$').collect();
        ensure!(parts.len() % 2 == 1, "the line has an odd number of dollars: {line}");
        for (index, part) in parts.into_iter().enumerate() {
            if index % 2 == 1 {
                out.push_str(&mathml(part, DisplayMode::Inline)?)
            } else {
                out.push_str(part)
            }
        }
    }
    Ok(())
}

fn mathml(tex: &str, display_mode: DisplayMode) -> Result<String> {
    let storage = Storage::new();
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    let mut out = String::new();
    push_mathml(&mut out, Parser::new(tex, &storage), config).with_context(|| format!("writing {tex:?}"))?;
    ensure!(!out.contains("<merror"), "the formula {tex:?} cannot be read: {out}");
    // A blank line would end the HTML block of Markdown.
    Ok(out.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn formulas_become_mathml_and_code_stays() {
        let text = "Let $a_i$ be\n\n$$\nL = \\frac{1}{M} \\sum_i x\n$$\n\n`$HOME`\n\n```console\n$ ls $x\n```\n\n    $ indented $\n";
        let html = render(text).expect("formulas");
        assert!(
            html.contains("Let <math") && html.contains("<mfrac>") && html.contains("display=\"block\""),
            "{html}"
        );
        for code in ["`$HOME`", "$ ls $x\n", "    $ indented $\n"] {
            assert!(html.contains(code), "{code}: {html}");
        }
        assert!(render("one $ dollar").is_err());
        assert!(render("$$\nx").is_err());
        assert!(render("$\\frac{1$").is_err());
    }
}
