//! Contestants: what matchups compare, votes count for, and leaderboards rank.

use crate::id::{ContestantId, ModelId};
use crate::lora::LoraUse;
use std::collections::HashSet;

/// Hexadecimal digits of an adapter's SHA-256 in a name that would otherwise be that of another contestant.
const DIGITS: usize = 8;

/// A model, or a model with the LoRA adapters that its images are drawn with.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// Its id: the model's, unless it has adapters.
    pub id: ContestantId,
    /// Its unique name: the model's, followed by the adapters, as in `shapes + winter:0.8`.
    pub name: String,
    /// The model.
    pub model_id: ModelId,
    /// The objective that the model was trained with; none with adapters, which were trained with others.
    pub objective: Option<String>,
    /// The adapters that change an image, in the order in which they are fused.
    pub lora: Vec<LoraUse>,
}

/// The adapters that change an image: those of scale 0 do not.
#[must_use]
pub fn effective_adapters(lora: &[LoraUse]) -> Vec<LoraUse> {
    lora.iter().filter(|used| used.scale != 0.0).cloned().collect()
}

/// The name of a model with adapters, which is added to `taken`. An adapter has its scale behind a colon, unless it is 1.
/// Where the name is taken, by adapters of the same names with other weights or settings, the beginning of each one's
/// SHA-256 is added.
#[must_use]
pub fn unique_name(model: &str, lora: &[LoraUse], taken: &mut HashSet<String>) -> String {
    let name = |with_hash: bool| {
        let adapters = lora.iter().map(|LoraUse { model, scale, sha256 }| {
            let hash = sha256.as_deref().filter(|_| with_hash).unwrap_or_default();
            let hash = hash.get(..DIGITS).map(|digits| format!("@{digits}")).unwrap_or_default();
            let scale = if *scale == 1.0 { String::new() } else { format!(":{scale}") };
            format!(" + {model}{hash}{scale}")
        });
        std::iter::once(model.to_owned()).chain(adapters).collect::<String>()
    };
    let candidates = [name(false), name(true)].into_iter();
    let numbered = (2_u32..).map(|number| format!("{} ({number})", name(true)));
    let free = candidates.chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::{effective_adapters, unique_name};
    use crate::lora::LoraUse;
    use std::collections::HashSet;

    fn used(model: &str, scale: f64, digit: &str) -> LoraUse {
        LoraUse { model: model.to_owned(), scale, sha256: Some(digit.repeat(64)) }
    }

    #[test]
    fn a_name_tells_the_adapters_and_their_scales_and_is_unique() {
        let mut taken = HashSet::new();
        let mut name = |lora: &[LoraUse]| unique_name("shapes", lora, &mut taken);
        assert_eq!(name(&[used("snow", 1.0, "a")]), "shapes + snow");
        assert_eq!(name(&[used("snow", 0.8, "a"), used("star", -2.0, "b")]), "shapes + snow:0.8 + star:-2");
        // Other weights or settings under the same name.
        assert_eq!(name(&[used("snow", 1.0, "c")]), "shapes + snow@cccccccc");
        // Adapters of which no hash was stored.
        let unhashed = LoraUse { sha256: None, ..used("snow", 1.0, "a") };
        assert_eq!(name(std::slice::from_ref(&unhashed)), "shapes + snow (2)");
        assert_eq!(name(&[unhashed]), "shapes + snow (3)");
    }

    #[test]
    fn an_adapter_of_scale_0_changes_nothing() {
        let lora = [used("snow", 0.0, "a"), used("star", 0.5, "b"), used("rain", -0.0, "c")];
        assert_eq!(effective_adapters(&lora), [used("star", 0.5, "b")]);
    }
}
