//! The OpenAPI schemas agree with serde: every default is the value that an absent field takes, every optional field
//! has a default, and every example is a valid value of its type.

use domain::api::{
    CampaignStateRequest, ComparisonRequest, ConsentRequest, DeskRanking, DeskRequest, DeskVote, ErrorBody,
    GenerateRequest, InvitationRequest, JobChange, MatchupRequest, RunChange, RunDraftRequest, RunResumption,
    VoteRequest,
};
use domain::campaign::CampaignSpec;
use domain::data::{DataSpec, PromptFilterSpec};
use domain::evaluate::{EvaluateSpec, FidSpec, PromptSpec, RewardSpec};
use domain::job::JobSpec;
use domain::lora::{LoraSpec, LoraUse};
use domain::prepare::{ImageSpec, PrepareSpec};
use domain::study::{Ablation, StudyData, StudyEvaluation, StudyMethod, StudySpec, Tuning};
use domain::train::{LearningRateSpec, MemorySpec, Objective, OptimizerSpec, TrainSpec};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;
use utoipa::{PartialSchema, ToSchema};

/// The schema of a type, or of the variant of a tagged enum whose `tag` has the value in `minimal`.
fn schema_of<T: PartialSchema>(minimal: &Value) -> Map<String, Value> {
    let schema = serde_json::to_value(T::schema()).expect("a schema");
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let has_tag = |schema: &Value| {
        ["kind", "source"].iter().any(|tag| {
            let value = &schema["properties"][tag]["enum"][0];
            value.is_string() && *value == minimal[tag]
        })
    };
    let parts = |schema: &Value| schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    let chosen = variants.iter().find(|variant| parts(variant).iter().any(has_tag)).unwrap_or(&schema);
    let inline = parts(chosen).into_iter().find(|part| part["properties"].is_object()).expect("an object");
    inline.as_object().expect("an object").clone()
}

/// Checks the defaults of a type against a value that has only the required fields.
#[track_caller]
fn check_defaults<T: DeserializeOwned + PartialEq + Debug + ToSchema>(minimal: &Value) {
    let absent: T = serde_json::from_value(minimal.clone()).expect("only required fields are set");
    let schema = schema_of::<T>(minimal);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in schema["properties"].as_object().expect("properties") {
        let Some(default) = property.get("default") else {
            let text = property.to_string();
            let is_nullable = text.contains("\"null\"");
            // An absent list is empty, and so is an absent table of free keys.
            let is_list = property["type"] == "array" || property["type"] == "object";
            assert!(
                required.contains(&name.as_str()) || is_nullable || is_list,
                "{}: {name} is optional and has no default: {text}",
                T::name()
            );
            continue;
        };
        let mut explicit = minimal.clone();
        explicit[name] = default.clone();
        let explicit: T = serde_json::from_value(explicit).expect("the default is a value of the field");
        assert_eq!(explicit, absent, "{}: the default of {name}", T::name());
    }
}

#[test]
fn defaults_in_the_schema_are_those_of_serde() {
    let data = json!({ "source": "shapes", "set": "winter", "count": 8 });
    check_defaults::<TrainSpec>(&json!({
        "name": "a", "base": "shapes", "objective": { "kind": "sft" }, "data": data, "steps": 1, "batch_size": 1,
        "learning_rate": { "rate": 1e-5 },
    }));
    for objective in [
        json!({ "kind": "denoise" }),
        json!({ "kind": "diffusion_dpo", "beta": 1.0 }),
        json!({ "kind": "diffusion_lpo", "beta": 1.0 }),
        json!({ "kind": "diff_contrast", "beta": 1.0, "tau": 1.0 }),
        json!({ "kind": "rpo", "beta": 1.0, "tau": 1.0 }),
    ] {
        check_defaults::<Objective>(&objective);
    }
    check_defaults::<OptimizerSpec>(&json!({ "kind": "adam_w" }));
    check_defaults::<OptimizerSpec>(&json!({ "kind": "adafactor" }));
    check_defaults::<LearningRateSpec>(&json!({ "rate": 1e-5 }));
    check_defaults::<MemorySpec>(&json!({}));
    check_defaults::<LoraSpec>(&json!({}));
    check_defaults::<LoraUse>(&json!({ "model": "a" }));
    check_defaults::<DataSpec>(&data);
    check_defaults::<PromptFilterSpec>(&json!({}));
    check_defaults::<PrepareSpec>(&json!({ "base": "shapes", "data": data, "out": "a" }));
    check_defaults::<ImageSpec>(&json!({}));
    check_defaults::<EvaluateSpec>(&json!({ "models": ["a"] }));
    let objective = json!({ "kind": "sft" });
    let evaluation = json!({ "name": "a", "prompts": { "source": "shapes_held_out", "count": 1 } });
    check_defaults::<StudySpec>(&json!({
        "name": "a", "base": "shapes", "budget": { "pairs": 1 }, "train": {}, "data": [], "methods": [], "evaluate": [],
    }));
    check_defaults::<StudyData>(&json!({ "name": "a", "set": data }));
    check_defaults::<StudyMethod>(&json!({ "name": "a", "objective": objective }));
    check_defaults::<StudyEvaluation>(&evaluation);
    check_defaults::<Ablation>(&json!({ "name": "a", "method": "a", "key": "batch_size", "values": [1] }));
    check_defaults::<Tuning>(&json!({ "metric": "distance", "evaluate": [evaluation] }));
    check_defaults::<RewardSpec>(&json!({ "metric": "pick_score", "weights": "a" }));
    check_defaults::<GenerateRequest>(&json!({ "prompt": "a" }));
    let id = "019b76da-e6fb-774b-aacc-fd1996d32f15";
    check_defaults::<RunChange>(&json!({}));
    check_defaults::<RunResumption>(&json!({}));
    check_defaults::<RunDraftRequest>(&json!({}));
    check_defaults::<VoteRequest>(&json!({ "choice": "left" }));
    check_defaults::<InvitationRequest>(&json!({}));
    check_defaults::<CampaignSpec>(&json!({ "name": "n", "models": ["a", "b"] }));
    check_defaults::<MatchupRequest>(&json!({ "image_a": id, "image_b": id }));
    check_defaults::<ComparisonRequest>(&json!({ "models": ["a", "b"] }));
}

/// The example of a type, which must be a value of it.
#[track_caller]
fn example<T: DeserializeOwned + ToSchema>() -> T {
    let schema = serde_json::to_value(T::schema()).expect("a schema");
    let example = schema.get("example").unwrap_or_else(|| panic!("{} has no example", T::name()));
    serde_json::from_value(example.clone()).unwrap_or_else(|e| panic!("{}: {e}: {example}", T::name()))
}

#[test]
fn examples_are_valid() {
    example::<TrainSpec>().validate().expect("valid");
    example::<EvaluateSpec>().validate_job().expect("valid");
    example::<StudySpec>().validate().expect("valid");
    example::<JobSpec>().validate().expect("valid");
    example::<Objective>();
    example::<OptimizerSpec>();
    example::<LearningRateSpec>();
    example::<DataSpec>();
    example::<PromptSpec>();
    example::<RewardSpec>();
    example::<FidSpec>();
    example::<GenerateRequest>();
    example::<MatchupRequest>();
    example::<VoteRequest>();
    example::<DeskRequest>();
    example::<DeskRanking>();
    example::<DeskVote>();
    example::<ConsentRequest>();
    example::<InvitationRequest>();
    example::<CampaignStateRequest>();
    example::<CampaignSpec>().validate().expect("a valid campaign");
    example::<ComparisonRequest>();
    example::<RunChange>().validate().expect("valid");
    example::<RunResumption>();
    example::<RunDraftRequest>().validate().expect("valid");
    example::<JobChange>().validate().expect("valid");
    example::<ErrorBody>();
}
