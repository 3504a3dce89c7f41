//! Sets of three or four images at a desk: one press picks the best. Who ranks presses the others too, in their order.

use crate::components::desk::Desk;
use leptos::prelude::*;

impl Desk {
    /// Whether more than two images are shown.
    pub(crate) fn is_set(self) -> bool {
        self.images() > 2
    }

    fn images(self) -> u8 {
        self.current.read().matchup.as_ref().map_or(0, domain::api::BlindMatchup::images)
    }

    /// The rank that the rater has given an image of a set so far.
    pub(crate) fn rank_of(self, number: u8) -> Option<usize> {
        self.picked.read().iter().position(|picked| *picked == number).map(|place| place + 1)
    }

    /// Picks an image of a set: as the best, or for who ranks as the next one, and the answer is given when one image is left.
    /// A picked image is taken out again.
    pub(crate) fn pick(self, number: u8) {
        if !self.takes_answers() {
            return;
        }
        if !self.ranks.get_untracked() {
            self.settle(None, vec![number]);
            return;
        }
        let mut picked = self.picked.get_untracked();
        match picked.iter().position(|known| *known == number) {
            Some(place) => drop(picked.remove(place)),
            None => picked.push(number),
        }
        self.picked.set(picked.clone());
        if picked.len() + 1 == usize::from(untrack(|| self.images())) {
            self.settle(None, picked);
        }
    }

    /// Gives the ranks so far as the answer: the other images come after them, in no order.
    fn finish_ranking(self) {
        let picked = self.picked.get_untracked();
        if !picked.is_empty() {
            self.settle(None, picked);
        }
    }

    fn switch_ranking(self) {
        self.picked.set(Vec::new());
        self.ranks.update(|ranks| *ranks = !*ranks);
    }

    /// Whether the key is a shortcut for sets, and a set is shown; if so, its action is taken.
    pub(crate) fn handle_key_of_set(self, key: &str) -> bool {
        if !untrack(|| self.is_set()) {
            return false;
        }
        match key {
            "1" | "2" | "3" | "4" => {
                let number = key.parse().unwrap_or(0);
                if number <= untrack(|| self.images()) {
                    self.pick(number);
                }
            }
            "r" | "R" => self.switch_ranking(),
            "Enter" if !self.picked.read_untracked().is_empty() => self.finish_ranking(),
            "Escape" if !self.picked.read_untracked().is_empty() => self.picked.set(Vec::new()),
            // Two images by turns.
            "f" | "F" => {}
            _ => return false,
        }
        true
    }
}

/// What there is to press beside the images of a set.
#[component]
pub(crate) fn SetAnswers(desk: Desk) -> impl IntoView {
    let hint = move || {
        if desk.ranks.get() {
            "Press the images in their order, the best first."
        } else {
            "Press the best image, or its number."
        }
    };
    view! {
        <div class="answers of-set">
            <p class="soft">{hint}</p>
            <button
                type="button" aria-pressed=move || if desk.ranks.get() { "true" } else { "false" }
                on:click=move |_| desk.switch_ranking()
            >
                <span>"Rank all"</span>
                <kbd>"R"</kbd>
            </button>
            <button
                type="button" disabled=move || desk.picked.read().is_empty() on:click=move |_| desk.finish_ranking()
            >
                <span>"Done"</span>
                <kbd>"Enter"</kbd>
            </button>
            <button type="submit" name="choice" value="skip" on:click=move |_| desk.answer(None)>
                <span>"Skip"</span>
                <kbd>"N"</kbd>
            </button>
        </div>
    }
}
