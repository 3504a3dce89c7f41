//! What is withheld while a campaign is not closed, because it would tell raters which model made an image that they judge.

use crate::error::ApiError;
use crate::state::AppState;
use datasets::votes::JudgedPair;
use domain::id::ModelId;
use domain::preference::JudgedImage;

/// The signature of a PNG file.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Chunks of a PNG that decide its pixels and nothing else.
const PIXELS: [&[u8]; 8] = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB"];

/// Whether raters may be judging what a model draws of this prompt.
pub(crate) async fn is_judged(state: &AppState, model: ModelId, prompt: &str) -> Result<bool, ApiError> {
    let judged = state.store.models_being_judged().await?.contains(&model);
    Ok(judged && state.store.has_evaluation_of(model, prompt).await?)
}

/// Fails with 403 if one of these models, by name or id, is judged in a campaign that is not closed.
pub(crate) async fn refuse_judged(state: &AppState, models: &[impl AsRef<str>]) -> Result<(), ApiError> {
    let judged = state.store.models_being_judged().await?;
    if judged.is_empty() {
        return Ok(());
    }
    for name in models {
        let model = state.store.find_model(name.as_ref()).await?;
        if model.is_some_and(|model| judged.contains(&model.id)) {
            return Err(ApiError::withheld("This report"));
        }
    }
    Ok(())
}

/// The pairs of earlier votes without those with an image by a model that is being judged, with adapters or without: they show
/// images beside the names of their models.
pub(crate) async fn shown(state: &AppState, mut pairs: Vec<JudgedPair>) -> Result<Vec<JudgedPair>, ApiError> {
    let mut judged = Vec::new();
    for id in state.store.models_being_judged().await? {
        judged.extend(state.store.get_model(id).await?.map(|model| model.name));
    }
    let is_by = |image: &JudgedImage, name: &String| {
        image.model.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(" + "))
    };
    pairs.retain(|pair| !pair.images.iter().any(|image| judged.iter().any(|name| is_by(image, name))));
    Ok(pairs)
}

/// A PNG file with the chunks of its pixels only: no text, time or other metadata, and nothing behind its end. A file that is no
/// PNG is returned as it is.
pub(crate) fn without_metadata(file: &[u8]) -> Vec<u8> {
    let Some(mut rest) = file.strip_prefix(SIGNATURE) else { return file.to_vec() };
    let mut kept = SIGNATURE.to_vec();
    while let Some(head) = rest.first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        // The length of the chunk's data, its head, and its checksum.
        let Some(chunk) = length.checked_add(12).and_then(|end| rest.get(..end)) else { break };
        if PIXELS.contains(&&kind[..]) {
            kept.extend_from_slice(chunk);
        }
        if &kind == b"IEND" {
            break;
        }
        rest = &rest[chunk.len()..];
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{SIGNATURE, without_metadata};

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [&length[..], kind, data, &[0; 4]].concat()
    }

    #[test]
    fn only_the_chunks_of_the_pixels_are_kept() {
        let (head, pixels, end) = (chunk(b"IHDR", &[1; 13]), chunk(b"IDAT", b"xyz"), chunk(b"IEND", b""));
        let text = [
            chunk(b"tEXt", b"model\0own-dpo"),
            chunk(b"iTXt", b"m"),
            chunk(b"eXIf", b"m"),
            chunk(b"tIME", b"m"),
        ];
        let file = [SIGNATURE, &head, &text.concat(), &pixels, &end, b"behind the end"].concat();
        assert_eq!(without_metadata(&file), [SIGNATURE, &head, &pixels, &end].concat());
        assert_eq!(without_metadata(b"no PNG"), b"no PNG");
        // A file that ends within a chunk, and one whose length is too large.
        let cut = [SIGNATURE, &head, &pixels[..6]].concat();
        assert_eq!(without_metadata(&cut), [SIGNATURE, &head].concat());
        let huge = [SIGNATURE, &head, &[255; 12]].concat();
        assert_eq!(without_metadata(&huge), [SIGNATURE, &head].concat());
    }
}
