//! Pairs whose label the rule of the bundled world disputes.

use datasets::decode::decode;
use datasets::pair::PreferencePair;
use shapes::Image;
use shapes::judge::follows;
use shapes::world::Statement;
use store::Artifacts;

/// Whether the loser shows everything that the prompt states, and the winner does not. False for prompts and images that are not
/// of the bundled world, which the rule does not know. Images of votes are read from the artifacts, by their keys.
pub(crate) fn is_disputed(pair: &PreferencePair, votes: Option<&Artifacts>) -> bool {
    let (Some(statement), Some(loser)) = (Statement::parse(&pair.prompt), &pair.loser) else { return false };
    let shows = |bytes: &[u8]| {
        let image = match votes {
            Some(artifacts) => {
                let key = std::str::from_utf8(bytes).ok()?;
                decode(&std::fs::read(artifacts.path(key).ok()?).ok()?).ok()?
            }
            None => decode(bytes).ok()?,
        };
        Some(follows(&Image::from_pixels(image.into_raw())?, &statement))
    };
    shows(loser) == Some(true) && shows(&pair.winner) == Some(false)
}

#[cfg(test)]
mod tests {
    use super::is_disputed;
    use crate::dataset::generated;
    use shapes::set::Set;

    #[test]
    fn an_exchanged_pair_is_disputed_and_others_are_not() {
        let contradicting = (0..200)
            .map(|index| generated(Set::Quality, 0, index).expect("a pair"))
            .find(|pair| {
                let exchanged = datasets::pair::PreferencePair {
                    winner: pair.loser.clone().expect("a loser"),
                    loser: Some(pair.winner.clone()),
                    ..pair.clone()
                };
                is_disputed(&exchanged, None)
            })
            .expect("a loser that contradicts its caption");
        assert!(!is_disputed(&contradicting, None));
        let exchanged = datasets::pair::PreferencePair {
            winner: contradicting.loser.clone().expect("a loser"),
            loser: Some(contradicting.winner.clone()),
            prompt: "a photo of my cat".to_owned(),
            ..contradicting
        };
        assert!(!is_disputed(&exchanged, None), "a prompt that the rule does not know");
    }
}
