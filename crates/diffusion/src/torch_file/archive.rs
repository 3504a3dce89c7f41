//! The format of torch since 1.6: a zip archive with the pickled object in `NAME/data.pkl` and each storage in
//! `NAME/data/KEY`.

use super::input::Input;
use super::pickle;
use super::problem::Checked;
use super::rebuild::Storages;
use super::source::Source;
use super::value::Pickle;
use super::zip::{self, Member};
use std::collections::HashMap;

pub(super) fn read(source: &Source) -> Checked<(Pickle, Storages)> {
    let members = zip::members(source)?;
    let has_file = |name: &str| members.iter().any(|member| member.name.rsplit('/').next() == Some(name));
    if has_file("constants.pkl") || has_file("model.json") {
        return Err(
            "is a TorchScript archive, which is a program: load it with torch.jit.load and save its \
                    state_dict() with torch.save"
                .to_owned(),
        );
    }
    // The folder has the name of the original file. Tools that pack an archive again may add folders around it.
    let folders = members.iter().filter_map(|member| member.name.strip_suffix("data.pkl"));
    let folder = folders
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .min_by_key(|folder| folder.matches('/').count());
    let Some(folder) = folder else {
        return Err("is a zip archive but not one of torch.save: it has no data.pkl".to_owned());
    };
    let files: HashMap<&str, &Member> =
        members.iter().filter_map(|member| Some((member.name.strip_prefix(folder)?, member))).collect();
    let Some(object) = files.get("data.pkl") else {
        return Err("is a zip archive without data.pkl".to_owned());
    };
    let big_endian = match files.get("byteorder") {
        None => false,
        Some(member) => {
            let mut input = Input::new(source.reader(member.extent.clone()?));
            input.take(3)? == Some(b"big".to_vec())
        }
    };
    let mut input = Input::new(source.reader(object.extent.clone()?));
    let object = pickle::read(&mut input)?;
    let mut extents = HashMap::new();
    for (name, member) in files {
        if let Some(key) = name.strip_prefix("data/") {
            extents.insert(key.to_owned(), member.extent.clone()?);
        }
    }
    Ok((object, Storages { extents, big_endian }))
}
