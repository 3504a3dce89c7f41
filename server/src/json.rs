//! Stricter reading of JSON than serde's: a repeated key is an error, and so is a list in the place of an object.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A JSON value whose objects have no repeated keys. serde_json's own `Value` keeps the last of them in silence. Integers that
/// are written with a fraction of zero are integers.
pub(crate) struct UniqueKeys(pub(crate) Value);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(UniqueKeysVisitor).map(Self)
    }
}

/// 2^53: up to here every integer is a double.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // JSON Schema calls 4.0 an integer, and many programs write integers like that.
        if value.fract() == 0.0 && value.abs() <= LARGEST_EXACT {
            return Ok((value as i64).into());
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(UniqueKeys(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                // The wording of serde's derived code.
                return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
            }
            let UniqueKeys(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// A list where an object may belong, as a JSON pointer.
#[derive(Debug, PartialEq)]
pub(crate) struct SuspiciousList {
    pub(crate) pointer: String,
    /// Whether an object was read from it. Otherwise nothing was, because fields with their default are left out.
    pub(crate) is_certain: bool,
}

/// The lists that were read as objects, certainly or perhaps: serde's derived code takes a list for the fields in their
/// order. `read` is what was read of `given`, as JSON again.
pub(crate) fn suspicious_lists(given: &Value, read: Option<&Value>) -> Vec<SuspiciousList> {
    let mut found = Vec::new();
    visit(given, read, String::new(), &mut found);
    found
}

fn visit(given: &Value, read: Option<&Value>, pointer: String, found: &mut Vec<SuspiciousList>) {
    match (given, read) {
        (Value::Array(_), Some(Value::Object(_))) => found.push(SuspiciousList { pointer, is_certain: true }),
        (Value::Array(_), None) => found.push(SuspiciousList { pointer, is_certain: false }),
        (Value::Array(given), Some(Value::Array(read))) => {
            for (index, (given, read)) in given.iter().zip(read).enumerate() {
                visit(given, Some(read), format!("{pointer}/{index}"), found);
            }
        }
        (Value::Object(given), Some(Value::Object(read))) => {
            for (key, given) in given {
                let key_in_pointer = key.replace('~', "~0").replace('/', "~1");
                visit(given, read.get(key), format!("{pointer}/{key_in_pointer}"), found);
            }
        }
        _ => {}
    }
}

/// A JSON pointer as errors write paths: `lora[0].model`.
pub(crate) fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !path.is_empty() {
            path += &format!("[{part}]");
        } else {
            let separator = if path.is_empty() { "" } else { "." };
            path += &format!("{separator}{part}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{UniqueKeys, path_of, suspicious_lists};
    use serde_json::{Value, json};

    #[test]
    fn a_repeated_key_is_an_error_at_any_depth() {
        let read = |text: &str| serde_json::from_str::<UniqueKeys>(text).map(|UniqueKeys(value)| value);
        let text = r#"{"a": [1, -2, 3.5, null, true, {"b": "c"}], "d": 18446744073709551615}"#;
        assert_eq!(read(text).expect("unique keys"), serde_json::from_str::<Value>(text).expect("JSON"));
        assert_eq!(read("[4.0, -2e3, 1e300, 0.5]").expect("numbers"), json!([4, -2000, 1e300, 0.5]));
        for text in [r#"{"a": 1, "a": 1}"#, r#"{"x": [{"a": 1, "b": 2, "a": 3}]}"#] {
            let error = read(text).expect_err("a repeated key").to_string();
            assert!(error.starts_with("duplicate field `a`"), "{error}");
        }
    }

    #[test]
    fn a_list_that_was_read_as_an_object_is_found() {
        let read = json!({ "a": { "b": [{ "c": 1 }] }, "x": { "y": 1 } });
        for (given, expected) in [
            (json!({ "a": { "b": [{ "c": 1 }] } }), None),
            (json!({ "a": { "b": [[1]] } }), Some(("a.b[0]", true))),
            (json!({ "a": [[{ "c": 1 }]] }), Some(("a", true))),
            (json!({ "absent": [] }), Some(("absent", false))),
            (json!([[[1]]]), Some(("", true))),
        ] {
            let found = suspicious_lists(&given, Some(&read));
            let found = found.first().map(|list| (path_of(&list.pointer), list.is_certain));
            assert_eq!(found, expected.map(|(path, is_certain)| (path.to_owned(), is_certain)), "{given}");
        }
    }
}
