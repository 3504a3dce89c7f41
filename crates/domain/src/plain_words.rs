//! Messages of parsers in words of the files that they are about, without names of Rust types.

/// What parsers call a type, and what a person calls it. Those with a name behind them come first.
const WITH_NAME: [(&str, &str); 6] = [
    ("internally tagged enum ", "a table"),
    ("adjacently tagged enum ", "a table"),
    ("struct variant ", "a table"),
    ("tuple struct ", "a list"),
    ("struct ", "a table"),
    ("enum ", "a name or a table"),
];
const ALONE: [(&str, &str); 16] = [
    ("u8", "a whole number from 0 on"),
    ("u16", "a whole number from 0 on"),
    ("u32", "a whole number from 0 on"),
    ("u64", "a whole number from 0 on"),
    ("usize", "a whole number from 0 on"),
    ("i8", "a whole number"),
    ("i16", "a whole number"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("map", "a table"),
    ("a boolean", "true or false"),
    ("variant identifier", "a name"),
];

/// A parser's message in which `expected u32`, `expected struct TrainSpec` and the like are said in plain words.
#[must_use]
pub fn in_plain_words(message: &str) -> String {
    let mut plain = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find("expected ") {
        let (before, after) = rest.split_at(at + "expected ".len());
        plain.push_str(before);
        rest = after;
        let of = |(word, said): &(&str, &'static str)| {
            let behind = rest.strip_prefix(word)?;
            Some((*said, behind))
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '<' | '>');
        if let Some((said, behind)) = WITH_NAME.iter().find_map(of) {
            plain.push_str(said);
            rest = behind.trim_start_matches(is_name);
        } else if let Some((said, behind)) =
            ALONE.iter().filter_map(of).find(|(_, behind)| !behind.starts_with(is_name))
        {
            plain.push_str(said);
            rest = behind;
        }
    }
    plain.push_str(rest);
    match plain.split_once("data did not match any variant of untagged enum ") {
        Some((before, behind)) => {
            let behind = behind.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            format!("{before}the value has none of the accepted forms{behind}")
        }
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::in_plain_words;

    #[test]
    fn names_of_types_become_words() {
        for (message, plain) in [
            (
                "invalid type: string \"x\", expected u32",
                "invalid type: string \"x\", expected a whole number from 0 on",
            ),
            (
                "invalid value: integer `-1`, expected u64\nat line 3",
                "invalid value: integer `-1`, expected a whole number from 0 on\nat line 3",
            ),
            (
                "invalid type: integer `1`, expected internally tagged enum DataSpec",
                "invalid type: integer `1`, expected a table",
            ),
            (
                "invalid type: integer `1`, expected struct LearningRateSpec in x",
                "invalid type: integer `1`, expected a table in x",
            ),
            (
                "data did not match any variant of untagged enum ClipChoice\n",
                "the value has none of the accepted forms\n",
            ),
            (
                "unknown field `u32`, expected one of `u8`, `name`",
                "unknown field `u32`, expected one of `u8`, `name`",
            ),
            ("expected a boolean, expected mapping", "expected true or false, expected mapping"),
        ] {
            assert_eq!(in_plain_words(message), plain);
        }
    }
}
