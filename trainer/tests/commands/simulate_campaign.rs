//! `simulate-campaign`: votes by the stated rule, spread over days, the same for the same seed.

use crate::model::bundled;
use domain::campaign::CampaignState;
use domain::evaluate::Metric;
use domain::id::{ImageId, ModelId};
use domain::image::{GenerationParams, Image, Purpose, Sampler};
use domain::preference::{Choice, Question};
use process::ambient::{entropy, now};
use std::path::Path;
use std::process::Command;
use store::{ImageScore, Store};

/// A database with two models, of which the first draws what the prompt states more often.
async fn database(folder: &Path) -> Store {
    let store = Store::connect(&url(folder)).await.expect("a store");
    for (name, misses) in [("good", 5), ("bad", 2)] {
        let model = bundled(name);
        store.insert_model(&model, None).await.expect("a model");
        for prompt in 0..20 {
            let image = image(model.id, prompt);
            store.insert_images(std::slice::from_ref(&image), None).await.expect("an image");
            let followed = if prompt % misses == 0 { 0.0 } else { 1.0 };
            let scores = [(Metric::PromptFollowed, followed), (Metric::Clarity, 0.5)]
                .map(|(metric, value)| ImageScore { image_id: image.id, metric, value });
            store.put_scores(&scores, None).await.expect("scores");
        }
    }
    store
}

fn url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("test.db").display())
}

fn image(model: ModelId, prompt: u64) -> Image {
    let params = GenerationParams {
        prompt: format!("prompt {prompt}"),
        negative_prompt: String::new(),
        seed: 1,
        steps: 1,
        guidance_scale: 1.0,
        width: 64,
        height: 64,
        sampler: Sampler::Ddim,
        lora: Vec::new(),
    };
    let id = ImageId::new(now(), entropy());
    let artifact = format!("images/{id}.png");
    Image {
        id,
        model_id: Some(model),
        run_id: None,
        step: None,
        purpose: Purpose::Evaluation,
        params,
        artifact,
        created_at: now(),
    }
}

fn simulate(folder: &Path) -> String {
    let mut trainer = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    trainer
        .args(["simulate-campaign", "--model", "good", "--model", "bad", "--name", "simulated"])
        .args(["--votes", "50", "--raters", "5", "--careless", "1", "--days", "10"])
        .env("DATABASE_URL", url(folder))
        .env("ARTIFACTS", folder.join("artifacts"));
    let output = trainer.output().expect("the trainer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn simulated_raters_vote_by_the_rule_and_the_same_each_time() {
    let mut choices: Vec<Vec<Choice>> = Vec::new();
    for _ in 0..2 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = database(folder.path()).await;
        let said = simulate(folder.path());
        assert!(said.contains("50 votes of 5 simulated raters over 10 days"), "{said}");
        assert!(simulate(folder.path()).contains("nothing to do"));
        let campaign = store.list_campaigns(10).await.expect("campaigns").remove(0);
        assert_eq!(campaign.state, CampaignState::Closed);
        assert!(campaign.spec.instructions.contains("simulated raters, not of people"));
        let votes = store.list_votes(100).await.expect("votes");
        assert_eq!(votes.len(), 50);
        let days = (votes[0].created_at - votes[49].created_at).num_days();
        assert!((6..=10).contains(&days), "{days} days");
        let tally = store.tallies(Question::Overall).await.expect("tallies").remove(0);
        let good = store.get_model_by_name("good").await.expect("a query").expect("a model").id;
        let (wins, losses) =
            if tally.a == good.into() { (tally.wins_a, tally.wins_b) } else { (tally.wins_b, tally.wins_a) };
        assert!(wins > losses, "{wins} wins, {losses} losses");
        let raters = store.campaign_raters(campaign.id).await.expect("raters");
        assert_eq!(raters.len(), 5);
        assert!(
            raters
                .iter()
                .all(|rater| rater.external_id.as_deref().is_some_and(|name| name.starts_with("simulated-")))
        );
        assert!(raters.iter().any(|rater| rater.checks.gold_answered > 0), "{raters:?}");
        choices.push(votes.iter().map(|vote| vote.choice).collect());
        store.close().await;
    }
    assert_eq!(choices[0], choices[1]);
}
