//! `simulate-campaign`: a campaign with the votes of simulated raters, so that a new site has something to look at. It goes
//! through the queries that the server uses: pairs are drawn, answered and counted as those of people.

use crate::storage::StorageSettings;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use domain::Timestamp;
use domain::campaign::{Campaign, CampaignSpec, CampaignState};
use domain::evaluate::Metric;
use domain::gold::{ScoredImage, clearest_pairs};
use domain::id::{CampaignId, ImageId, ModelId, RaterId, VoteId};
use domain::preference::{Choice, Vote};
use process::ambient;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use std::collections::HashMap;
use std::time::Duration;
use store::{DeskItem, ItemKind, Store};

/// Pairs that a simulated rater judges in one sitting.
const SITTING: usize = 12;

/// Least difference in clarity that the rule sees.
const CLEARER: f64 = 0.02;

/// Share of its answers that a careless rater gives without a look.
const UNSEEN: f64 = 0.9;

/// Arguments of `simulate-campaign`.
#[derive(Debug, Args)]
pub(crate) struct SimulateCampaignCommand {
    /// Name of the campaign. If there is one of this name, nothing is done.
    #[arg(long, default_value = "Bundled: a month of simulated votes")]
    name: String,
    /// A model with evaluation images of prompts of the bundled world; give the flag at least twice.
    #[arg(long = "model", required = true)]
    models: Vec<String>,
    /// Votes to cast.
    #[arg(long, default_value_t = 480)]
    votes: usize,
    /// Days before now over which they are spread.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Number of raters, the careless ones included.
    #[arg(long, default_value_t = 14)]
    raters: usize,
    /// Number of raters who answer nearly all pairs without a look.
    #[arg(long, default_value_t = 2)]
    careless: usize,
    /// Share of the other raters' answers that are drawn at random.
    #[arg(long, default_value_t = 0.2)]
    noise: f64,
    /// Decides every draw: the same database gets the same votes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    storage: StorageSettings,
}

/// The scores of an image by the rules of the bundled world.
#[derive(Clone, Copy)]
struct Seen {
    /// 1 if the image shows all that its prompt states, else 0.
    followed: f64,
    clarity: f64,
}

struct SimulatedRater {
    id: RaterId,
    is_careless: bool,
}

impl SimulateCampaignCommand {
    pub(crate) fn run(self) -> Result<()> {
        ensure!((0.0..=1.0).contains(&self.noise), "--noise is {}: use 0 to 1", self.noise);
        ensure!(self.careless <= self.raters && self.raters > 0, "--careless is more than --raters");
        ensure!((1..=3650).contains(&self.days), "--days is {}: use 1 to 3650", self.days);
        ensure!(self.votes > 0, "--votes is 0: use 1 and more");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        runtime.block_on(async {
            let (store, _) = self.storage.open().await?;
            let outcome = self.simulate(&store, ambient::now()).await;
            store.close().await;
            outcome
        })
    }

    async fn simulate(&self, store: &Store, now: Timestamp) -> Result<()> {
        if store.list_campaigns(u32::MAX).await?.iter().any(|known| known.spec.name == self.name) {
            println!("there is a campaign {:?}: nothing to do", self.name);
            return Ok(());
        }
        let mut models: Vec<ModelId> = Vec::new();
        for name in &self.models {
            models.push(store.get_model_by_name(name).await?.with_context(|| format!("no model {name}"))?.id);
        }
        let (seen, gold) = scores(store, &models).await?;
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        let began = now - Duration::from_secs(u64::from(self.days) * 86_400);
        let campaign = Campaign {
            id: CampaignId::new(began, rng.random()),
            spec: self.spec(&clearest_pairs(&gold, 24))?,
            state: CampaignState::Open,
            created_at: began,
            closed_at: None,
        };
        // Not from the seed: who knows the seed must not know the key.
        let owner_key = format!("{:032x}", u128::from_be_bytes(ambient::entropy()));
        let hash = files::sha256::of_bytes(owner_key.as_bytes());
        store.insert_campaign(&campaign, &models, &hash).await?;
        let raters = self.make_raters(store, &campaign, began, &mut rng).await?;
        let mut judging =
            Judging { store, campaign: &campaign, models: &models, seen: &seen, noise: self.noise };
        let mut cast = 0;
        for (start, rater) in self.sittings(&raters, began, &mut rng) {
            let wanted = SITTING.min(self.votes - cast);
            cast += judging.sitting(rater, start, wanted, &mut rng).await?;
            if cast == self.votes {
                break;
            }
        }
        store.set_campaign_state(campaign.id, CampaignState::Closed, now).await?;
        println!("{}: {cast} votes of {} simulated raters over {} days", self.name, raters.len(), self.days);
        println!("the owner's page: {}?key={owner_key}", domain::api::campaign_page(campaign.id));
        Ok(())
    }

    fn spec(&self, gold: &[domain::campaign::GoldPair]) -> Result<CampaignSpec> {
        let checks = if gold.is_empty() { 0 } else { 10 };
        let spec: CampaignSpec = serde_json::from_value(serde_json::json!({
            "name": self.name,
            "models": self.models,
            "raters_per_item": 3,
            "session": SITTING,
            "reveal": "at_end",
            "instructions": format!(
                "Votes of simulated raters, not of people. They prefer the image that shows what the prompt states, then the clearer \
                 one; {:.0}% of their answers are drawn at random, and {} of {} raters answer nearly all pairs without a look.",
                100.0 * self.noise, self.careless, self.raters),
            "gold": gold,
            "gold_every": checks,
            "repeat_every": 15,
        }))?;
        spec.validate()?;
        Ok(spec)
    }

    async fn make_raters(
        &self,
        store: &Store,
        campaign: &Campaign,
        began: Timestamp,
        rng: &mut ChaCha12Rng,
    ) -> Result<Vec<SimulatedRater>> {
        let mut raters = Vec::new();
        for number in 0..self.raters {
            let id = RaterId::new(began, rng.random());
            store.ensure_rater(id, began).await?;
            let name = format!("simulated-{:02}", number + 1);
            store.agree(campaign.id, id, Some(&name), began).await?;
            raters.push(SimulatedRater { id, is_careless: number >= self.raters - self.careless });
        }
        Ok(raters)
    }

    /// When who sits down to judge, in order of time: enough sittings for all votes, spread evenly.
    fn sittings<'a>(
        &self,
        raters: &'a [SimulatedRater],
        began: Timestamp,
        rng: &mut ChaCha12Rng,
    ) -> Vec<(Timestamp, &'a SimulatedRater)> {
        let count = 2 * self.votes.div_ceil(SITTING) + raters.len();
        // The last sitting ends before now.
        let span = f64::from(self.days) * 86_400.0 - 3600.0;
        let needed = self.votes.div_ceil(SITTING).max(1) as f64;
        let mut sittings = Vec::new();
        for number in 0..count {
            let share = ((number as f64 + rng.random::<f64>()) / needed).min(1.0);
            let at = began + Duration::from_secs_f64(share * span);
            sittings.push((at, &raters[number % raters.len()]));
        }
        sittings.sort_by_key(|(at, _)| *at);
        sittings
    }
}

struct Judging<'a> {
    store: &'a Store,
    campaign: &'a Campaign,
    models: &'a [ModelId],
    seen: &'a HashMap<ImageId, Seen>,
    noise: f64,
}

impl Judging<'_> {
    /// Judges up to so many pairs from a time on. Returns the number of votes; checks are none.
    async fn sitting(
        &mut self,
        rater: &SimulatedRater,
        start: Timestamp,
        wanted: usize,
        rng: &mut ChaCha12Rng,
    ) -> Result<usize> {
        let (mut at, mut cast) = (start, 0);
        while cast < wanted {
            let items = self.store.desk_items(self.campaign, self.models, rater.id, 1, at, rng).await?;
            let Some(item) = items.into_iter().next() else { break };
            let seconds = if rater.is_careless { 0.8 } else { 3.0 } * (1.0 + 2.0 * rng.random::<f64>());
            at += Duration::from_secs_f64(seconds);
            let choice = self.choice(rater, &item, rng)?;
            if item.kind == ItemKind::Check {
                self.store.answer_check(item.id, rater.id, Some(choice), at).await?;
                continue;
            }
            let id = VoteId::new(at, rng.random());
            let vote = Vote { id, matchup_id: item.id, rater_id: rater.id, choice, created_at: at };
            self.store.cast_vote(&vote).await?;
            cast += 1;
        }
        Ok(cast)
    }

    fn choice(&self, rater: &SimulatedRater, item: &DeskItem, rng: &mut ChaCha12Rng) -> Result<Choice> {
        let unseen = if rater.is_careless { UNSEEN } else { self.noise };
        if rng.random::<f64>() < unseen {
            return Choice::ALL.choose(rng).copied().context("there are choices");
        }
        // An image of a prompt that the rules do not know shows nothing of it.
        let seen =
            |image: ImageId| self.seen.get(&image).copied().unwrap_or(Seen { followed: 0.0, clarity: 0.0 });
        Ok(by_rule(seen(item.left), seen(item.right)))
    }
}

/// What the rule prefers: the image that shows what the prompt states; of two that do, or do not, the clearer one.
fn by_rule(left: Seen, right: Seen) -> Choice {
    let difference = if left.followed == right.followed {
        let clarity = left.clarity - right.clarity;
        if clarity.abs() < CLEARER { 0.0 } else { clarity }
    } else {
        left.followed - right.followed
    };
    match difference {
        d if d > 0.0 => Choice::Left,
        d if d < 0.0 => Choice::Right,
        _ if left.followed == 0.0 => Choice::BothBad,
        _ => Choice::Tie,
    }
}

/// What the rules say of the models' evaluation images, and those images for gold pairs.
async fn scores(store: &Store, models: &[ModelId]) -> Result<(HashMap<ImageId, Seen>, Vec<ScoredImage>)> {
    let (mut seen, mut gold) = (HashMap::new(), Vec::new());
    for &model in models {
        let clarity = store.scored_evaluations(model, Metric::Clarity).await?.into_iter();
        let clarity: HashMap<ImageId, f64> = clarity.map(|scored| (scored.image, scored.value)).collect();
        for scored in store.scored_evaluations(model, Metric::PromptFollowed).await? {
            let clarity = clarity.get(&scored.image).copied().unwrap_or(0.0);
            seen.insert(scored.image, Seen { followed: scored.value, clarity });
            gold.push(ScoredImage { params: scored.params, image: scored.image, score: scored.value });
        }
    }
    if seen.is_empty() {
        bail!("the models have no evaluation images of the bundled world's prompts: run an evaluation first");
    }
    Ok((seen, gold))
}

#[cfg(test)]
mod tests {
    use super::{Seen, by_rule};
    use domain::preference::Choice;

    #[test]
    fn the_prompt_counts_before_clarity() {
        let image = |followed, clarity| Seen { followed, clarity };
        assert_eq!(by_rule(image(1.0, 0.1), image(0.0, 0.9)), Choice::Left);
        assert_eq!(by_rule(image(1.0, 0.1), image(1.0, 0.9)), Choice::Right);
        assert_eq!(by_rule(image(1.0, 0.9), image(1.0, 0.9)), Choice::Tie);
        assert_eq!(by_rule(image(0.0, 0.9), image(0.0, 0.89)), Choice::BothBad);
    }
}
