//! Bounds that more than one spec, request body or program checks against.

/// Largest seed: 2^53 - 1, the largest integer that every JSON client keeps exactly.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// Longest name of a run or model, in bytes: it becomes the name of a folder.
pub const MAX_NAME_BYTES: usize = 100;

/// Longest prompt, in bytes. Text encoders read the first 77 tokens, which are far fewer.
pub const MAX_PROMPT_BYTES: usize = 8_192;

/// Most prompts of one evaluation.
pub const MAX_PROMPTS: u32 = 10_000;

/// Most models of one evaluation.
pub const MAX_MODELS: usize = 32;

/// Most denoising steps of one image: the number of timesteps of the noise schedule.
pub const MAX_DENOISING_STEPS: u32 = 1_000;

/// Largest guidance scale. Useful values are below 20.
pub const MAX_GUIDANCE_SCALE: f64 = 50.0;

/// Most LoRA adapters of one image.
pub const MAX_ADAPTERS: usize = 8;

/// Largest absolute scale of a LoRA adapter. Useful values are below 2.
pub const MAX_ADAPTER_SCALE: f64 = 100.0;

/// Most images of one generation request.
pub const MAX_IMAGES_PER_REQUEST: u32 = 4;

/// Most items in a list of the HTTP API.
pub const MAX_LIST_LENGTH: u32 = 500;

/// Items in a list of the HTTP API when the request sets no limit.
pub const DEFAULT_LIST_LENGTH: u32 = 100;

/// Most tags of a run.
pub const MAX_TAGS: usize = 20;

/// Longest tag of a run, in bytes.
pub const MAX_TAG_BYTES: usize = 40;

/// Longest notes of a run, in bytes.
pub const MAX_NOTES_BYTES: usize = 10_000;

/// Largest priority of a job; the smallest is its negative.
pub const MAX_PRIORITY: i64 = 100;
