//! Scores of images, and their means.

use crate::fixture::{Fixture, on_both_databases};
use domain::evaluate::Metric;
use domain::id::ImageId;
use domain::image::Purpose;
use store::{ImageScore, StoreError};

on_both_databases!(
    means_are_over_evaluation_images_for_each_model_and_metric,
    a_score_that_exists_is_kept,
    an_invalid_score_is_refused,
    scores_are_paired_on_images_of_equal_parameters,
);

fn score(image_id: ImageId, metric: Metric, value: f64) -> ImageScore {
    ImageScore { image_id, metric, value }
}

async fn means_are_over_evaluation_images_for_each_model_and_metric(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let mut scores = Vec::new();
    for (n, value) in [0.2, 0.3, 0.7].into_iter().enumerate() {
        let image = fixture.evaluation_image(&a, &format!("prompt {n}")).await;
        scores.push(score(image.id, Metric::ClipScore, value));
        scores.push(score(image.id, Metric::ShapeAndColour, 1.0));
    }
    scores.push(score(fixture.evaluation_image(&b, "p").await.id, Metric::ClipScore, 0.9));
    let generated = fixture.new_image(Purpose::Generation, Some(a.id), "p");
    fixture.store.insert_images(std::slice::from_ref(&generated), None).await.unwrap();
    scores.push(score(generated.id, Metric::ClipScore, 100.0));
    fixture.store.put_scores(&scores, None).await.unwrap();

    let of_a = fixture.store.model_scores(a.id).await.unwrap();
    assert_eq!(
        of_a.iter().map(|s| (s.metric, s.count)).collect::<Vec<_>>(),
        [(Metric::ClipScore, 3), (Metric::ShapeAndColour, 3)]
    );
    // Mean 0.4, deviations -0.2, -0.1, 0.3: variance 0.14 / 2, standard error sqrt(0.07 / 3).
    assert!((of_a[0].mean - 0.4).abs() < 1e-12, "{of_a:?}");
    assert!((of_a[0].half_width - 1.96 * (0.07_f64 / 3.0).sqrt()).abs() < 1e-12, "{of_a:?}");
    assert_eq!((of_a[1].mean, of_a[1].half_width), (1.0, 0.0));
    let all = fixture.store.all_model_scores().await.unwrap();
    assert_eq!(all.len(), 2);
    // The database may sum in another order, so the last bit can differ.
    for (x, y) in all[&a.id].iter().zip(&of_a) {
        assert_eq!((x.metric, x.count), (y.metric, y.count));
        assert!(
            (x.mean - y.mean).abs() < 1e-12 && (x.half_width - y.half_width).abs() < 1e-12,
            "{x:?} {y:?}"
        );
    }
    assert_eq!(all[&a.id].len(), of_a.len());
    assert_eq!((all[&b.id][0].mean, all[&b.id][0].half_width, all[&b.id][0].count), (0.9, 0.0, 1));
    let unscored = fixture.model("c").await;
    assert_eq!(fixture.store.model_scores(unscored.id).await.unwrap(), []);
}

async fn a_score_that_exists_is_kept(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let image = fixture.evaluation_image(&model, "p").await;
    for value in [0.1, 0.25] {
        fixture.store.put_scores(&[score(image.id, Metric::ClipScore, value)], None).await.unwrap();
    }
    let scores = fixture.store.model_scores(model.id).await.unwrap();
    assert_eq!((scores.len(), scores[0].mean, scores[0].count), (1, 0.1, 1));
}

async fn an_invalid_score_is_refused(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let image = fixture.evaluation_image(&model, "p").await;
    let good = score(image.id, Metric::ClipScore, 0.5);
    let invalid = score(image.id, Metric::ShapeAndColour, f64::NAN);
    let refused = fixture.store.put_scores(&[good, invalid], None).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    let unknown = score(ImageId::new(fixture.now, [0; 10]), Metric::ClipScore, 0.5);
    let refused = fixture.store.put_scores(&[good, unknown], None).await;
    assert!(matches!(refused, Err(StoreError::Missing("image"))), "{refused:?}");
    assert_eq!(fixture.store.model_scores(model.id).await.unwrap(), []);
}

async fn scores_are_paired_on_images_of_equal_parameters(mut fixture: Fixture) {
    let (tuned, base) = (fixture.model("tuned").await, fixture.model("base").await);
    let mut scores = Vec::new();
    // A win, a tie and a loss; a prompt that only one model drew; a metric that scored only one of two images.
    for (prompt, of_tuned, of_base) in [
        ("a", Some(0.9), Some(0.5)),
        ("b", Some(0.5), Some(0.5)),
        ("c", Some(0.1), Some(0.5)),
        ("d", Some(1.0), None),
    ] {
        for (model, value) in [(&tuned, of_tuned), (&base, of_base)] {
            if let Some(value) = value {
                let image = fixture.evaluation_image(model, prompt).await;
                scores.push(score(image.id, Metric::ClipScore, value));
                if model.id == tuned.id {
                    scores.push(score(image.id, Metric::ShapeAndColour, 1.0));
                }
            }
        }
    }
    fixture.store.put_scores(&scores, None).await.unwrap();
    let paired = fixture.store.paired_scores(tuned.id, base.id).await.unwrap();
    assert_eq!(paired.len(), 1);
    let only = paired[0];
    assert_eq!((only.metric, only.wins, only.losses, only.count), (Metric::ClipScore, 1, 1, 3));
    assert!((only.mean - 0.5).abs() < 1e-12 && (only.other_mean - 0.5).abs() < 1e-12, "{only:?}");
    let unscored = fixture.model("c").await;
    assert_eq!(fixture.store.paired_scores(unscored.id, base.id).await.unwrap(), []);
}
