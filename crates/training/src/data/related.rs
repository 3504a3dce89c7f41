//! Micro-batches of related prompts.

use std::collections::HashMap;

/// Examples among which those related to one are sought. It bounds the work per micro-batch for large sets.
const WINDOW: usize = 2048;

/// The different words of prompts, as sorted numbers.
#[derive(Debug)]
pub(super) struct PromptWords(Vec<Vec<u32>>);

impl PromptWords {
    /// The words of each prompt: runs of letters and digits, in lower case.
    pub(super) fn of(prompts: &[String]) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let words = prompts.iter().map(|prompt| {
            let lower = prompt.to_lowercase();
            let mut words = Vec::new();
            for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                let next = numbers.len() as u32;
                words.push(*numbers.entry(word.to_owned()).or_insert(next));
            }
            words.sort_unstable();
            words.dedup();
            words
        });
        Self(words.collect())
    }

    /// Reorders `order`, numbers of prompts, so that each `m` consecutive ones are related: the first that is left, and the
    /// m - 1 with the largest share of common words (Jaccard index) among the next [`WINDOW`]; of equals, the first.
    pub(super) fn group(&self, order: Vec<usize>, m: usize) -> Vec<usize> {
        let mut grouped = Vec::with_capacity(order.len());
        let mut rest = order.into_iter();
        let mut window: Vec<usize> = rest.by_ref().take(WINDOW).collect();
        while !window.is_empty() {
            let first = window.remove(0);
            let mut ranked: Vec<(usize, f64)> = window
                .iter()
                .enumerate()
                .map(|(place, &other)| (place, share(&self.0[first], &self.0[other])))
                .collect();
            ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            let mut places: Vec<usize> = ranked.iter().take(m - 1).map(|(place, _)| *place).collect();
            places.sort_unstable();
            grouped.push(first);
            grouped.extend(places.iter().map(|&place| window[place]));
            for place in places.into_iter().rev() {
                window.remove(place);
            }
            window.extend(rest.by_ref().take(m));
        }
        grouped
    }
}

/// The Jaccard index of two sorted lists: common numbers over all numbers; 1 for two empty lists.
fn share(one: &[u32], other: &[u32]) -> f64 {
    let common = one.iter().filter(|word| other.binary_search(word).is_ok()).count();
    let all = one.len() + other.len() - common;
    if all == 0 { 1.0 } else { common as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::PromptWords;

    #[test]
    fn equal_and_similar_prompts_share_a_micro_batch() {
        let prompts =
            ["a red circle", "blue square", "A red circle!", "small blue square", "cat", "a red cat"];
        let words = PromptWords::of(&prompts.map(str::to_owned));
        let grouped = words.group(vec![0, 1, 2, 3, 4, 5], 2);
        assert_eq!(grouped, [0, 2, 1, 3, 4, 5]);
        let threes = words.group(vec![5, 4, 3, 2, 1, 0], 3);
        assert_eq!(threes, [5, 2, 0, 4, 3, 1], "a red cat with both red circles");
    }

    #[test]
    fn every_example_is_dealt_once_beyond_the_window() {
        let prompts: Vec<String> = (0..5000).map(|i| format!("prompt {}", i % 700)).collect();
        let words = PromptWords::of(&prompts);
        let mut grouped = words.group((0..5000).collect(), 16);
        let alike = |batch: &[usize]| batch.iter().filter(|&&i| i % 700 == batch[0] % 700).count();
        assert!(alike(&grouped[..16]) >= 2, "{:?}", &grouped[..16]);
        grouped.sort_unstable();
        assert_eq!(grouped, (0..5000).collect::<Vec<_>>());
    }
}
