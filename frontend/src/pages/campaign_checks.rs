//! The part of the form of a new campaign that is about raters: pairs with a known answer, the exam, and what a panel is told.

use domain::api::{GoldCandidate, path};
use domain::campaign::CampaignSpec;
use domain::evaluate::Metric;
use leptos::prelude::*;
use leptos_router::params::ParamsMap;

/// The fields of a code and an address, with who is told them.
const TOLD: [(&str, &str, &str); 3] = [
    ("completion_code", "return_url", "a rater whose session is done"),
    ("failed_code", "failed_url", "a rater who has failed the exam"),
    ("withdrawn_code", "withdrawn_url", "a rater who does not agree, or stops"),
];

/// What the fields hold at first.
pub(super) struct Checks {
    /// Lines of two ids, the better image first.
    gold: String,
    metric: String,
    count: String,
    /// Exam, gold and repeated pairs.
    numbers: [String; 3],
    /// Codes and addresses, in the order of `TOLD`.
    told: [(String, String); 3],
}

impl Checks {
    pub(super) fn of_copy(spec: &CampaignSpec) -> Self {
        let lines = spec.gold.iter().map(|pair| format!("{} {}", pair.better, pair.worse));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            gold: lines.collect::<Vec<_>>().join("\n"),
            metric: String::new(),
            count: String::new(),
            numbers: [spec.exam, spec.gold_every, spec.repeat_every].map(|number| number.to_string()),
            told: [
                (text(&spec.completion_code), text(&spec.return_url)),
                (text(&spec.failed_code), text(&spec.failed_url)),
                (text(&spec.withdrawn_code), text(&spec.withdrawn_url)),
            ],
        }
    }

    pub(super) fn of_address(fields: &ParamsMap) -> Self {
        let text = |name: &str| fields.get(name).unwrap_or_default();
        let number =
            |name: &str| Some(text(name)).filter(|x| !x.is_empty()).unwrap_or_else(|| "0".to_owned());
        Self {
            gold: text("gold"),
            metric: text("gold_metric"),
            count: text("gold_count"),
            numbers: ["exam", "gold_every", "repeat_every"].map(number),
            told: TOLD.map(|(code, address, _)| (text(code), text(address))),
        }
    }

    /// The metric that proposes pairs.
    pub(super) fn metric(&self) -> &str {
        if self.metric.is_empty() { Metric::PromptFollowed.as_str() } else { &self.metric }
    }

    fn is_used(&self) -> bool {
        let numbers = self.numbers.iter().any(|number| number != "0");
        numbers || !self.gold.is_empty() || !self.count.is_empty()
    }
}

/// `candidates`: pairs to choose from, once they were asked for.
pub(super) fn fields(checks: Checks, candidates: Option<Vec<GoldCandidate>>) -> impl IntoView {
    let is_open = checks.is_used() || candidates.is_some();
    let is_told = checks.told.iter().any(|(code, address)| !code.is_empty() || !address.is_empty());
    let Checks { gold, metric, count, numbers: [exam, gold_every, repeat_every], told } = checks;
    let metrics = Metric::ALL.map(|known| {
        let value = known.as_str();
        view! { <option value=value selected={value == metric}>{known.label()}</option> }
    });
    let told = TOLD.into_iter().zip(told).map(|((code, address, who), (code_value, address_value))| {
        view! {
            <fieldset class="field told">
                <legend>{format!("For {who}")}</legend>
                <label class="field"><span>"Code"</span><input name=code maxlength="100" value=code_value /></label>
                <label class="field">
                    <span>"Address"</span>
                    <input name=address type="url" placeholder="https://app.prolific.com/submissions/complete?cc=..." value=address_value />
                </label>
            </fieldset>
        }
    });
    view! {
        <details class="more" id="gold" open=is_open>
            <summary>"Exam and checks"</summary>
            <p class="soft">
                "A check is a pair whose answer is known (gold), or one that the rater has judged before. Checks look like all pairs, and their "
                "answers are no votes."
            </p>
            <label class="field">
                <span>"Metric that proposes gold pairs"</span>
                <select name="gold_metric"><option value="">"none"</option>{metrics}</select>
            </label>
            <label class="field narrow">
                <span>"Take so many of its clearest pairs"</span>
                <input name="gold_count" inputmode="numeric" placeholder="0" value=count />
            </label>
            <p>
                <button name="pick" value="1" formnovalidate=true>"Show pairs to choose from"</button>
                <span class="soft">" of the chosen models, by the metric"</span>
            </p>
            {candidates.map(choice)}
            <label class="field">
                <span>"Gold pairs: per line the id of the better image, and that of the other"</span>
                <textarea name="gold" rows="3" spellcheck="false">{gold}</textarea>
            </label>
            <label class="field narrow"><span>"Gold pairs in the exam"</span><input name="exam" inputmode="numeric" value=exam /></label>
            <label class="field narrow">
                <span>"Every n-th pair is gold (0: none)"</span><input name="gold_every" inputmode="numeric" value=gold_every />
            </label>
            <label class="field narrow">
                <span>"Every n-th pair is repeated (0: none)"</span>
                <input name="repeat_every" inputmode="numeric" value=repeat_every />
            </label>
        </details>
        <details class="more" open=is_told>
            <summary>"Codes and addresses of a panel"</summary>
            <p class="soft">"What a rater enters at the panel that sent them, such as Prolific's completion codes, and where they return to."</p>
            {told.collect_view()}
        </details>
    }
}

/// Pairs of which the better image is chosen. Neither what the metric prefers nor the models are told: the choice is by eye.
fn choice(candidates: Vec<GoldCandidate>) -> impl IntoView {
    if candidates.is_empty() {
        return view! {
            <div class="note wait"><p>
                "No two images of these models with equal settings have different scores by this metric. Choose models and a metric that an "
                "evaluation has computed."
            </p></div>
        }
        .into_any();
    }
    let pairs = candidates.into_iter().map(|candidate| {
        let (first, second) = (candidate.better.min(candidate.worse), candidate.better.max(candidate.worse));
        let name = format!("gold:{first}:{second}");
        let image = |id: String, number: u8| {
            let address = path::IMAGE_FILE.replace("{id}", &id);
            view! {
                <label>
                    <img src=address alt=format!("Image {number}") loading="lazy" width="128" height="128" />
                    <span><input type="radio" name=name.clone() value=id />{format!(" {number} is better")}</span>
                </label>
            }
        };
        view! {
            <fieldset class="gold-pair">
                <legend>{candidate.prompt}</legend>
                {image(first.to_string(), 1)}
                {image(second.to_string(), 2)}
                <label><span><input type="radio" name=name.clone() value="" checked />" leave out"</span></label>
            </fieldset>
        }
    });
    view! { <div class="gold-pairs">{pairs.collect_view()}</div> }.into_any()
}
