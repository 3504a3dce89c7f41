//! The tensors below a root in a pickle's object, by their dotted paths.

use super::calls::unknown_call;
use super::problem::Checked;
use super::rebuild;
use super::value::{Id, Object, Pickle, Value};
use std::collections::{HashMap, HashSet};

/// The largest number of nested containers.
const MAX_DEPTH: usize = 200;
/// The largest number of tensors.
const MAX_TENSORS: usize = 1_000_000;
/// The largest number of bytes in all names together.
const MAX_TEXT: usize = 256 << 20;
/// The largest number of keys that an error lists.
const MAX_KEYS: usize = 12;

/// The children of a container with their names; `None` for a key that cannot be a name.
type Children = Vec<(Option<String>, Id)>;

/// The tensors below a root.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The tensors by name.
    pub(super) tensors: Vec<(String, Id)>,
    /// The places of tensors without a name, with the reason.
    pub(super) left_out: Vec<String>,
    /// The places of values that an unknown call would make, with what would be called.
    pub(super) calls: Vec<(String, String)>,
}

/// Finds the value at a dotted path. Keys may contain dots.
pub(super) fn resolve(pickle: &Pickle, root: &str) -> Checked<Id> {
    let mut here = pickle.top;
    let mut rest = root;
    while !rest.is_empty() {
        let children = children(pickle, here).unwrap_or_default();
        let longest = children
            .iter()
            .filter_map(|(key, child)| {
                let after = rest.strip_prefix(key.as_deref()?)?;
                let after = if after.is_empty() { after } else { after.strip_prefix('.')? };
                Some((after, *child))
            })
            .min_by_key(|(after, _)| after.len());
        let Some((after, child)) = longest else {
            let keys: Vec<&str> =
                children.iter().filter_map(|(key, _)| key.as_deref()).take(MAX_KEYS).collect();
            let more = if children.len() > MAX_KEYS { ", ..." } else { "" };
            let found = match &keys[..] {
                [] => format!("{} without keys", pickle.kind(here)),
                keys => format!("{} with the keys {}{more}", pickle.kind(here), keys.join(", ")),
            };
            return Err(format!("has no {rest:?} below --root {root}: it has {found}"));
        };
        (rest, here) = (after, child);
    }
    Ok(here)
}

/// Finds every tensor below `root`, in the order of the file. `own_name`: the name of `root`, if it is a tensor itself.
pub(super) fn find(pickle: &Pickle, root: Id, own_name: &str) -> Checked<Found> {
    let mut found = Found::default();
    if is_tensor(pickle, root) {
        found.tensors.push((own_name.to_owned(), root));
        return Ok(found);
    }
    let holders = holders(pickle, true);
    let mut text = 0;
    let mut path = String::new();
    // The containers on the current path: id, remaining children in reverse order, and length of the path.
    let mut open: Vec<(Id, Children, usize)> = vec![];
    let mut on_path = HashSet::new();
    let enter = |id: Id, path: &str, found: &mut Found| match children(pickle, id) {
        Some(mut children) => {
            children.reverse();
            Some(children)
        }
        None if unknown_call(pickle, id).is_some() => {
            let name = unknown_call(pickle, id).unwrap_or_default();
            found.left_out.push(format!("{path}: is made by calling {name}, which is not done"));
            found.calls.push((path.to_owned(), name.to_owned()));
            None
        }
        None => {
            let kind = pickle.kind(id);
            found.left_out.push(format!("{path} ({kind}): tensors in such an object have no names"));
            None
        }
    };
    if holders.contains(root)
        && let Some(children) = enter(root, "the top", &mut found)
    {
        on_path.insert(root);
        open.push((root, children, 0));
    }
    while let Some((id, children, length)) = open.last_mut() {
        let Some((key, child)) = children.pop() else {
            on_path.remove(id);
            open.pop();
            continue;
        };
        if !holders.contains(child) {
            continue;
        }
        path.truncate(*length);
        let Some(key) = key else {
            found
                .left_out
                .push(format!("{path}: tensors are below a key that is neither text, number nor class"));
            continue;
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&key);
        text += path.len();
        if found.tensors.len() + found.left_out.len() >= MAX_TENSORS || text > MAX_TEXT {
            return Err(format!("has more than {MAX_TENSORS} tensors, or too long names"));
        }
        if is_tensor(pickle, child) {
            found.tensors.push((path.clone(), child));
        } else if is_array(pickle, child) {
            found.left_out.push(format!("{path}: is a numpy array, not a tensor"));
        } else if on_path.contains(&child) {
            found.left_out.push(format!("{path}: refers back to a container that it is in"));
        } else if let Some(children) = enter(child, &path, &mut found) {
            if open.len() >= MAX_DEPTH {
                return Err(format!("nests tensors deeper than {MAX_DEPTH} levels, at {path:.60}"));
            }
            on_path.insert(child);
            open.push((child, children, path.len()));
        }
    }
    Ok(found)
}

/// The top-level keys below which there are tensors.
pub(super) fn roots(pickle: &Pickle) -> Vec<String> {
    let holders = holders(pickle, false);
    let children = children(pickle, pickle.top).unwrap_or_default();
    children
        .into_iter()
        .filter(|(_, child)| holders.contains(*child))
        .filter_map(|(key, _)| key)
        .take(MAX_KEYS)
        .collect()
}

fn is_tensor(pickle: &Pickle, id: Id) -> bool {
    matches!(pickle.get(id), Value::Object(object) if rebuild::is_tensor(pickle, object))
}

/// Whether a value is a numpy array, which one of two helper functions creates. They have moved once.
fn is_array(pickle: &Pickle, id: Id) -> bool {
    let Value::Object(object) = pickle.get(id) else { return false };
    let name = pickle.class(object).strip_prefix("numpy.").unwrap_or_default().trim_start_matches('_');
    ["core.multiarray._reconstruct", "core.numeric._frombuffer"].contains(&name)
}

/// The children of a value: the entries of dicts (and of classes derived from them), the items of lists, tuples and sets, and
/// for a complete `torch.nn.Module` the entries of its `state_dict()`. `None` for other values.
fn children(pickle: &Pickle, id: Id) -> Option<Children> {
    let numbered =
        |items: &[Id]| items.iter().enumerate().map(|(i, &item)| (Some(i.to_string()), item)).collect();
    match pickle.get(id) {
        Value::Dict(entries) => Some(keyed(pickle, entries)),
        Value::Tuple(items) | Value::List(items) | Value::Set(items) => Some(numbered(items)),
        Value::Object(object) if !object.entries.is_empty() => Some(keyed(pickle, &object.entries)),
        Value::Object(object) if !object.items.is_empty() => Some(numbered(&object.items)),
        Value::Object(object) => network(pickle, object),
        _ => None,
    }
}

/// Entries by name. If a key occurs twice, the last entry counts, as in Python.
fn keyed(pickle: &Pickle, entries: &[(Id, Id)]) -> Children {
    let mut positions: HashMap<(std::mem::Discriminant<Value>, String), usize> = HashMap::new();
    let mut children: Children = vec![];
    for &(key, value) in entries {
        let Some(name) = key_name(pickle, key) else {
            children.push((None, value));
            continue;
        };
        let position = *positions
            .entry((std::mem::discriminant(pickle.get(key)), name.clone()))
            .or_insert(children.len());
        if position < children.len() {
            children[position].1 = value;
        } else {
            children.push((Some(name), value));
        }
    }
    children
}

/// The name that a key gives to its entry.
fn key_name(pickle: &Pickle, key: Id) -> Option<String> {
    Some(match pickle.get(key) {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::None => "None".to_owned(),
        Value::Global(name) => name.to_string(),
        _ => return None,
    })
}

/// The parameters, persistent buffers and submodules of a `torch.nn.Module`.
fn network(pickle: &Pickle, object: &Object) -> Option<Children> {
    let attributes = pickle.attributes(object);
    let dict = |name: &str| match pickle.get(pickle.entry(attributes, name)?) {
        Value::Dict(entries) => Some(entries),
        _ => None,
    };
    let (parameters, modules) = (dict("_parameters")?, dict("_modules")?);
    let non_persistent =
        pickle.entry(attributes, "_non_persistent_buffers_set").and_then(|id| pickle.sequence(id));
    let non_persistent: Vec<&str> =
        non_persistent.into_iter().flatten().filter_map(|&name| pickle.text(name)).collect();
    let mut children = keyed(pickle, parameters);
    let buffers = dict("_buffers").map(|entries| keyed(pickle, entries)).unwrap_or_default();
    children.extend(
        buffers
            .into_iter()
            .filter(|(name, _)| name.as_deref().is_none_or(|name| !non_persistent.contains(&name))),
    );
    children.extend(keyed(pickle, modules));
    Some(children)
}

/// The values that are tensors or arrays, with `calls` also results of unknown calls, or contain some, found by following
/// references backwards from these.
fn holders(pickle: &Pickle, calls: bool) -> Holders {
    let ids = || (0..pickle.values.len() as u32).map(Id);
    let is_named = |id: Id| {
        is_tensor(pickle, id) || is_array(pickle, id) || (calls && unknown_call(pickle, id).is_some())
    };
    let mut holders = Holders(ids().map(is_named).collect());
    let mut fresh: Vec<Id> = ids().filter(|id| holders.contains(*id)).collect();
    // Pairs of child and parent, sorted by child, which takes less memory than a map.
    let mut links: Vec<(u32, u32)> = vec![];
    for parent in ids().filter(|id| !fresh.is_empty() && !holders.contains(*id)) {
        let mut link = |child: Id| links.push((child.0, parent.0));
        match pickle.get(parent) {
            Value::Tuple(items) | Value::List(items) | Value::Set(items) => {
                items.iter().copied().for_each(link);
            }
            Value::Dict(entries) => entries.iter().for_each(|&(_, value)| link(value)),
            Value::Object(object) => {
                link(object.arguments);
                object.state.into_iter().for_each(&mut link);
                object.items.iter().copied().for_each(&mut link);
                object.entries.iter().for_each(|&(_, value)| link(value));
            }
            _ => {}
        }
    }
    links.sort_unstable();
    while let Some(id) = fresh.pop() {
        let from = links.partition_point(|(child, _)| *child < id.0);
        for &(_, parent) in links[from..].iter().take_while(|(child, _)| *child == id.0) {
            let known = &mut holders.0[parent as usize];
            if !std::mem::replace(known, true) {
                fresh.push(Id(parent));
            }
        }
    }
    holders
}

/// For each value, whether it is a tensor or array or contains one.
struct Holders(Vec<bool>);

impl Holders {
    fn contains(&self, id: Id) -> bool {
        self.0.get(id.0 as usize) == Some(&true)
    }
}
