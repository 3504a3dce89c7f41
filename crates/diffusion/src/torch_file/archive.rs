//! Files of torch since 1.6: a zip archive with the object as `NAME/data.pkl` and each storage as `NAME/data/KEY`.

use super::Checked;
use super::input::Input;
use super::pickle;
use super::rebuild::Storages;
use super::source::Source;
use super::value::Pickle;
use super::zip::{self, Member};
use std::collections::HashMap;

pub(super) fn read(source: &Source) -> Checked<(Pickle, Storages)> {
    let members = zip::members(source)?;
    let named = |name: &str| members.iter().any(|member| member.name.rsplit('/').next() == Some(name));
    if named("constants.pkl") || named("model.json") {
        return Err("is a TorchScript archive, a program: load it with torch.jit.load and save its state_dict() with \
                    torch.save"
            .to_owned());
    }
    // The folder is the archive's first name; tools that pack it again may put others around it.
    let folders = members.iter().filter_map(|member| member.name.strip_suffix("data.pkl"));
    let folder = folders
        .filter(|folder| folder.is_empty() || folder.ends_with('/'))
        .min_by_key(|folder| folder.matches('/').count());
    let Some(folder) = folder else {
        return Err("is a zip archive but not of torch.save: it has no data.pkl".to_owned());
    };
    let mut files: HashMap<&str, &Member> = HashMap::new();
    for member in &members {
        if let Some(name) = member.name.strip_prefix(folder)
            && files.insert(name, member).is_some()
        {
            return Err(format!("has the zip member {:?} twice", member.name));
        }
    }
    let Some(object) = files.get("data.pkl") else {
        return Err("is a zip archive without an object".to_owned());
    };
    let big_endian = match files.get("byteorder") {
        None => false,
        Some(member) => {
            let mut input = Input::new(source.reader(member.extent(source)?));
            input.take(3)? == Some(b"big".to_vec())
        }
    };
    let mut input = Input::new(source.reader(object.extent(source)?));
    let object = pickle::read(&mut input)?;
    let mut extents = HashMap::new();
    for (name, member) in files {
        if let Some(key) = name.strip_prefix("data/") {
            extents.insert(key.to_owned(), member.extent(source)?);
        }
    }
    Ok((object, Storages { extents, big_endian }))
}
