//! The documentation, as `cargo xtask frontend` renders it from `docs/`, within the frame of all pages.

use crate::pages::bundle::static_file;
use crate::pages::layout::Head;
use crate::pages::not_found::NotFound;
use leptos::prelude::*;
use leptos_meta::Title;

/// What the server knows of the requested page of the documentation. It provides this in the context of the page.
#[derive(Clone, Debug)]
pub struct Help {
    /// The page; none if there is none of this name.
    pub page: Option<HelpPage>,
    /// Whether the documentation was built.
    pub built: bool,
}

/// A page of the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelpPage {
    title: String,
    html: String,
}

impl HelpPage {
    /// Reads a file of the documentation: the title in a comment, then HTML. `name`: of the file, whose entry in the table of contents is
    /// marked as the current one.
    pub fn read(name: &str, text: &str) -> Self {
        let (title, html) = text.trim_start().split_once("-->").unwrap_or(("", text));
        let title = title.trim_start_matches("<!--").replace("&amp;", "&").replace("&#39;", "'");
        let entry = format!("<a href=\"{name}\">");
        let html = html.replacen(&entry, &format!("<a aria-current=\"page\" href=\"{name}\">"), 1);
        Self { title, html }
    }
}

#[component]
pub(crate) fn HelpView() -> impl IntoView {
    match use_context::<Help>() {
        Some(Help { page: Some(page), .. }) => book(page).into_any(),
        Some(Help { built: true, .. }) => view! { <NotFound /> }.into_any(),
        _ => view! {
            <Head title="Help" lead="The documentation is not built here." />
            <p>"Run "<code>"cargo xtask frontend"</code>", or read the folder docs of the repository."</p>
        }
        .into_any(),
    }
}

fn book(page: HelpPage) -> impl IntoView {
    let HelpPage { title, html } = page;
    view! {
        <Title text=title />
        <search class="book-search">
            <label class="visually-hidden" for="book-search">"Search the documentation"</label>
            <input id="book-search" type="search" placeholder="Search the documentation" autocomplete="off" disabled />
            <ul class="book-results" aria-live="polite"></ul>
        </search>
        <div class="book" inner_html=html></div>
        <script type="module" src=static_file("help.js")></script>
    }
}

#[cfg(test)]
mod tests {
    use super::HelpPage;

    #[test]
    fn a_page_has_its_title_and_marks_itself_in_the_contents() {
        let text = "<!--Beta &amp; tau-->\n<nav><a href=\"a.html\">A</a><a href=\"b.html\">B</a></nav><p><a href=\"b.html\">";
        let page = HelpPage::read("b.html", text);
        assert_eq!(page.title, "Beta & tau");
        assert!(page.html.contains("<a href=\"a.html\">A</a><a aria-current=\"page\" href=\"b.html\">B</a>"));
        assert_eq!(page.html.matches("aria-current").count(), 1);
    }
}
