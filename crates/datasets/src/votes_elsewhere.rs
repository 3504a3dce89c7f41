//! Votes that were made elsewhere on exported images, as other tools write them: JSON, or JSON lines. An image is recognised by its
//! id, alone or within an address such as `/api/v1/images/ID/file`.

use domain::Timestamp;
use domain::id::ImageId;
use domain::preference::Choice;
use serde_json::{Map, Value};

/// Longest file, in bytes.
pub const LARGEST: u64 = 256 << 20;
/// Values of a row that are looked at for an image's id.
const MOST_VALUES: usize = 1000;

/// A vote on two images of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteElsewhere {
    /// The left or first image, and the other.
    pub images: [ImageId; 2],
    /// The answer.
    pub choice: Choice,
    /// The rater, as the tool names the person.
    pub rater: String,
    /// When it was cast, if the tool says so.
    pub created_at: Option<Timestamp>,
}

/// The votes of a file, and the rows without a vote: their number, counted from 1, and the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VotesRead {
    /// The votes, in the order of the file.
    pub votes: Vec<VoteElsewhere>,
    /// The rows, or answers of rows, that are no vote.
    pub dropped: Vec<(usize, String)>,
}

/// Reads votes: the tasks that Label Studio exports (pairwise results), the records of Argilla, the rows of Pick-a-Pic, and the battles of
/// arenas. Each row is recognised by its keys.
///
/// # Errors
/// Says that the text is neither a list of JSON nor JSON lines.
pub fn read_votes(text: &str) -> Result<VotesRead, String> {
    let mut read = VotesRead::default();
    for (number, row) in (1..).zip(rows(text)?) {
        let Value::Object(row) = row else {
            read.dropped.push((number, "is no JSON object".to_owned()));
            continue;
        };
        match votes_of(&row) {
            Ok(answers) => {
                for answer in answers {
                    match answer {
                        Ok(vote) => read.votes.push(vote),
                        Err(reason) => read.dropped.push((number, reason)),
                    }
                }
            }
            Err(reason) => read.dropped.push((number, reason)),
        }
    }
    Ok(read)
}

fn rows(text: &str) -> Result<Vec<Value>, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("is no list of JSON: {error}"));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(n, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {} is not JSON: {error}", n + 1))
        })
        .collect()
}

/// The answers of a row, each a vote or the reason why it is none.
type Votes = Vec<Result<VoteElsewhere, String>>;

fn votes_of(row: &Map<String, Value>) -> Result<Votes, String> {
    if let (Some(data), Some(annotations)) =
        (row.get("data"), row.get("annotations").and_then(Value::as_array))
    {
        return label_studio(data, annotations);
    }
    if row.contains_key("responses") || row.keys().any(|key| key.ends_with(".responses")) {
        return argilla(row);
    }
    if row.contains_key("label_0") && row.contains_key("label_1") {
        return Ok(vec![pick_a_pic(row)]);
    }
    if let Some(winner) = row.get("winner") {
        return Ok(vec![arena(row, winner)]);
    }
    Err("has the keys of no known tool: data and annotations (Label Studio), responses (Argilla), label_0 and label_1 (Pick-a-Pic), or \
         winner (arenas)"
        .to_owned())
}

/// `annotations[].result[].value.selected` of type `pairwise`, by `completed_by`. The images are the first two of the task's data.
fn label_studio(data: &Value, annotations: &[Value]) -> Result<Votes, String> {
    let images = images_in(data)?;
    let of = |annotation: &Value| {
        if annotation["was_cancelled"] == true {
            return None;
        }
        let result = annotation["result"].as_array()?.iter().find(|result| result["type"] == "pairwise");
        let Some(result) = result else { return Some(Err("has no pairwise result".to_owned())) };
        let selected = &result["value"]["selected"];
        Some(choice(selected).map(|choice| VoteElsewhere {
            images,
            choice,
            rater: name(match &annotation["completed_by"] {
                Value::Object(person) => person.get("email").or(person.get("id")).unwrap_or(&Value::Null),
                id => id,
            }),
            created_at: time(&annotation["created_at"]),
        }))
    };
    Ok(annotations.iter().filter_map(of).collect())
}

/// Records with `responses: {QUESTION: [{"value", "user_id"}]}`, or the columns `QUESTION.responses` and `QUESTION.responses.users` of an
/// exported set. The images are the first two of the record.
fn argilla(row: &Map<String, Value>) -> Result<Votes, String> {
    let mut rest = row.clone();
    let mut answers: Vec<(Value, Value)> = Vec::new();
    if let Some(Value::Object(questions)) = rest.remove("responses") {
        for answer in questions.values().filter_map(Value::as_array).flatten() {
            answers.push((answer["value"].clone(), answer["user_id"].clone()));
        }
    }
    for (key, values) in row.iter().filter(|(key, _)| key.ends_with(".responses")) {
        let users = row.get(&format!("{key}.users")).unwrap_or(&Value::Null);
        for (place, value) in values.as_array().into_iter().flatten().enumerate() {
            answers.push((value.clone(), users[place].clone()));
        }
    }
    let images = images_in(&Value::Object(rest))?;
    if answers.is_empty() {
        return Err("has no response".to_owned());
    }
    let vote = |(value, user): (Value, Value)| {
        let choice = choice(&value)?;
        Ok(VoteElsewhere { images, choice, rater: name(&user), created_at: None })
    };
    Ok(answers.into_iter().map(vote).collect())
}

/// `image_0_uid`, `image_1_uid`, `label_0`, `label_1`, `user_id`, `created_at`: as this site exports them, too.
fn pick_a_pic(row: &Map<String, Value>) -> Result<VoteElsewhere, String> {
    let image = |key: &str| {
        row.get(key).and_then(id_in).ok_or_else(|| format!("{key} is no id of an image of this site"))
    };
    let label = |key: &str| row.get(key).and_then(Value::as_f64).ok_or_else(|| format!("{key} is no number"));
    let (first, second) = (label("label_0")?, label("label_1")?);
    let choice = if first > second {
        Choice::Left
    } else if second > first {
        Choice::Right
    } else {
        Choice::Tie
    };
    Ok(VoteElsewhere {
        images: [image("image_0_uid")?, image("image_1_uid")?],
        choice,
        rater: name(row.get("user_id").unwrap_or(&Value::Null)),
        created_at: time(row.get("created_at").unwrap_or(&Value::Null)),
    })
}

/// `winner` is `model_a`, `model_b`, `tie` or `tie (bothbad)`; the images are the first two of the row, a before b.
fn arena(row: &Map<String, Value>, winner: &Value) -> Result<VoteElsewhere, String> {
    let by = ["judge", "user", "rater"].iter().find_map(|key| row.get(*key));
    let at = ["tstamp", "timestamp", "created_at"].iter().find_map(|key| row.get(*key));
    let mut rest = row.clone();
    rest.remove("winner");
    Ok(VoteElsewhere {
        images: images_in(&Value::Object(rest))?,
        choice: choice(winner)?,
        rater: name(by.unwrap_or(&Value::Null)),
        created_at: time(at.unwrap_or(&Value::Null)),
    })
}

fn choice(value: &Value) -> Result<Choice, String> {
    let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let plain: String = word.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.as_str() {
        "left" | "modela" | "image1" | "imagea" | "a" | "1" => Ok(Choice::Left),
        "right" | "modelb" | "image2" | "imageb" | "b" | "2" => Ok(Choice::Right),
        "tie" | "both" | "equal" | "bothgood" => Ok(Choice::Tie),
        "tiebothbad" | "bothbad" | "neither" => Ok(Choice::BothBad),
        _ => Err(format!("the answer {word:?} is none of left, right, tie and both bad")),
    }
}

/// The first two different images among the values, in order of their keys' place; objects and lists are searched too.
fn images_in(value: &Value) -> Result<[ImageId; 2], String> {
    let (mut found, mut left) = (Vec::new(), vec![value]);
    let mut looked_at = 0;
    while let Some(value) = left.pop() {
        looked_at += 1;
        if looked_at > MOST_VALUES {
            break;
        }
        match value {
            Value::Object(fields) => {
                // Sorted: image_a before image_b, left before right, image1 before image2, in whatever order the tool writes them.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by(|a, b| a.0.cmp(b.0));
                left.extend(fields.into_iter().rev().map(|(_, value)| value));
            }
            Value::Array(values) => left.extend(values.iter().rev()),
            other => found.extend(id_in(other).filter(|id| !found.contains(id))),
        }
    }
    match found[..] {
        [first, second] => Ok([first, second]),
        [] | [_] => {
            Err("does not name two images of this site: put their ids or addresses into the row".to_owned())
        }
        _ => Err("names more than two images".to_owned()),
    }
}

/// The id of an image in a text: the text itself, or a part of an address.
fn id_in(value: &Value) -> Option<ImageId> {
    let text = value.as_str()?;
    text.split(['/', '?', '#', '.']).find_map(|part| part.parse().ok())
}

fn name(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

/// RFC 3339, or seconds since 1970.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(seconds) => Timestamp::from_timestamp(seconds.as_f64()? as i64, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{VoteElsewhere, read_votes};
    use domain::preference::Choice::{BothBad, Left, Right, Tie};

    const A: &str = "019b76da-e6fb-774b-aacc-fd1996d32f15";
    const B: &str = "019b76da-eecb-774b-a1e2-3ff318426710";

    /// A, B and what was said of them.
    fn said(text: &str) -> Vec<(domain::preference::Choice, String)> {
        let read = read_votes(&text.replace("$A", A).replace("$B", B)).expect("readable");
        assert!(read.dropped.is_empty(), "{read:?}");
        let check = |vote: VoteElsewhere| {
            assert_eq!(vote.images.map(|id| id.to_string()), [A, B]);
            (vote.choice, vote.rater)
        };
        read.votes.into_iter().map(check).collect()
    }

    #[test]
    fn the_exports_of_each_tool_are_read() {
        let label_studio = r#"[{"id": 1, "data": {"prompt": "a cat", "image1": "http://x/api/v1/images/$A/file", "image2": "/api/v1/images/$B/file"},
            "annotations": [
                {"completed_by": 7, "created_at": "2026-11-01T10:00:00Z", "result": [{"type": "pairwise", "value": {"selected": "left"}}]},
                {"completed_by": {"id": 8, "email": "b@x"}, "result": [{"type": "pairwise", "value": {"selected": "right"}}]},
                {"completed_by": 9, "was_cancelled": true, "result": []}]}]"#;
        assert_eq!(said(label_studio), [(Left, "7".to_owned()), (Right, "b@x".to_owned())]);
        let argilla = r#"{"fields": {"prompt": "a", "image_1": "$A", "image_2": "$B"}, "responses": {"preference": [{"value": "image_2", "user_id": "u"}, {"value": "both_bad", "user_id": "v"}]}}"#;
        assert_eq!(said(argilla), [(Right, "u".to_owned()), (BothBad, "v".to_owned())]);
        let columns = r#"{"images": {"image_1": "$A", "image_2": "$B"}, "preference.responses": ["image_1"], "preference.responses.users": ["w"]}"#;
        assert_eq!(said(columns), [(Left, "w".to_owned())]);
        let pick_a_pic = r#"{"image_1_uid": "$B", "image_0_uid": "$A", "label_0": 0.5, "label_1": 0.5, "user_id": 5}
            {"image_0_uid": "$A", "image_1_uid": "$B", "label_0": 0, "label_1": 1, "user_id": 5}"#;
        assert_eq!(said(pick_a_pic), [(Tie, "5".to_owned()), (Right, "5".to_owned())]);
        let arena = r#"{"model_a": "x", "model_b": "y", "image_b": "$B", "image_a": "$A", "winner": "model_b", "judge": "j", "tstamp": 1700000000.5}
            {"image_a": "$A", "image_b": "$B", "winner": "tie (bothbad)", "judge": "j"}"#;
        assert_eq!(said(arena), [(Right, "j".to_owned()), (BothBad, "j".to_owned())]);
    }

    #[test]
    fn rows_without_a_vote_are_named_with_the_reason() {
        let text = format!(
            r#"{{"winner": "model_a", "image_a": "{A}"}}
            {{"winner": "nobody", "image_a": "{A}", "image_b": "{B}"}}
            {{"rating": 5}}
            5
            {{"label_0": 1, "label_1": 0, "image_0_uid": "x", "image_1_uid": "{B}"}}
            {{"winner": "a", "images": ["{A}", "{B}", "019b76da-eecb-774b-a1e2-3ff318426711"]}}"#
        );
        let read = read_votes(&text).expect("readable");
        assert!(read.votes.is_empty());
        let reasons: Vec<(usize, &str)> =
            read.dropped.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
        for ((row, reason), (expected, part)) in reasons.iter().zip([
            (1, "two images"),
            (2, "nobody"),
            (3, "no known tool"),
            (4, "no JSON object"),
            (5, "image_0_uid"),
            (6, "more than two"),
        ]) {
            assert!(*row == expected && reason.contains(part), "{row}: {reason}");
        }
        assert_eq!(reasons.len(), 6);
        assert!(read_votes("{\"a\": 1}\nnot JSON").is_err_and(|problem| problem.contains("line 2")));
        assert!(read_votes("[1, ").is_err());
    }
}
