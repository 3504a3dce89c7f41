//! Answers that the server has not confirmed yet. They are kept in the browser's storage, one entry per matchup, so that they
//! survive a reload and a lost connection; the id of the matchup makes a repetition harmless.

use domain::api::BlindMatchup;
use domain::id::{CampaignId, MatchupId};
use domain::preference::Choice;
use leptos::prelude::window;
use leptos::web_sys::Storage;
use serde::{Deserialize, Serialize};

/// What the names of entries begin with.
const PREFIX: &str = "answer-";

/// An answer that is to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unsent {
    /// The matchup, to show it again if the answer is taken back before it is sent.
    pub(crate) matchup: BlindMatchup,
    /// The choice about a pair.
    pub(crate) choice: Option<Choice>,
    /// The order of the images of a set, by their numbers from 1. With no choice and no order it is a skip.
    #[serde(default)]
    pub(crate) order: Vec<u8>,
    /// The models of the desk.
    pub(crate) models: Vec<String>,
    /// The campaign of the desk.
    #[serde(default)]
    pub(crate) campaign: Option<CampaignId>,
}

impl Unsent {
    /// Whether it is an answer, and not a skip.
    pub(crate) fn is_answer(&self) -> bool {
        self.choice.is_some() || !self.order.is_empty()
    }
}

/// None where storage is not available, as in some private windows: answers are then lost with the page.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

/// Keeps an answer until it is confirmed.
pub(crate) fn keep(unsent: &Unsent) {
    if let (Some(storage), Ok(text)) = (storage(), serde_json::to_string(unsent)) {
        // Full storage: the answer is still sent from memory.
        drop(storage.set_item(&format!("{PREFIX}{}", unsent.matchup.id), &text));
    }
}

/// Forgets a confirmed answer, or one that was taken back.
pub(crate) fn forget(matchup: MatchupId) {
    if let Some(storage) = storage() {
        drop(storage.remove_item(&format!("{PREFIX}{matchup}")));
    }
}

/// The answers that an earlier page, or another tab, has not seen confirmed. Entries of another version are removed.
pub(crate) fn kept() -> Vec<Unsent> {
    let Some(storage) = storage() else { return Vec::new() };
    let names = (0..storage.length().unwrap_or(0)).filter_map(|index| storage.key(index).ok().flatten());
    let names: Vec<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    let read = |name: String| {
        let text = storage.get_item(&name).ok().flatten()?;
        match serde_json::from_str(&text) {
            Ok(unsent) => Some(unsent),
            Err(_) => {
                drop(storage.remove_item(&name));
                None
            }
        }
    };
    names.into_iter().filter_map(read).collect()
}
