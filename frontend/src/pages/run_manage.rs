//! What people change of a run: name, tags, notes, pin and archive; how it goes on; its deletion. Plain forms.

use crate::format::count;
use crate::pages::refused::RefusedFields;
use domain::api::{RunDeletion, RunDetail, run_page};
use domain::job::JobState;
use domain::run::Run;
use leptos::prelude::*;

/// The section with all forms.
pub(crate) fn manage_section(detail: &RunDetail) -> impl IntoView + use<> {
    let run = &detail.run;
    let duplicate = format!("/runs/new?from={}", run.id);
    view! {
        <section aria-labelledby="manage">
            <header class="section-head">
                <h2 id="manage">"Manage"</h2>
                <a href=duplicate>"Duplicate with changes"</a>
            </header>
            {go_on(detail)}
            {change(run)}
            {deletion(run, detail.deletion.clone())}
        </section>
    }
}

/// The form of name, tags, notes, pin and archive.
fn change(run: &Run) -> impl IntoView + use<> {
    let refused = RefusedFields::of("change");
    let entered =
        |name: &str, now: String| refused.as_ref().map_or(now, |form| form.value(name).unwrap_or_default());
    let checked = |name: &str, now: bool| refused.as_ref().map_or(now, |form| form.value(name).is_some());
    let note = refused.as_ref().map(RefusedFields::note);
    view! {
        <form method="post" action=format!("{}/change", run_page(run.id)) class="stacked wide" id="change">
            {note}
            <label class="field">
                <span>"Name"</span>
                <input name="name" required autocomplete="off" spellcheck="false" value=entered("name", run.name.clone()) />
            </label>
            <label class="field">
                <span>"Tags, separated by spaces"</span>
                <input name="tags" autocomplete="off" spellcheck="false" value=entered("tags", run.tags.join(" ")) />
            </label>
            <label class="field">
                <span>"Notes"</span>
                <textarea name="notes" rows="4">{entered("notes", run.notes.clone())}</textarea>
            </label>
            <label class="check"><input type="checkbox" name="pinned" value="true" checked=checked("pinned", run.pinned) />"Pinned: lists show it first"</label>
            <label class="check"><input type="checkbox" name="archived" value="true" checked=checked("archived", run.archived) />"Archived: lists leave it out"</label>
            <button class="quiet">"Save"</button>
        </form>
    }
}

/// The form that resumes a stopped or failed run, or prolongs a finished one.
fn go_on(detail: &RunDetail) -> Option<impl IntoView + use<>> {
    let run = &detail.run;
    if !run.state.is_final() {
        return None;
    }
    if let Some((id, name)) = &detail.study {
        let study = view! { <a href=format!("/studies/{id}")>{name.clone()}</a> };
        return Some(
            view! { <p class="soft">"It belongs to study " {study} ", which tries failed cells again."</p> }
                .into_any(),
        );
    }
    let refused = RefusedFields::of("resume");
    let note = refused.as_ref().map(RefusedFields::note);
    let finished = run.state == JobState::Succeeded;
    let has_state = detail.deletion.has_state;
    if finished && !has_state {
        return Some(view! { {note}<p class="soft">"Its state was not kept, so it cannot be prolonged. A new run can start from its model."</p> }.into_any());
    }
    let (label, text) = match (finished, has_state) {
        (true, _) => {
            ("Prolong", format!("It has done {} steps. With more steps it goes on where it ended.", run.step))
        }
        (false, true) => ("Resume", "It goes on from its last checkpoint.".to_owned()),
        (false, false) => {
            ("Resume", "It was stopped before its first checkpoint, and begins at step 0 again.".to_owned())
        }
    };
    let steps = refused.as_ref().and_then(|form| form.value("steps"));
    let steps = steps.unwrap_or_else(|| {
        let steps = i64::from(run.spec.steps);
        if finished { steps.saturating_mul(2).to_string() } else { steps.to_string() }
    });
    let form = view! {
        <form method="post" action=format!("{}/resume", run_page(run.id)) class="stacked" id="resume">
            {note}
            <p class="soft">{text}</p>
            <label class="field narrow">
                <span>"Steps in total"</span>
                <input name="steps" inputmode="numeric" autocomplete="off" value=steps />
            </label>
            <button class="quiet">{label}</button>
        </form>
    };
    Some(form.into_any())
}

/// The form that deletes the run, or what would break.
fn deletion(run: &Run, deletion: RunDeletion) -> impl IntoView + use<> {
    let RunDeletion { blocked_by, samples, kept_models, has_state } = deletion;
    let refused = RefusedFields::of("delete");
    let (note, open) = (refused.as_ref().map(RefusedFields::note), refused.is_some());
    let body = if blocked_by.is_empty() {
        let state = if has_state { ", and the state from which it could go on" } else { "" };
        let models = match kept_models.len() {
            0 => String::new(),
            _ => format!(" Its models stay: {}.", kept_models.join(", ")),
        };
        view! {
            <form method="post" action=format!("{}/delete", run_page(run.id)) class="stacked">
                <p>
                    {format!("Deletes its curves, its job, {}{state}.{models} ", count(samples, "sample image", "sample images"))}
                    "This cannot be undone."
                </p>
                <button type="submit" class="danger">"Delete run"</button>
            </form>
        }
        .into_any()
    } else {
        let uses = blocked_by.into_iter().map(|what| view! { <li>{what}</li> }).collect_view();
        view! { <p>"It cannot be deleted, because these depend on it:"</p><ul class="inside">{uses}</ul> }
            .into_any()
    };
    view! { <details class="more" open=open><summary>"Delete this run"</summary>{note}{body}</details> }
}
