//! Token ids of texts: `token_ids open_clip|openai|fast|bert VOCABULARY` reads a JSON list of texts from standard input
//! and writes a list of lists of ids. `oracles/texts.py compare` compares them with the reference packages.

use diffusion::tokenizer::Tokenizer;
use evaluation::text::{BertTokenizer, OpenClipTokenizer, SpecialNames};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, vocabulary] = &arguments[..] else { return Err("usage: token_ids NAME VOCABULARY".into()) };
    let vocabulary = Path::new(vocabulary);
    let texts: Vec<String> = serde_json::from_reader(std::io::stdin().lock())?;
    let open_clip = |names| -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        let tokenizer = OpenClipTokenizer::open(vocabulary, names)?;
        Ok(texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?)
    };
    let ids = match name.as_str() {
        "open_clip" => open_clip(SpecialNames::OpenClip)?,
        "openai" => open_clip(SpecialNames::OpenAi)?,
        "fast" => {
            let tokenizer = Tokenizer::load(vocabulary)?;
            let trimmed = |text: &String| -> Result<Vec<u32>, Box<dyn Error>> {
                let mut ids = tokenizer.encode(text)?;
                // The padding is the end token; the first of them belongs to the text.
                let end = ids.last().copied();
                while ids.len() > 2
                    && ids.last().copied() == end
                    && ids[ids.len() - 2..] == [end.unwrap_or(0); 2]
                {
                    ids.pop();
                }
                Ok(ids)
            };
            texts.iter().map(trimmed).collect::<Result<_, _>>()?
        }
        "bert" => {
            let tokenizer = BertTokenizer::open(vocabulary)?;
            texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?
        }
        other => {
            return Err(format!("unknown tokenizer {other:?}: use open_clip, openai, fast or bert").into());
        }
    };
    serde_json::to_writer(std::io::stdout().lock(), &ids)?;
    Ok(())
}
