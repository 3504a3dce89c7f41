//! The HTML document around every page: head, navigation, footer.

use crate::components::theme_toggle::ThemeToggle;
use crate::pages::app::App;
use crate::pages::bundle::{Bundle, static_file};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::request::Parts;
use leptos::nonce::{Nonce, use_nonce};
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use leptos_meta::{MetaTags, Title, provide_meta_context};

/// Path, label and icon (an SVG path) of the main pages.
const PAGES: [(&str, &str, &str); 6] = [
    ("/runs", "Runs", "M3 15l4-5 3 3 7-9"),
    ("/datasets", "Datasets", "M3 4h6v12H3zM11 4h6v12h-6zM3 12l2-2 4 4M11 12l2-2 4 4"),
    ("/models", "Models", "M4 4h5v5H4zM11 4h5v5h-5zM4 11h5v5H4zM11 11h5v5h-5z"),
    ("/playground", "Generate", "M10 3l1.8 5.2L17 10l-5.2 1.8L10 17l-1.8-5.2L3 10l5.2-1.8z"),
    ("/judge", "Judge", "M3 5h6v10H3zM11 5h6v10h-6z"),
    ("/leaderboard", "Leaderboard", "M4 16v-5M10 16V4M16 16V8"),
];

/// Handles the theme, copy buttons and small images. Part of the document, because it sets the theme before the first paint.
const PAGE_SCRIPT: &str = include_str!("page.js");

/// Loads the browser bundle on pages that have islands. Expects the constant `folder`.
const ISLANDS_LOADER: &str = include_str!("islands_loader.js");

/// The Content-Security-Policy of pages. Scripts are files of this server, or carry the nonce of the response; WebAssembly
/// is compiled from one of them. Bars of the leaderboard have their lengths in `style` attributes.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; style-src-attr \
         'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

/// Sets the policy of the response. Returns its nonce.
fn set_policy() -> Option<Nonce> {
    let nonce = use_nonce()?;
    let policy = HeaderValue::from_str(&policy(&nonce)).ok()?;
    use_context::<ResponseOptions>()?.insert_header(CONTENT_SECURITY_POLICY, policy);
    Some(nonce)
}

/// The document with the page that the URL selects.
pub fn shell() -> impl IntoView {
    provide_meta_context();
    // Only islands are hydrated, and what they need is in their attributes.
    if let Some(context) = Owner::current_shared_context() {
        context.set_is_hydrating(false);
    }
    let nonce = set_policy();
    let folder = use_context::<Bundle>().and_then(|bundle| bundle.folder);
    let loader = folder.map(|folder| format!("const folder = {folder:?};\n{ISLANDS_LOADER}"));
    let loader =
        loader.map(|loader| view! { <script type="module" nonce=nonce.clone() inner_html=loader></script> });
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <meta name="description" content="Align text-to-image models with human preferences: train, generate, judge, rank." />
                <script nonce=nonce inner_html=PAGE_SCRIPT></script>
                <link rel="icon" href=static_file("icon.svg") type="image/svg+xml" />
                <link rel="preload" href=static_file("display.woff2") r#as="font" r#type="font/woff2" crossorigin="" />
                <link rel="stylesheet" href=static_file("style.css") />
                <MetaTags />
            </head>
            <body>
                <Title formatter=|text| format!("{text} · Diff-contrast") />
                <a class="skip" href="#main">"Skip to content"</a>
                <TopBar />
                <main id="main"><App /></main>
                <footer class="foot">
                    <span>"Diff-contrast"</span>
                    <a href="/evaluations">"Evaluations"</a>
                    <a href="/workers">"Workers"</a>
                    <a href="/settings">"Settings"</a>
                    <a href="/help/index.html">"Documentation"</a>
                    <a href="/docs">"HTTP API"</a>
                </footer>
                {loader}
            </body>
        </html>
    }
}

#[component]
fn TopBar() -> impl IntoView {
    let path = use_context::<Parts>().map(|parts| parts.uri.path().to_owned()).unwrap_or_default();
    // Raters, of whom some are invited to this page only.
    if path.starts_with("/campaigns/") && path.ends_with("/judge") {
        return view! {
            <header class="top">
                <span class="brand">"Diff-contrast"</span>
                <span class="tools"><ThemeToggle /></span>
            </header>
        }
        .into_any();
    }
    let links = PAGES
        .into_iter()
        .map(|(address, name, icon)| {
            // Campaigns are reached from the Judge page.
            let current =
                path.starts_with(address) || (address == "/judge" && path.starts_with("/campaigns"));
            view! {
                <a href=address aria-current=current.then_some("page")>
                    <svg viewBox="0 0 20 20" aria-hidden="true"><path d=icon /></svg>
                    <span>{name}</span>
                </a>
            }
        })
        .collect_view();
    view! {
        <header class="top">
            <a class="brand" href="/">
                <svg viewBox="0 0 32 32" aria-hidden="true">
                    <rect x="2" y="7" width="18" height="18" rx="4" class="mark-full" />
                    <rect x="12" y="7" width="18" height="18" rx="4" class="mark-open" />
                </svg>
                <span>"Diff-contrast"</span>
            </a>
            <nav aria-label="Main">{links}</nav>
            <span class="tools">
                <a class="docs-link" href="/help/index.html" aria-current=path.starts_with("/help").then_some("page")>"Help"</a>
                <ThemeToggle />
            </span>
        </header>
    }
    .into_any()
}
