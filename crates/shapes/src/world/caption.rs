//! The caption of a scene.

use super::scene::{Object, Scene};

/// The phrase with its indefinite article.
pub(crate) fn with_article(phrase: &str) -> String {
    let article = if phrase.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {phrase}")
}

impl Scene {
    /// The caption, in one of several wordings; the scene determines which.
    #[must_use]
    pub fn caption(&self) -> String {
        let ground = with_article(self.background.name());
        let plain = |object: &Object| with_article(&format!("{} {}", object.colour, object.shape));
        // Captions of several objects name the background in 7 of 10 scenes.
        let tail = if self.wording < 0.7 { format!(" on {ground} background") } else { String::new() };
        match (self.objects.as_slice(), self.relation) {
            ([object], _) => self.caption_single(object, &ground),
            ([first, second], Some(relation)) => {
                format!("{} {relation} {}{tail}", plain(first), plain(second))
            }
            ([first, middle @ .., last], _) => {
                let listed: Vec<String> = std::iter::once(first).chain(middle).map(plain).collect();
                format!("{} and {}{tail}", listed.join(", "), plain(last))
            }
            ([], _) => format!("{ground} background"),
        }
    }

    fn caption_single(&self, object: &Object, ground: &str) -> String {
        let plain = with_article(&format!("{} {}", object.colour, object.shape));
        let full = match object.size {
            Some(size) => with_article(&format!("{size} {} {}", object.colour, object.shape)),
            None => plain.clone(),
        };
        match (self.wording * 8.0) as usize {
            0..=2 => format!("{full} on {ground} background"),
            3 => format!("{full} on {}", self.background),
            4 => format!("{plain} on {ground} background"),
            5 => plain,
            6 => format!("a picture of {full} on {ground} background"),
            _ => format!("{ground} background with {full}"),
        }
    }
}
