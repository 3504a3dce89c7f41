//! The attributes of a scene (shape, colour, background, size, relation): the words of captions and what they look
//! like.

/// Defines an enum whose variants have the word that captions use.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $word] $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in captions.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }
    };
}

names! {
    /// The shape of an object.
    Shape {
        Circle = "circle", Square = "square", Triangle = "triangle", Diamond = "diamond",
        Star = "star", Heart = "heart", Cross = "cross", Ring = "ring",
    }
}

names! {
    /// The colour of an object.
    Colour {
        Red = "red", Orange = "orange", Yellow = "yellow", Green = "green", Blue = "blue",
        Purple = "purple", Pink = "pink", Brown = "brown", White = "white", Black = "black",
    }
}

names! {
    /// The colour of the background.
    Background {
        White = "white", Gray = "gray", Black = "black", Blue = "blue", Green = "green", Cream = "cream",
    }
}

names! {
    /// The size of an object that is alone in its scene.
    Size { Small = "small", Medium = "medium", Large = "large", }
}

names! {
    /// The position of the first of two objects relative to the second.
    Relation { LeftOf = "left of", RightOf = "right of", Above = "above", Below = "below", }
}

impl Colour {
    /// Red, green and blue on the scale 0 to 255: saturated, to differ from the pale background of the same name.
    pub(crate) const fn levels(self) -> [f32; 3] {
        match self {
            Self::Red => [220.0, 30.0, 35.0],
            Self::Orange => [255.0, 140.0, 0.0],
            Self::Yellow => [255.0, 225.0, 20.0],
            Self::Green => [25.0, 150.0, 50.0],
            Self::Blue => [30.0, 70.0, 220.0],
            Self::Purple => [130.0, 40.0, 170.0],
            Self::Pink => [255.0, 120.0, 190.0],
            Self::Brown => [125.0, 75.0, 35.0],
            Self::White => [252.0, 252.0, 252.0],
            Self::Black => [18.0, 18.0, 20.0],
        }
    }
}

impl Background {
    /// Red, green and blue on the scale 0 to 255: pale or gray, so that every object stands out.
    pub(crate) const fn levels(self) -> [f32; 3] {
        match self {
            Self::White => [240.0, 240.0, 238.0],
            Self::Gray => [150.0, 152.0, 156.0],
            Self::Black => [36.0, 36.0, 42.0],
            Self::Blue => [150.0, 195.0, 240.0],
            Self::Green => [165.0, 215.0, 150.0],
            Self::Cream => [245.0, 225.0, 175.0],
        }
    }
}

impl Size {
    /// Smallest and largest radius in pixels. Gaps between the sizes keep them distinguishable; small objects are large
    /// enough to keep their shape in latents of a quarter of the resolution.
    pub(crate) const fn radii(self) -> (f32, f32) {
        match self {
            Self::Small => (11.0, 12.0),
            Self::Medium => (15.0, 17.0),
            Self::Large => (20.0, 22.5),
        }
    }

    /// The size with this radius; the limits are the middles of the gaps.
    pub(crate) fn of_radius(radius: f32) -> Self {
        match radius {
            r if r < 13.5 => Self::Small,
            r if r < 18.5 => Self::Medium,
            _ => Self::Large,
        }
    }
}

impl Relation {
    /// The position of the second object relative to the first.
    pub(crate) const fn inverse(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }
}
