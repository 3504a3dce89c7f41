//! The tensors below a place in a pickle's object, by their dotted paths.

use super::Checked;
use super::rebuild;
use super::value::{Id, Object, Pickle, Value};
use std::collections::{HashMap, HashSet};

const DEEPEST: usize = 200;
const MOST_TENSORS: usize = 1_000_000;
/// All names together.
const MOST_TEXT: usize = 256 << 20;
/// How many keys an error names.
const SHOWN: usize = 12;

/// What lies directly below a container: names, none where a key has none.
type Children = Vec<(Option<String>, Id)>;

/// What lies below a place.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Names and what stands for the tensors.
    pub(super) tensors: Vec<(String, Id)>,
    /// Where tensors lie that have no name of their own, and why.
    pub(super) left_out: Vec<String>,
}

/// Finds a dotted path; a key may itself have dots.
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
            let keys: Vec<&str> = children.iter().filter_map(|(key, _)| key.as_deref()).take(SHOWN).collect();
            let more = if children.len() > SHOWN { ", ..." } else { "" };
            let found = match &keys[..] {
                [] => format!("{} without keys", pickle.kind(here)),
                keys => format!("{} with the keys {}{more}", pickle.kind(here), keys.join(", ")),
            };
            return Err(format!("has no {rest:?} there: --root {root} meets {found}"));
        };
        (rest, here) = (after, child);
    }
    Ok(here)
}

/// Every tensor below `root`, in the order of the file.
pub(super) fn find(pickle: &Pickle, root: Id, own_name: &str) -> Checked<Found> {
    let mut found = Found::default();
    if is_tensor(pickle, root) {
        found.tensors.push((own_name.to_owned(), root));
        return Ok(found);
    }
    let holders = holders(pickle);
    let mut text = 0;
    let mut path = String::new();
    // What is open: the container, its children yet to come (backwards), and the length of its path.
    let mut open: Vec<(Id, Children, usize)> = vec![];
    let mut on_path = HashSet::new();
    let enter = |id: Id, path: &str, found: &mut Found| match children(pickle, id) {
        Some(mut children) => {
            children.reverse();
            Some(children)
        }
        None => {
            let kind = pickle.kind(id);
            found.left_out.push(format!("{path} ({kind}): tensors within such an object have no names"));
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
                .push(format!("{path}: tensors lie under a key that is neither text, number nor class"));
            continue;
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&key);
        text += path.len();
        if found.tensors.len() + found.left_out.len() >= MOST_TENSORS || text > MOST_TEXT {
            return Err(format!("names more than {MOST_TENSORS} tensors, or at too great length"));
        }
        if is_tensor(pickle, child) {
            found.tensors.push((path.clone(), child));
        } else if is_array(pickle, child) {
            found.left_out.push(format!("{path}: is a numpy array, not a tensor"));
        } else if on_path.contains(&child) {
            found.left_out.push(format!("{path}: leads back to what it lies in"));
        } else if let Some(children) = enter(child, &path, &mut found) {
            if open.len() >= DEEPEST {
                return Err(format!("nests tensors deeper than {DEEPEST} levels, at {path:.60}"));
            }
            on_path.insert(child);
            open.push((child, children, path.len()));
        }
    }
    Ok(found)
}

/// Where, from a container, tensors lie: its keys that lead to some. For hints.
pub(super) fn roots(pickle: &Pickle) -> Vec<String> {
    let holders = holders(pickle);
    let children = children(pickle, pickle.top).unwrap_or_default();
    children
        .into_iter()
        .filter(|(_, child)| holders.contains(*child))
        .filter_map(|(key, _)| key)
        .take(SHOWN)
        .collect()
}

fn is_tensor(pickle: &Pickle, id: Id) -> bool {
    matches!(pickle.get(id), Value::Object(object) if rebuild::is_tensor(pickle, object))
}

/// numpy's arrays are made by one of two helpers, which moved once.
fn is_array(pickle: &Pickle, id: Id) -> bool {
    let Value::Object(object) = pickle.get(id) else { return false };
    let name = pickle.class(object).strip_prefix("numpy.").unwrap_or_default().trim_start_matches('_');
    ["core.multiarray._reconstruct", "core.numeric._frombuffer"].contains(&name)
}

/// What has names below a value: the entries of dicts (and of classes made from them), the items of lists, tuples and
/// sets, and, of a network that was saved whole, what its `state_dict()` has. None for other objects.
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

/// Entries by name; of a key that was set twice, the last, as in Python.
fn keyed(pickle: &Pickle, entries: &[(Id, Id)]) -> Children {
    let mut places: HashMap<(std::mem::Discriminant<Value>, String), usize> = HashMap::new();
    let mut children: Children = vec![];
    for &(key, value) in entries {
        let Some(name) = key_name(pickle, key) else {
            children.push((None, value));
            continue;
        };
        let place =
            *places.entry((std::mem::discriminant(pickle.get(key)), name.clone())).or_insert(children.len());
        if place < children.len() {
            children[place].1 = value;
        } else {
            children.push((Some(name), value));
        }
    }
    children
}

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

/// A network (`torch.nn.Module`): its parameters, its persistent buffers and its parts.
fn network(pickle: &Pickle, object: &Object) -> Option<Children> {
    let attributes = pickle.attributes(object);
    let dict = |name: &str| match pickle.get(pickle.entry(attributes, name)?) {
        Value::Dict(entries) => Some(entries),
        _ => None,
    };
    let (parameters, parts) = (dict("_parameters")?, dict("_modules")?);
    let passing = pickle.entry(attributes, "_non_persistent_buffers_set").and_then(|id| pickle.sequence(id));
    let passing: Vec<&str> = passing.into_iter().flatten().filter_map(|&name| pickle.text(name)).collect();
    let mut children = keyed(pickle, parameters);
    let buffers = dict("_buffers").map(|entries| keyed(pickle, entries)).unwrap_or_default();
    children.extend(
        buffers.into_iter().filter(|(name, _)| name.as_deref().is_none_or(|name| !passing.contains(&name))),
    );
    children.extend(keyed(pickle, parts));
    Some(children)
}

/// Every value that is a tensor (or an array, to be named) or leads to one, by going from these back.
fn holders(pickle: &Pickle) -> Holders {
    let ids = || (0..pickle.values.len() as u32).map(Id);
    let mut holders = Holders(ids().map(|id| is_tensor(pickle, id) || is_array(pickle, id)).collect());
    let mut fresh: Vec<Id> = ids().filter(|id| holders.contains(*id)).collect();
    // From child to parent, sorted: the leanest form that finds a child's parents.
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

/// Which values are tensors or lead to some, by their numbers.
struct Holders(Vec<bool>);

impl Holders {
    fn contains(&self, id: Id) -> bool {
        self.0.get(id.0 as usize) == Some(&true)
    }
}
