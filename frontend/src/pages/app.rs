//! The routes of all pages.

use crate::pages::{
    campaign, campaign_desk, campaign_new, campaigns, compare, data_check, dataset, dataset_report, datasets,
    docs, evaluation, evaluations, generate, help, home, judge, leaderboard, model, models, new_run,
    not_found, pair, run, run_compare, run_records, runs, settings, studies, study, workers,
};
use leptos::prelude::*;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::{SsrMode, path};

/// The page that the URL's path selects.
#[component]
pub fn App() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=not_found::NotFound>
                <Route path=path!("/") view=home::Home ssr=SsrMode::Async />
                <Route path=path!("/runs") view=runs::Runs ssr=SsrMode::Async />
                <Route path=path!("/runs/compare") view=run_compare::RunComparePage ssr=SsrMode::Async />
                <Route path=path!("/runs/new") view=new_run::NewRun ssr=SsrMode::Async />
                <Route path=path!("/runs/:id") view=run::RunPage ssr=SsrMode::Async />
                <Route path=path!("/runs/:id/log") view=run_records::RunRecordsPage ssr=SsrMode::Async />
                <Route path=path!("/evaluations") view=evaluations::EvaluationsPage ssr=SsrMode::Async />
                <Route path=path!("/evaluations/:id") view=evaluation::EvaluationPage ssr=SsrMode::Async />
                <Route path=path!("/settings") view=settings::Settings ssr=SsrMode::Async />
                <Route path=path!("/workers") view=workers::Workers ssr=SsrMode::Async />
                <Route path=path!("/studies") view=studies::Studies ssr=SsrMode::Async />
                <Route path=path!("/studies/:id") view=study::StudyPage ssr=SsrMode::Async />
                <Route path=path!("/models") view=models::Models ssr=SsrMode::Async />
                <Route path=path!("/models/:id") view=model::ModelPage ssr=SsrMode::Async />
                <Route path=path!("/datasets") view=datasets::Datasets ssr=SsrMode::Async />
                <Route path=path!("/datasets/check") view=data_check::DataCheck ssr=SsrMode::Async />
                <Route path=path!("/datasets/:name") view=dataset::DatasetPage ssr=SsrMode::Async />
                <Route path=path!("/datasets/:name/report") view=dataset_report::DatasetReportPage ssr=SsrMode::Async />
                <Route path=path!("/datasets/:name/:index") view=pair::PairPage ssr=SsrMode::Async />
                <Route path=path!("/playground") view=generate::Generate ssr=SsrMode::Async />
                <Route path=path!("/judge/compare") view=compare::ComparePage ssr=SsrMode::Async />
                <Route path=path!("/judge") view=judge::JudgePage ssr=SsrMode::Async />
                <Route path=path!("/campaigns") view=campaigns::Campaigns ssr=SsrMode::Async />
                <Route path=path!("/campaigns/new") view=campaign_new::CampaignNew ssr=SsrMode::Async />
                <Route path=path!("/campaigns/:id") view=campaign::CampaignPage ssr=SsrMode::Async />
                <Route path=path!("/campaigns/:id/judge") view=campaign_desk::CampaignDeskPage ssr=SsrMode::Async />
                <Route path=path!("/leaderboard") view=leaderboard::LeaderboardPage ssr=SsrMode::Async />
                <Route path=path!("/help/:page") view=help::HelpView ssr=SsrMode::Async />
                <Route path=path!("/docs") view=docs::Docs ssr=SsrMode::Async />
            </Routes>
        </Router>
    }
}
