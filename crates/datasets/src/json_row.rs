//! JSON objects of lists and side files. They come from many tools: keys that nobody asks for may hold anything, also the
//! numbers NaN and Infinity that Python writes and JSON does not have.

use domain::dataset::Reason;
use serde_json::{Map, Value};

/// A parsed object.
#[derive(Clone, Debug)]
pub struct JsonRow(Map<String, Value>);

/// Why a row cannot be used.
pub type Unusable = (Reason, String);

impl JsonRow {
    /// Parses one object. NaN, Infinity and -Infinity are read as null.
    ///
    /// # Errors
    /// Says that the text is not JSON, or not an object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let parsed = serde_json::from_slice(bytes).or_else(|error| match without_python_numbers(bytes) {
            Some(plain) => serde_json::from_slice(&plain),
            None => Err(error),
        });
        match parsed {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(other) => Err((Reason::WrongType, format!("is {}, and must be a JSON object", kind(&other)))),
            Err(error) => Err((Reason::Unreadable, format!("is not JSON: {error}"))),
        }
    }

    /// The value of the first of `names` that the object has; null counts as absent.
    #[must_use]
    pub fn get(&self, names: &[&str]) -> Option<(&str, &Value)> {
        let found = names.iter().filter_map(|name| self.0.get_key_value(*name));
        found.map(|(name, value)| (name.as_str(), value)).find(|(_, value)| !value.is_null())
    }

    /// The text of the first of `names` that the object has. `missing` is the reason if it has none.
    ///
    /// # Errors
    /// Says that the key is missing, or that its value is not text.
    pub fn text(&self, names: &[&str], missing: Reason) -> Result<&str, Unusable> {
        match self.get(names) {
            Some((_, Value::String(text))) => Ok(text),
            Some((name, other)) => {
                Err((Reason::WrongType, format!("{name} is {}, and must be text", kind(other))))
            }
            None => Err((missing, format!("has no {}", names.join(" or ")))),
        }
    }

    /// The yes or no of the first of `names` that the object has: true or false, 1 or 0, or these as text.
    ///
    /// # Errors
    /// Says that the key is missing, or that its value is neither.
    pub fn flag(&self, names: &[&str], missing: Reason) -> Result<bool, Unusable> {
        let Some((name, value)) = self.get(names) else {
            return Err((missing, format!("has no {}", names.join(" or "))));
        };
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
            Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
            Value::String(text) => match text.trim().to_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        flag.ok_or_else(|| (Reason::WrongType, format!("{name} is {value}, and must be true or false")))
    }
}

/// The kind of a value, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The text with null in place of NaN, Infinity and -Infinity outside strings; `None` if there are none.
fn without_python_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut plain, mut at, mut found) = (Vec::with_capacity(bytes.len()), 0, false);
    let (mut in_string, mut escaped) = (false, false);
    while let Some(&byte) = bytes.get(at) {
        if !in_string {
            let number = [&b"NaN"[..], b"-Infinity", b"Infinity"];
            if let Some(number) = number.into_iter().find(|number| bytes[at..].starts_with(number)) {
                plain.extend_from_slice(b"null");
                at += number.len();
                found = true;
                continue;
            }
        }
        let closes = in_string && byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
        in_string = if in_string { !closes } else { byte == b'"' };
        plain.push(byte);
        at += 1;
    }
    found.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::JsonRow;
    use domain::dataset::Reason;

    fn prompt(text: &str) -> Result<String, (Reason, String)> {
        JsonRow::parse(text.as_bytes())?.text(&["prompt", "caption"], Reason::NoPrompt).map(str::to_owned)
    }

    #[test]
    fn numbers_that_json_forbids_do_no_harm_in_other_keys() {
        for other in ["NaN", "-Infinity", "[Infinity, {\"deep\": NaN}]", "\"\\\"NaN\\\\\""] {
            let text =
                format!("{{\"score\": {other}, \"prompt\": \"the word NaN \\\" Infinity\", \"z\": {other}}}");
            assert_eq!(prompt(&text).as_deref(), Ok("the word NaN \" Infinity"), "{other}");
        }
        assert_eq!(prompt("{\"prompt\": NaN}").expect_err("no text").0, Reason::NoPrompt);
    }

    #[test]
    fn what_is_missing_is_told_from_what_has_another_type() {
        assert_eq!(prompt("{\"prompt\": \"a\", \"caption\": 5, \"prompt\": \"b\"}").as_deref(), Ok("b"));
        assert_eq!(prompt("{\"caption\": \"c\", \"prompt\": null}").as_deref(), Ok("c"));
        for (text, reason, detail) in [
            ("{\"tag\": 1}", Reason::NoPrompt, "has no prompt or caption"),
            ("{\"prompt\": 5}", Reason::WrongType, "prompt is a number, and must be text"),
            ("[1]", Reason::WrongType, "is a list, and must be a JSON object"),
            ("prompt", Reason::Unreadable, "is not JSON"),
        ] {
            let (found, problem) = prompt(text).expect_err("unusable");
            assert!(found == reason && problem.contains(detail), "{text}: {problem}");
        }
    }

    #[test]
    fn flags_are_booleans_numbers_or_words() {
        let flag = |value: &str| {
            JsonRow::parse(format!("{{\"liked\": {value}}}").as_bytes())
                .expect("an object")
                .flag(&["liked"], Reason::NoLabel)
        };
        for (value, expected) in [
            ("true", true),
            ("1", true),
            ("1.0", true),
            ("\"True\"", true),
            ("false", false),
            ("0", false),
            ("\"0\"", false),
        ] {
            assert_eq!(flag(value), Ok(expected), "{value}");
        }
        for value in ["-1", "0.5", "\"maybe\"", "[true]"] {
            let (reason, detail) = flag(value).expect_err("ambiguous");
            assert!(reason == Reason::WrongType && detail.contains("true or false"), "{detail}");
        }
        assert_eq!(flag("null").expect_err("missing").0, Reason::NoLabel);
    }
}
