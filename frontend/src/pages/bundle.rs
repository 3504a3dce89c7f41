//! Where the files of pages lie.

use leptos::prelude::use_context;

/// Where the browser bundle lies. The server provides it in the context of every page.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The address of its folder, whose name changes with its content. None if no bundle was built: pages then have no
    /// interactive parts, and a style that browsers revalidate.
    pub folder: Option<String>,
}

/// The address of a file of `static/`.
pub(crate) fn static_file(name: &str) -> String {
    let folder = use_context::<Bundle>().and_then(|bundle| bundle.folder);
    format!("{}/{name}", folder.as_deref().unwrap_or("/static"))
}
