//! What raters said, checked and numbered.

use std::collections::HashMap;

/// Most images in one answer.
pub const MOST_SHOWN: usize = 4;

/// A rater's answer about images of one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Number of the rater.
    pub rater: usize,
    /// Number of the prompt.
    pub prompt: usize,
    /// Numbers of the models in the order in which their images were shown, the leftmost first: 2 to [`MOST_SHOWN`].
    pub shown: Vec<usize>,
    /// What the rater said.
    pub said: Said,
}

/// What a rater can say. Places are indices into [`Answer::shown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The image at this place is the best.
    Best(usize),
    /// Two images: neither is better.
    Neither,
    /// Every place, the best first.
    Ranking(Vec<usize>),
}

/// Why an answer cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Fewer than 2 images, or more than [`MOST_SHOWN`].
    Shown,
    /// A model was shown twice: such an answer says nothing about models.
    Repeated,
    /// A model's number is not below the number of models.
    Model,
    /// A place that was not shown, or a ranking that does not hold every place once.
    Place,
    /// "Neither" about more than two images, for which there is no model.
    Neither,
}

/// An answer as the likelihood reads it.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) rater: usize,
    pub(crate) prompt: usize,
    /// Number of the pair of rater and prompt.
    pub(crate) cell: usize,
    pub(crate) count: usize,
    pub(crate) shown: [usize; MOST_SHOWN],
    /// Places in the order of choice; only `chosen` of them were chosen. None chosen: neither.
    pub(crate) order: [usize; MOST_SHOWN],
    pub(crate) chosen: usize,
}

/// Answers about a fixed number of models.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub(crate) models: usize,
    pub(crate) list: Vec<Counted>,
    pub(crate) by_rater: Vec<Vec<usize>>,
    /// Per rater: right and wrong answers about gold pairs, and repeated pairs answered alike and otherwise.
    pub(crate) checks: Vec<[u32; 4]>,
    pub(crate) prompts: usize,
    pub(crate) cells: HashMap<(usize, usize), usize>,
}

impl Answers {
    /// No answers yet about `models` models.
    #[must_use]
    pub fn new(models: usize) -> Self {
        Self { models, ..Self::default() }
    }

    /// Number of models.
    #[must_use]
    pub fn models(&self) -> usize {
        self.models
    }

    /// Number of answers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One more than the largest number of a rater.
    #[must_use]
    pub fn raters(&self) -> usize {
        self.by_rater.len()
    }

    /// Number of answers of a rater.
    #[must_use]
    pub fn of_rater(&self, rater: usize) -> usize {
        self.by_rater.get(rater).map_or(0, Vec::len)
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// Says why the answer cannot be counted; nothing is added then.
    pub fn push(&mut self, answer: &Answer) -> Result<(), Refused> {
        let count = answer.shown.len();
        if !(2..=MOST_SHOWN).contains(&count) {
            return Err(Refused::Shown);
        }
        let mut shown = [0; MOST_SHOWN];
        for (place, &model) in answer.shown.iter().enumerate() {
            if model >= self.models {
                return Err(Refused::Model);
            }
            if answer.shown[..place].contains(&model) {
                return Err(Refused::Repeated);
            }
            shown[place] = model;
        }
        let (order, chosen) = order(&answer.said, count)?;
        let cells = self.cells.len();
        let cell = *self.cells.entry((answer.rater, answer.prompt)).or_insert(cells);
        self.make_room(answer.rater);
        self.by_rater[answer.rater].push(self.list.len());
        self.prompts = self.prompts.max(answer.prompt + 1);
        let (rater, prompt) = (answer.rater, answer.prompt);
        self.list.push(Counted { rater, prompt, cell, count, shown, order, chosen });
        Ok(())
    }

    /// Adds an answer about a gold pair, of which the better image is known. It says something about the rater only.
    pub fn push_gold(&mut self, rater: usize, is_right: bool) {
        self.make_room(rater);
        self.checks[rater][usize::from(!is_right)] += 1;
    }

    /// Adds an answer about a pair that the rater has judged before, with its sides exchanged. It says something about the rater
    /// only.
    pub fn push_repeat(&mut self, rater: usize, is_same: bool) {
        self.make_room(rater);
        self.checks[rater][2 + usize::from(!is_same)] += 1;
    }

    /// Answers about gold and repeated pairs by a rater: those as expected, and all.
    #[must_use]
    pub fn checks_of(&self, rater: usize) -> [u32; 2] {
        let [right, wrong, same, other] = self.checks.get(rater).copied().unwrap_or_default();
        [right + same, right + wrong + same + other]
    }

    /// The same answers without those about gold and repeated pairs.
    #[must_use]
    pub fn without_checks(&self) -> Self {
        let mut kept = self.clone();
        kept.checks.iter_mut().for_each(|checks| *checks = [0; 4]);
        kept
    }

    fn make_room(&mut self, rater: usize) {
        if self.by_rater.len() <= rater {
            self.by_rater.resize(rater + 1, Vec::new());
            self.checks.resize(rater + 1, [0; 4]);
        }
    }

    /// The answers of which `keep` holds, by their number in the order in which they were added. Numbers of raters and
    /// prompts stay.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut kept = Self::new(self.models);
        kept.by_rater = vec![Vec::new(); self.by_rater.len()];
        kept.checks.clone_from(&self.checks);
        kept.prompts = self.prompts;
        let indices = (0..self.list.len()).filter(|index| keep(*index));
        for answer in indices.map(|index| &self.list[index]) {
            let cells = kept.cells.len();
            let cell = *kept.cells.entry((answer.rater, answer.prompt)).or_insert(cells);
            kept.by_rater[answer.rater].push(kept.list.len());
            kept.list.push(Counted { cell, ..answer.clone() });
        }
        kept
    }

    /// The answers about prompts of which `keep` holds, such as those of one category.
    #[must_use]
    pub fn of_prompts(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        self.filtered(|index| keep(self.list[index].prompt))
    }
}

/// The places in the order of choice, and how many of them were chosen.
fn order(said: &Said, count: usize) -> Result<([usize; MOST_SHOWN], usize), Refused> {
    let mut order = [0, 1, 2, 3];
    match said {
        Said::Neither if count == 2 => Ok((order, 0)),
        Said::Neither => Err(Refused::Neither),
        Said::Best(place) if *place < count => {
            order.swap(0, *place);
            Ok((order, 1))
        }
        Said::Best(_) => Err(Refused::Place),
        Said::Ranking(places) => {
            let holds_all = (0..count).all(|place| places.contains(&place));
            if places.len() != count || !holds_all {
                return Err(Refused::Place);
            }
            order[..count].copy_from_slice(places);
            Ok((order, count - 1))
        }
    }
}
