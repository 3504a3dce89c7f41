//! What the ratings of the leaderboard rest on: what the votes decide, ties, sides, and the raters.

use crate::format::{count, percent};
use domain::api::{CategoryRatings, Evidence, LeaderboardRow, RaterEvidence, Separation};
use leptos::prelude::*;

/// Raters in the table; the least reliable come first.
const RATERS: usize = 20;

/// What the votes decide, in sentences.
pub(crate) fn verdict(evidence: &Evidence) -> impl IntoView + use<> {
    let preliminary = evidence.is_preliminary.then(|| {
        format!(
            "Preliminary: below {} votes, or {} on each model, ratings still move much.",
            evidence.preliminary_below, evidence.preliminary_below_each
        )
    });
    let separation = evidence.separation.as_ref().map(separation);
    view! {
        {preliminary.map(|text| view! { <p class="preliminary"><strong>{text}</strong></p> })}
        {separation.map(|text| view! { <p class="separation">{text}</p> })}
    }
}

fn separation(found: &Separation) -> String {
    let Separation { first, second, is_separated, votes_more, deciding_votes } = found;
    if !is_separated {
        return match votes_more {
            Some(more) => format!(
                "{first} and {second} are not separable yet: about {} more would tell.",
                count(rounded(*more), "vote", "votes")
            ),
            None => format!(
                "{first} and {second} are not separable: their ratings are too close for any number of votes to tell soon."
            ),
        };
    }
    let robust = match deciding_votes {
        Some(votes) => format!(
            "Without the {}, {second} would be first.",
            count(*votes, "most influential vote", "most influential votes")
        ),
        None => "No third of the votes decides this.".to_owned(),
    };
    format!("{first} is better than {second} at 95% confidence, however often one has looked. {robust}")
}

/// Two significant digits: the estimate is no better.
fn rounded(votes: i64) -> i64 {
    let mut unit = 1;
    while votes / unit >= 100 {
        unit *= 10;
    }
    (votes + unit / 2) / unit * unit
}

/// Ties, sides and raters.
pub(crate) fn details(evidence: Evidence, rows: &[LeaderboardRow]) -> impl IntoView + use<> {
    let left = evidence.left_share;
    let careless = evidence.raters.iter().filter(|rater| rater.is_careless).count();
    let sides = format!(
        "Between models of equal rating, {} of the votes are ties or “both bad”, and {} of the others are for the left image \
         ({} to {}). The ratings allow for both.",
        percent(evidence.tie_share),
        percent(left.value),
        percent(left.low),
        percent(left.high)
    );
    let found = match careless {
        0 => "No rater answers mostly at random, as far as the votes tell.".to_owned(),
        careless => format!(
            "{} answered mostly at random, with a probability above 95%. Their votes hardly count.",
            count(careless as i64, "rater", "raters")
        ),
    };
    let all = evidence.raters.len();
    let has_checks = evidence.raters.iter().any(|rater| rater.checks > 0);
    let raters =
        evidence.raters.into_iter().take(RATERS).map(move |shown| rater(shown, has_checks)).collect_view();
    view! {
        <section aria-labelledby="raters">
            <h2 id="raters">"Raters"</h2>
            <p>{sides}</p>
            <p>{found}" A vote counts by its rater's reliability: the share of votes that follow the images rather than chance."</p>
            {has_checks.then(|| view! {
                <p>
                    "Checks are pairs with a known answer, and pairs that a rater judged before. Who fails them counts less: the table shows \
                     the reliability with and without them."
                </p>
            })}
            {(all > RATERS).then(|| view! { <p class="soft">{format!("The {RATERS} least reliable of {all} raters.")}</p> })}
            <table class="cards-on-phone">
                <thead>
                    <tr>
                        <th>"Rater"</th>
                        <th class="figure">"Votes"</th>
                        {has_checks.then(|| view! {
                            <th class="figure">"Checks passed"</th>
                            <th class="figure">"Without checks"</th>
                        })}
                        <th class="figure">"Reliability"</th>
                        <th>"Found"</th>
                    </tr>
                </thead>
                <tbody>{raters}</tbody>
            </table>
            {with_and_without(rows)}
        </section>
    }
}

fn rater(rater: RaterEvidence, has_checks: bool) -> impl IntoView {
    let checks = match rater.checks {
        0 => "–".to_owned(),
        all => format!("{} of {all}", rater.checks_passed),
    };
    let without = rater.reliability_without_checks.map_or_else(|| "–".to_owned(), percent);
    let found = if rater.is_careless { "careless" } else { "–" };
    view! {
        <tr>
            <td class="lead">{rater.pseudonym}</td>
            <td data-label="Votes" class="figure">{rater.votes}</td>
            {has_checks.then(|| view! {
                <td data-label="Checks passed" class="figure">{checks}</td>
                <td data-label="Without checks" class="figure">{without}</td>
            })}
            <td data-label="Reliability" class="figure">{percent(rater.reliability)}</td>
            <td data-label="Found">{found}</td>
        </tr>
    }
}

/// The ratings with and without weights of raters.
fn with_and_without(rows: &[LeaderboardRow]) -> impl IntoView + use<> {
    let has_checks = rows.iter().any(|row| row.rating_without_checks.is_some());
    let rows = rows
        .iter()
        .filter_map(|row| {
            let (weighted, alike) = (row.rating?.value, row.rating_all_alike?);
            let unchecked = row.rating_without_checks.map_or_else(|| "–".to_owned(), |rating| format!("{rating:.0}"));
            Some(view! {
                <tr>
                    <td class="lead">{row.model.clone()}</td>
                    <td data-label="By reliability" class="figure">{format!("{weighted:.0}")}</td>
                    {has_checks.then(|| view! { <td data-label="Without checks" class="figure">{unchecked}</td> })}
                    <td data-label="All raters alike" class="figure">{format!("{alike:.0}")}</td>
                    <td data-label="Difference" class="figure">{format!("{:+.0}", weighted - alike)}</td>
                </tr>
            })
        })
        .collect_view();
    view! {
        <h3>"Ratings with and without reliability"</h3>
        <table class="cards-on-phone">
            <thead>
                <tr>
                    <th>"Model"</th>
                    <th class="figure">"By reliability"</th>
                    {has_checks.then(|| view! { <th class="figure">"Without checks"</th> })}
                    <th class="figure">"All raters alike"</th>
                    <th class="figure">"Difference"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

/// Ratings by category of prompts: models in rows, in the order of the leaderboard, categories in columns.
pub(crate) fn categories(categories: Vec<CategoryRatings>, rows: &[LeaderboardRow]) -> impl IntoView + use<> {
    if categories.is_empty() {
        return ().into_any();
    }
    let head = categories
        .iter()
        .map(|of| {
            let votes = count(of.votes, "vote", "votes");
            view! { <th class="figure">{of.category.clone()}<br /><small class="soft">{votes}</small></th> }
        })
        .collect_view();
    let cell = |model: &str, of: &CategoryRatings| match of.ratings.iter().find(|known| known.model == model)
    {
        Some(known) => {
            let ends = format!("{:.0} to {:.0}", known.rating.low, known.rating.high);
            view! { <td class="figure">{format!("{:.0}", known.rating.value)}<br /><small class="soft">{ends}</small></td> }
                .into_any()
        }
        None => view! { <td class="figure">"–"</td> }.into_any(),
    };
    let rows = rows
        .iter()
        .filter(|row| row.rating.is_some())
        .map(|row| {
            let cells = categories.iter().map(|of| cell(&row.model, of)).collect_view();
            view! { <tr><th scope="row">{row.model.clone()}</th>{cells}</tr> }
        })
        .collect_view();
    view! {
        <section aria-labelledby="categories">
            <h2 id="categories">"Ratings by category"</h2>
            <p class="soft">
                "From the votes on prompts of each category, as evaluations name them, with the 95% interval for one look. Of many categories, \
                 one or another differs by chance."
            </p>
            <div class="scrolls" tabindex="0">
                <table class="matrix">
                    <thead><tr><th>"Model"</th>{head}</tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::{rounded, separation};
    use domain::api::Separation;

    #[test]
    fn votes_are_rounded_to_two_digits() {
        assert_eq!([7, 94, 137, 995, 12_345].map(rounded), [7, 94, 140, 1000, 12_000]);
    }

    #[test]
    fn the_sentence_tells_what_the_votes_decide() {
        let found = |is_separated, votes_more, deciding_votes| {
            separation(&Separation {
                first: "a".into(),
                second: "b".into(),
                is_separated,
                votes_more,
                deciding_votes,
            })
        };
        assert_eq!(
            found(false, Some(137), Some(3)),
            "a and b are not separable yet: about 140 votes more would tell."
        );
        assert!(found(false, None, None).contains("too close"));
        assert!(
            found(true, Some(0), Some(1)).ends_with("Without the 1 most influential vote, b would be first.")
        );
        assert!(found(true, Some(0), None).contains("No third"));
    }
}
