//! The pages, drawn on the server. Each loads what it shows before a byte is sent, so that all of them read
//! without JavaScript.

mod dataset;
mod datasets;
mod docs;
mod generate;
mod judge;
mod leaderboard;
mod models;
mod not_found;
mod questions;
mod run;
mod runs;
mod shell;

use crate::api::{Answer, Failure};
use crate::components::note::FailureNote;
use axum::http::StatusCode;
use axum::http::header::HOST;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::{SsrMode, path};

pub use shell::shell;

/// Every page and its path.
#[component]
pub fn App() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=not_found::NotFound>
                <Route path=path!("/") view=runs::Runs ssr=SsrMode::Async />
                <Route path=path!("/runs") view=runs::Runs ssr=SsrMode::Async />
                <Route path=path!("/runs/:id") view=run::RunPage ssr=SsrMode::Async />
                <Route path=path!("/models") view=models::Models ssr=SsrMode::Async />
                <Route path=path!("/datasets") view=datasets::Datasets ssr=SsrMode::Async />
                <Route path=path!("/datasets/:name") view=dataset::DatasetPage ssr=SsrMode::Async />
                <Route path=path!("/datasets/:name/:index") view=dataset::PairPage ssr=SsrMode::Async />
                <Route path=path!("/playground") view=generate::Generate ssr=SsrMode::Async />
                <Route path=path!("/judge") view=judge::JudgePage ssr=SsrMode::Async />
                <Route path=path!("/leaderboard") view=leaderboard::LeaderboardPage ssr=SsrMode::Async />
                <Route path=path!("/docs") view=docs::Docs ssr=SsrMode::Async />
            </Routes>
        </Router>
    }
}

/// A page's head: its title, in the tab too, and a line that says what it is for.
#[component]
fn Head(
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

/// Draws what a call gives, or says why it gave nothing, under the status that the call had.
fn loaded<T, Loading, Draw, View>(loading: Loading, draw: Draw) -> impl IntoView
where
    T: Send + 'static,
    Loading: Future<Output = Answer<T>> + Send + 'static,
    Draw: FnOnce(T) -> View + Send + 'static,
    View: IntoView + 'static,
{
    let page = use_context::<leptos_axum::ResponseOptions>();
    let drawing = Suspend::new(async move {
        match loading.await {
            Ok(data) => draw(data).into_any(),
            Err(failure) => {
                if let (Some(page), Ok(status)) =
                    (page, StatusCode::from_u16(if failure.status == 0 { 500 } else { failure.status }))
                {
                    page.set_status(status);
                }
                problem(failure).into_any()
            }
        }
    });
    view! { <Suspense>{drawing}</Suspense> }
}

/// The address under which the visitor reached the site, for command lines to copy.
fn origin() -> String {
    let parts = use_context::<axum::http::request::Parts>();
    let host = parts.as_ref().and_then(|parts| parts.headers.get(HOST)).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("127.0.0.1:8080"))
}

fn problem(failure: Failure) -> impl IntoView {
    let title = if failure.status == 404 { "Not found" } else { "Something went wrong" };
    view! {
        <Head title />
        <FailureNote failure />
    }
}
