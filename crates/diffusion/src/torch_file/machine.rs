//! The stack machine that a pickle's opcodes operate on: values, stack, marks and memo, all of bounded size.

use super::value::{Id, Object, Pickle, Value};
use std::collections::HashMap;

/// The largest number of values. A checkpoint of a large model with its optimiser has some hundred thousand.
const MAX_VALUES: usize = 4_000_000;
/// The largest number of bytes in all strings together.
const MAX_TEXT: usize = 256 << 20;

/// Functions that create an instance of the class that is their first argument.
const HELPERS: [&str; 4] =
    ["copy_reg._reconstructor", "copyreg._reconstructor", "copy_reg.__newobj__", "copyreg.__newobj__"];

const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

/// What is wrong with a pickle.
pub(super) enum Problem {
    /// The input could not be read; the message already names the position.
    Input(String),
    /// The pickle is invalid; the message does not name the position.
    Pickle(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Input(problem)
    }
}

pub(super) fn invalid<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Pickle(problem.into()))
}

/// The state of the machine.
pub(super) struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes in all strings.
    text: usize,
    /// Entries copied from lists into dicts. Counted because a pickle may copy the same list again and again.
    copied: usize,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            values: vec![Value::None, Value::Bool(false), Value::Bool(true)],
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
            text: 0,
            copied: 0,
        }
    }

    /// The finished pickle with `top` as its object.
    pub(super) fn finish(self, top: Id) -> Pickle {
        Pickle { values: self.values, top, other_calls: vec![] }
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    pub(super) fn push_none(&mut self) {
        self.stack.push(NONE);
    }

    pub(super) fn push_bool(&mut self, value: bool) {
        self.stack.push(if value { TRUE } else { FALSE });
    }

    /// Adds a value and pushes it on the stack.
    pub(super) fn push(&mut self, value: Value) -> Result<(), Problem> {
        if self.values.len() >= MAX_VALUES {
            return invalid(format!("has more than {MAX_VALUES} values, which no checkpoint needs"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    /// Pushes a string; `None` stands for one that is too long to be a name or not text.
    pub(super) fn push_text(&mut self, text: Option<String>) -> Result<(), Problem> {
        let Some(text) = text else { return self.push(Value::Opaque) };
        self.count_text(text.len())?;
        self.push(Value::Text(text.into()))
    }

    /// Pushes a class or function.
    pub(super) fn push_global(&mut self, name: String) -> Result<(), Problem> {
        self.count_text(name.len())?;
        self.push(Value::Global(name.into()))
    }

    fn count_text(&mut self, length: usize) -> Result<(), Problem> {
        self.text += length;
        if self.text > MAX_TEXT {
            return invalid(format!("has more than {MAX_TEXT} bytes of text, which no checkpoint needs"));
        }
        Ok(())
    }

    /// The value on top of the stack, above the last mark.
    pub(super) fn top(&self) -> Result<Id, Problem> {
        let fence = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > fence => Ok(top),
            _ => invalid("uses a value of an empty stack"),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Removes the value on top of the stack, or the last mark if there is no value above it.
    pub(super) fn pop_value_or_mark(&mut self) -> Result<(), Problem> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Pushes the value on top of the stack again.
    pub(super) fn duplicate(&mut self) -> Result<(), Problem> {
        let top = self.top()?;
        self.stack.push(top);
        Ok(())
    }

    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    /// Removes the last mark and the values above it, and returns these.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => invalid("ends a group that has no start"),
        }
    }

    /// As [`Machine::pop_mark`], for alternating keys and values.
    pub(super) fn pop_mark_pairs(&mut self) -> Result<Vec<(Id, Id)>, Problem> {
        let items = self.pop_mark()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
        } else {
            invalid("has a key without a value")
        }
    }

    /// Stores the value on top of the stack in the memo under `number`.
    pub(super) fn put(&mut self, number: u64) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(number, top);
        if self.memo.len() > MAX_VALUES {
            return invalid(format!("memoizes more than {MAX_VALUES} values, which no checkpoint needs"));
        }
        Ok(())
    }

    /// Stores the value on top of the stack in the memo under the next number.
    pub(super) fn memoize(&mut self) -> Result<(), Problem> {
        self.put(self.memo.len() as u64)
    }

    /// Pushes the value in the memo under `number`.
    pub(super) fn recall(&mut self, number: u64) -> Result<(), Problem> {
        match self.memo.get(&number) {
            Some(&id) => self.stack.push(id),
            None => return invalid(format!("recalls value {number}, which is not in its memo")),
        }
        Ok(())
    }

    /// Appends items to the list, set or object on top of the stack.
    pub(super) fn add_items(&mut self, more: &[Id]) -> Result<(), Problem> {
        let target = self.top()?;
        match self.get_mut(target) {
            Value::List(items) | Value::Set(items) => items.extend(more),
            Value::Object(object) => object.items.extend(more),
            _ => return invalid("adds an item to a value that is not a list"),
        }
        Ok(())
    }

    /// Adds entries to the dict or object on top of the stack.
    pub(super) fn add_entries(&mut self, more: &[(Id, Id)]) -> Result<(), Problem> {
        let target = self.top()?;
        match self.get_mut(target) {
            Value::Dict(entries) => entries.extend(more),
            Value::Object(object) => object.entries.extend(more),
            _ => return invalid("adds an entry to a value that is not a dict"),
        }
        Ok(())
    }

    /// The text of a string.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    /// Sets the state of the object on top of the stack. Other values ignore it: the attributes of a dict, in which torch
    /// stores versions of layers, are not its entries.
    pub(super) fn set_state(&mut self, state: Id) -> Result<(), Problem> {
        let object = self.top()?;
        if let Value::Object(object) = self.get_mut(object) {
            object.state = Some(state);
        }
        Ok(())
    }

    /// Pushes the object that a class or function would create from `arguments`, by a call or as an instance that is not
    /// initialised. Nothing is called. Dict classes become dicts.
    pub(super) fn create(&mut self, mut class: Id, arguments: Id, mut is_call: bool) -> Result<(), Problem> {
        let Value::Tuple(given) = self.get(arguments) else {
            return invalid("creates an object from arguments that are not a tuple");
        };
        // Protocols 0 and 1 create every object with a helper function that gets the class.
        if HELPERS.contains(&self.global(class))
            && let Some(&first) = given.first()
        {
            class = first;
            is_call = false;
        }
        if !["collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict"]
            .contains(&self.global(class))
        {
            let object = Object { class, arguments, state: None, items: vec![], entries: vec![], is_call };
            return self.push(Value::Object(Box::new(object)));
        }
        // Python 2 passes the entries of an OrderedDict as a list of pairs.
        let mut entries = vec![];
        for &argument in given {
            match self.get(argument) {
                Value::Dict(more) => entries.extend(more),
                Value::List(items) | Value::Tuple(items) => {
                    entries.extend(items.iter().filter_map(|&item| match self.get(item) {
                        Value::List(pair) | Value::Tuple(pair) => Some((*pair.first()?, *pair.get(1)?)),
                        _ => None,
                    }));
                }
                _ => {}
            }
            if self.copied + entries.len() > MAX_VALUES {
                return invalid(format!("copies more than {MAX_VALUES} values, which no checkpoint needs"));
            }
        }
        self.copied += entries.len();
        self.push(Value::Dict(entries))
    }

    /// The name of a class or function; empty for other values.
    fn global(&self, id: Id) -> &str {
        if let Value::Global(name) = self.get(id) { name } else { "" }
    }
}
