//! What every page has: a heading, data that is loaded first, and an error in its place if loading fails.

use crate::api::{ApiResult, Failure};
use crate::components::note::FailureNote;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::request::Parts;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use leptos_meta::Title;

/// The heading of a page. The title is also the title of the browser tab; `lead` is one sentence below it.
#[component]
pub(crate) fn Head(
    #[prop(into)] title: String,
    #[prop(optional, into)] lead: String,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <Title text=title.clone() />
        <header class="page-head">
            <h1>{title}</h1>
            {(!lead.is_empty()).then(|| view! { <p class="lead">{lead}</p> })}
            {children.map(|children| children())}
        </header>
    }
}

/// Renders the result of an API call. If the call fails, the page shows its error and has its status.
pub(crate) fn loaded<T, Call, Render, View>(call: Call, render: Render) -> impl IntoView
where
    T: Send + 'static,
    Call: Future<Output = ApiResult<T>> + Send + 'static,
    Render: FnOnce(T) -> View + Send + 'static,
    View: IntoView + 'static,
{
    let page = use_context::<ResponseOptions>();
    let content = Suspend::new(async move {
        match call.await {
            Ok(data) => render(data).into_any(),
            Err(failure) => {
                let status = if failure.status == 0 { 500 } else { failure.status };
                if let (Some(page), Ok(status)) = (page, StatusCode::from_u16(status)) {
                    page.set_status(status);
                }
                error(failure).into_any()
            }
        }
    });
    view! { <Suspense>{content}</Suspense> }
}

fn error(failure: Failure) -> impl IntoView {
    let title = if failure.status == 404 { "Not found" } else { "Something went wrong" };
    view! {
        <Head title />
        <FailureNote failure />
    }
}

/// The origin under which the visitor reached the site, for commands to copy.
pub(crate) fn origin() -> String {
    let parts = use_context::<Parts>();
    let host = parts.as_ref().and_then(|parts| parts.headers.get(HOST)).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("127.0.0.1:8080"))
}
