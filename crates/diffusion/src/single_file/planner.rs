//! Collecting the parts of a plan and the problems found on the way.

use super::part::{Part, RenamedTensor, View};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A plan under construction.
pub(super) struct Planner<'a> {
    /// The names and shapes of the file's tensors.
    pub(super) shapes: &'a BTreeMap<String, Vec<usize>>,
    /// The tensors that a part uses, and those that no part needs.
    pub(super) used: BTreeSet<String>,
    pub(super) problems: Vec<String>,
    pub(super) parts: Vec<Part>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(shapes: &'a BTreeMap<String, Vec<usize>>) -> Self {
        Self { shapes, used: BTreeSet::new(), problems: vec![], parts: vec![] }
    }

    /// Adds a part with the tensors `needed`. `source` returns the tensor of the file that a tensor is taken from.
    pub(super) fn part(
        &mut self,
        name: &'static str,
        config: Value,
        needed: &BTreeMap<String, Vec<usize>>,
        source: impl Fn(&str) -> Option<(String, View)>,
    ) {
        let mut tensors = vec![];
        for (new, shape) in needed {
            let Some((old, view)) = source(new) else {
                self.problems.push(format!("has no tensor for {name}'s {new:?}"));
                continue;
            };
            match self.shapes.get(&old) {
                None => self.problems.push(format!("tensor {old:?} is missing")),
                Some(found) if view.shape(found) != *shape => {
                    self.problems
                        .push(format!("tensor {old:?} has shape {found:?}, but its layer needs {shape:?}"));
                }
                Some(_) => {
                    self.used.insert(old.clone());
                    tensors.push(RenamedTensor { new: new.clone(), old, view });
                }
            }
        }
        self.parts.push(Part { name, config, tensors });
    }

    /// Marks tensors that no network needs, so that they are not reported as superfluous.
    pub(super) fn ignore(&mut self, is_ignored: impl Fn(&str) -> bool) {
        self.used.extend(self.shapes.keys().filter(|name| is_ignored(name)).cloned());
    }
}
