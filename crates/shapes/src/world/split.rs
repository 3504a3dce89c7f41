//! Which combinations of attributes a training set never shows.

use sha2::{Digest, Sha256};

use super::name::{Background, Colour, Shape};

/// A half of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Holds no held-out combination.
    Train,
    /// The (first) object of every image is a held-out combination with its background.
    HeldOut,
}

/// Whether an object of this colour can lie on this background: never on one of its own name.
#[must_use]
pub fn allowed(colour: Colour, background: Background) -> bool {
    colour.name() != background.name()
}

/// Whether training never shows this combination: 15% of them, by a hash instead of a table, so that nobody can choose.
#[must_use]
pub fn held_out(shape: Shape, colour: Colour, background: Background) -> bool {
    let digest = Sha256::digest(format!("{shape}/{colour}/{background}"));
    let draw = f32::from(u16::from_be_bytes([digest[0], digest[1]])) / 65536.0;
    draw < 0.15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_fifteen_percent_is_held_out_and_training_still_shows_every_pair_of_words() {
        let (mut held, mut all) = (0, 0);
        for &shape in Shape::ALL {
            for &colour in Colour::ALL {
                let grounds = Background::ALL.iter().filter(|&&ground| allowed(colour, ground));
                let shown = grounds.clone().filter(|&&ground| !held_out(shape, colour, ground)).count();
                assert!(shown > 0, "training never shows a {colour} {shape}");
                all += grounds.count();
                held += Background::ALL
                    .iter()
                    .filter(|&&g| allowed(colour, g) && held_out(shape, colour, g))
                    .count();
            }
        }
        let share = held as f32 / all as f32;
        assert_eq!(all, 448);
        assert!((0.12..0.18).contains(&share), "{held} of {all} are held out");
    }
}
