//! What a caption states, read back from its words.

use super::name::{Background, Colour, Relation, Shape, Size};

/// What a caption of the world states. What it leaves open may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Shape and colour of each object, in the order of the caption.
    pub objects: Vec<(Shape, Colour)>,
    /// The size of a single object.
    pub size: Option<Size>,
    /// The position of the first of two objects relative to the second.
    pub relation: Option<Relation>,
    /// The colour of the background.
    pub background: Option<Background>,
}

/// Words of captions that state nothing by themselves.
const FILLING: [&str; 7] = ["a", "an", "and", "on", "with", "picture", "background"];

impl Statement {
    /// Reads a caption; `None` if it is not one of the world's: if a word is unknown, or no object is named.
    #[must_use]
    pub fn parse(caption: &str) -> Option<Self> {
        let text = caption.replace(',', " ").replace("picture of", "picture");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut statement = Self { objects: Vec::new(), size: None, relation: None, background: None };
        let mut rest = words.as_slice();
        while let Some((&word, after)) = rest.split_first() {
            rest = statement.read(word, after)?;
        }
        let is_complete = match statement.objects.len() {
            0 => false,
            1 => statement.relation.is_none(),
            _ => statement.size.is_none(),
        };
        is_complete.then_some(statement)
    }

    /// Reads what begins with `word`, and returns the words behind it.
    fn read<'a>(&mut self, word: &str, after: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let named = |index: usize| after.get(index).copied().unwrap_or_default();
        if let (Some(colour), Some(shape)) = (find(Colour::ALL, word), find(Shape::ALL, named(0))) {
            self.objects.push((shape, colour));
            return after.get(1..);
        }
        let ends = after.is_empty() || named(0) == "background";
        if let Some(background) = find(Background::ALL, word).filter(|_| ends && self.background.is_none()) {
            self.background = Some(background);
            return Some(after);
        }
        if let Some(size) = find(Size::ALL, word).filter(|_| self.size.is_none()) {
            self.size = Some(size);
            return Some(after);
        }
        for (phrase, length) in [(format!("{word} {}", named(0)), 1), (word.to_owned(), 0)] {
            if let Some(relation) = find(Relation::ALL, &phrase).filter(|_| self.objects.len() == 1) {
                self.relation = Some(relation);
                return after.get(length..);
            }
        }
        FILLING.contains(&word).then_some(after)
    }
}

/// The variant with this name.
fn find<T: Copy + std::fmt::Display>(all: &[T], name: &str) -> Option<T> {
    all.iter().copied().find(|variant| variant.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::Statement;
    use crate::world::{
        Background, Colour, Kind, Relation, Shape, Size, Split, held_out_prompts, pair_prompts, scene,
    };

    #[test]
    fn captions_are_read_back() {
        for seed in 0..600 {
            let scene = scene(seed, Split::Train, Kind::Mixed);
            let caption = scene.caption();
            let read = Statement::parse(&caption).expect(&caption);
            let looks: Vec<_> = scene.objects.iter().map(|object| (object.shape, object.colour)).collect();
            assert_eq!(read.objects, looks, "{caption}");
            assert_eq!(read.relation, scene.relation, "{caption}");
            assert_eq!(
                read.size,
                scene.objects[0].size.filter(|size| caption.contains(size.name())),
                "{caption}"
            );
            let named = caption.contains("background") || caption.ends_with(scene.background.name());
            assert_eq!(read.background, named.then_some(scene.background), "{caption}");
        }
    }

    #[test]
    fn prompts_of_evaluations_are_read() {
        for prompt in held_out_prompts(50, 1) {
            let read = Statement::parse(&prompt.caption).expect("a caption");
            assert_eq!((read.objects, read.size), (vec![(prompt.shape, prompt.colour)], Some(prompt.size)));
        }
        let pair = &pair_prompts(1, 1)[0];
        assert_eq!(Statement::parse(&pair.caption).expect("a caption").relation, Some(pair.relation));
        let read = Statement::parse("a white circle left of a small blue ring on a blue background");
        assert_eq!(read, None, "captions of two objects state no size");
        let read = Statement::parse("a small white ring on blue").expect("a caption");
        let expected = (vec![(Shape::Ring, Colour::White)], Some(Size::Small), Some(Background::Blue));
        assert_eq!((read.objects, read.size, read.background), expected);
        assert_eq!(Relation::ALL.len(), 4);
    }

    #[test]
    fn other_texts_are_no_captions() {
        for text in ["", "a cat", "a red background", "a red circle in the rain", "red", "a large"] {
            assert_eq!(Statement::parse(text), None, "{text}");
        }
    }
}
