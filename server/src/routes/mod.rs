//! The routes of the HTTP API, one file per resource. A route and its documentation are registered together.

mod agreement;
mod campaign_desk;
mod campaign_habits;
mod campaign_items;
mod campaign_rankings;
mod campaign_raters;
mod campaigns;
mod comparisons;
mod data_check;
mod datasets;
mod document;
mod evaluations;
mod events;
mod file_schema;
mod generate;
mod generations;
mod gold_candidates;
mod health;
mod images;
mod invitations;
mod jobs;
mod leaderboard;
mod lineage;
mod list_limit;
mod matchups;
mod model_detail;
mod models;
mod overview;
mod question;
mod report_file;
mod run_changes;
mod run_draft;
mod run_estimate;
mod run_list;
mod run_presets;
mod run_records;
mod runs;
mod series;
mod settings;
mod spec_form;
mod spec_values;
mod studies;
mod taken;
mod votes;
mod votes_export;
mod withheld;
mod workers;

use crate::error::ApiError;
use crate::state::AppState;
use axum::extract::MatchedPath;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use domain::api::path;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use campaign_desk::{answer, rank, take_back};
pub(crate) use campaigns::{find as find_campaign, make as make_campaign, require_owner};
pub(crate) use comparisons::{CompareForm, compare};
pub(crate) use gold_candidates::proposed as propose_gold;
pub(crate) use images::delete as delete_image;
pub(crate) use invitations::{invite, join};
pub(crate) use matchups::make as create_matchup;
pub(crate) use model_detail::delete_by_form as delete_model_by_form;
pub(crate) use run_changes::{apply as apply_run_change, delete as delete_run, go_on as resume_run};
pub(crate) use run_draft::submit as submit_run;
pub(crate) use settings::shown as shown_settings;
pub(crate) use votes::by_form as vote_by_form;

/// The routes of campaigns.
fn of_campaigns() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(campaigns::list, campaigns::create))
        .routes(routes!(campaigns::one))
        .routes(routes!(campaigns::set_state))
        .routes(routes!(campaign_items::list))
        .routes(routes!(campaign_desk::next))
        .routes(routes!(campaign_desk::side))
        .routes(routes!(campaign_desk::vote))
        .routes(routes!(campaign_rankings::rank))
        .routes(routes!(campaign_desk::skip))
        .routes(routes!(campaign_desk::undo))
        .routes(routes!(gold_candidates::list))
        .routes(routes!(campaign_raters::consent))
        .routes(routes!(campaign_raters::history))
        .routes(routes!(campaign_raters::erase))
        .routes(routes!(invitations::create))
        .routes(routes!(invitations::revoke))
}

/// The router of the whole API. The pages call it too, without a socket.
pub(crate) fn api(state: AppState) -> Router {
    let (router, mut document) = OpenApiRouter::with_openapi(document::introduction())
        .routes(routes!(generate::by_query, generate::by_body))
        .routes(routes!(generations::one, generations::cancel))
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::one, jobs::change))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::report))
        .routes(routes!(studies::list, studies::submit))
        .routes(routes!(studies::one))
        .routes(routes!(studies::runs))
        .routes(routes!(studies::cancel))
        .routes(routes!(studies::retry))
        .routes(routes!(studies::report))
        .routes(routes!(events::follow))
        .routes(routes!(events::cursor))
        .routes(routes!(run_list::list))
        .routes(routes!(run_list::choices))
        .routes(routes!(runs::one, run_changes::change, run_changes::delete))
        .routes(routes!(run_changes::resume))
        .routes(routes!(run_draft::draft))
        .routes(routes!(runs::metrics))
        .routes(routes!(runs::samples))
        .routes(routes!(run_records::log))
        .routes(routes!(run_records::text))
        .routes(routes!(run_records::usage))
        .routes(routes!(series::series))
        .routes(routes!(series::csv))
        .routes(routes!(lineage::lineage))
        .routes(routes!(models::list))
        .routes(routes!(models::one, model_detail::delete))
        .routes(routes!(model_detail::detail))
        .routes(routes!(model_detail::file))
        .routes(routes!(overview::overview))
        .routes(routes!(images::list))
        .routes(routes!(images::one, images::delete))
        .routes(routes!(images::file))
        .routes(routes!(comparisons::create))
        .routes(routes!(matchups::create))
        .routes(routes!(matchups::next))
        .routes(routes!(matchups::side))
        .routes(routes!(votes::cast))
        .routes(routes!(votes::skip))
        .routes(routes!(votes::undo))
        .merge(of_campaigns())
        .routes(routes!(votes::list))
        .routes(routes!(votes_export::export))
        .routes(routes!(datasets::list))
        .routes(routes!(data_check::check))
        .routes(routes!(data_check::report))
        .routes(routes!(datasets::pairs))
        .routes(routes!(datasets::one))
        .routes(routes!(datasets::image))
        .routes(routes!(leaderboard::leaderboard))
        .routes(routes!(agreement::agreement))
        .routes(routes!(evaluations::list))
        .routes(routes!(evaluations::one))
        .routes(routes!(workers::list))
        .routes(routes!(settings::settings))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .split_for_parts();
    document::add_common_responses(&mut document);
    let methods = document::methods(&document);
    let description = document::to_json(&document).map(Json).map_err(|error| error.to_string());
    let description = description.map_err(|error| {
        tracing::error!("the OpenAPI document cannot be written: {error}");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let method_not_allowed = move |route: MatchedPath| {
        // The only route outside the document is the document itself.
        let allowed = methods.get(route.as_str()).map_or("GET", String::as_str);
        let error = ApiError::method_not_allowed(allowed);
        async { error }
    };
    router
        .route(path::OPENAPI, get(move || async move { description }))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}
