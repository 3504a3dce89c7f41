//! The distinct prompts of a batch.

/// The distinct prompts in order of first occurrence, and for each prompt its index among them. A prompt of many images
/// is encoded once.
pub(super) fn distinct<'a>(prompts: &[&'a str]) -> (Vec<&'a str>, Vec<u32>) {
    let mut distinct: Vec<&str> = Vec::new();
    let mut indices = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let known = distinct.iter().position(|p| p == prompt);
        indices.push(known.unwrap_or(distinct.len()) as u32);
        if known.is_none() {
            distinct.push(prompt);
        }
    }
    (distinct, indices)
}
