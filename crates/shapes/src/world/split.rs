//! The split of attribute combinations into those for training and those held out.

use sha2::{Digest, Sha256};

use super::name::{Background, Colour, Shape};

/// A part of the world, by the combinations that its scenes show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// No object is a held-out combination with its background.
    Train,
    /// The first object of every scene is a held-out combination with its background.
    HeldOut,
}

/// Whether an object of this colour may lie on this background: any background but the one of the same name.
#[must_use]
pub fn allowed(colour: Colour, background: Background) -> bool {
    colour.name() != background.name()
}

/// Whether this combination is held out of training: about 15% are, selected by SHA-256 and not by hand.
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
    fn about_fifteen_percent_are_held_out_and_training_shows_every_shape_in_every_colour() {
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
