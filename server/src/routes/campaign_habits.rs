//! How a rater of a campaign answers.

use domain::api::CampaignRater;
use domain::id::RaterId;
use domain::pace::median_seconds;
use domain::preference::Choice;
use store::CampaignAnswer;

/// Adds to a rater's counts which side the rater chose how often, and how fast the rater answers.
pub(crate) fn add_habits(person: &mut CampaignRater, rater: RaterId, answers: &[CampaignAnswer]) {
    let own = || answers.iter().filter(|answer| answer.rater == rater);
    let said = |choice| {
        u32::try_from(own().filter(|answer| answer.choice == Some(choice)).count()).unwrap_or(u32::MAX)
    };
    (person.left, person.right) = (said(Choice::Left), said(Choice::Right));
    let times: Vec<_> = own().map(|answer| answer.at).collect();
    person.seconds = median_seconds(&times);
}
