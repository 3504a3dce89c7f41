use diffusion::config::Prediction;
use diffusion::single_file::{Options, Plan, plan};
use std::collections::{BTreeMap, HashSet};

/// The input lists the tensors of a checkpoint in one file. The first line is the options, a digit. Each other line is
/// `SHAPE PREFIX SUFFIX`: the shape with commas, how many characters the name shares with the name before, and the others.
pub fn single_file(data: &[u8]) -> bool {
    let Some((options, shapes)) = std::str::from_utf8(data).ok().and_then(parse) else { return false };
    let Ok(plan) = plan(&shapes, &BTreeMap::new(), options) else { return false };
    check(&plan, &shapes);
    true
}

fn parse(text: &str) -> Option<(Options, BTreeMap<String, Vec<usize>>)> {
    let mut lines = text.lines();
    let flags: u8 = lines.next()?.parse().ok()?;
    let options = Options {
        prediction: match flags & 3 {
            0 => None,
            1 => Some(Prediction::Epsilon),
            _ => Some(Prediction::VPrediction),
        },
        average: flags & 4 != 0,
        unet_only: flags & 8 != 0,
    };
    let mut shapes = BTreeMap::new();
    let mut name = String::new();
    for line in lines {
        let mut fields = line.splitn(3, ' ');
        let shape = fields.next()?.split(',').filter(|size| !size.is_empty());
        let shape = shape.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        let prefix: usize = fields.next()?.parse().ok()?;
        name = name.get(..prefix)?.to_owned() + fields.next()?;
        shapes.insert(name.clone(), shape);
    }
    Some((options, shapes))
}

/// A plan takes its tensors from the file and gives no name twice.
fn check(plan: &Plan, shapes: &BTreeMap<String, Vec<usize>>) {
    for part in &plan.parts {
        let mut names = HashSet::new();
        for tensor in &part.tensors {
            assert!(shapes.contains_key(&tensor.old), "{} is not in the file", tensor.old);
            assert!(names.insert(&tensor.new), "{} is written twice", tensor.new);
        }
    }
}
