//! The content of a pickle as plain data. An object is represented by the name of its class and its arguments.
//!
//! All values are in one list and refer to each other by index, so a pickle with cycles, shared values or deep nesting needs no
//! special care.

/// The index of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u32);

/// A Python value.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Box<str>),
    /// A value whose content is not stored: a byte string, or a string or integer that is too long.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    /// A dict or a class derived from it, in the order of the pickle. If a key occurs twice, the later entry counts.
    Dict(Vec<(Id, Id)>),
    /// A class or function by its name, `module.name`. It is never resolved.
    Global(Box<str>),
    Object(Box<Object>),
    /// Data outside of the pickle, such as a tensor's storage, by the tuple that describes it.
    Persistent(Id),
}

/// An instance of a class, or the result of a function. Nothing is called.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: Id,
    /// A tuple.
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    pub(super) items: Vec<Id>,
    pub(super) entries: Vec<(Id, Id)>,
    /// Whether unpickling would call `class`. Otherwise it would create an instance without initialising it.
    pub(super) is_call: bool,
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) top: Id,
    /// What the other pickles of the file would call.
    pub(super) other_calls: Vec<String>,
}

impl Pickle {
    pub(super) fn get(&self, id: Id) -> &Value {
        // Only `Machine::push` creates ids, and values are never removed, so the id exists.
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    pub(super) fn integer(&self, id: Id) -> Option<i128> {
        if let Value::Int(value) = self.get(id) { Some(*value) } else { None }
    }

    /// The name of a class or function.
    pub(super) fn global(&self, id: Id) -> Option<&str> {
        if let Value::Global(name) = self.get(id) { Some(name) } else { None }
    }

    /// The items of a tuple, list or set, or of an object created from one: a `torch.Size`, or a set before protocol 4.
    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        let plain = |id: Id| match self.get(id) {
            Value::Tuple(items) | Value::List(items) | Value::Set(items) => Some(&items[..]),
            _ => None,
        };
        match self.get(id) {
            Value::Object(object)
                if matches!(
                    self.global(object.class),
                    Some("torch.Size" | "builtins.set" | "__builtin__.set")
                ) =>
            {
                plain(*self.arguments(object).first()?)
            }
            _ => plain(id),
        }
    }

    /// The kind of a value, for messages.
    pub(super) fn kind(&self, id: Id) -> &str {
        match self.get(id) {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "a text",
            Value::Opaque => "a byte string",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Set(_) => "a set",
            Value::Dict(_) => "a dict",
            Value::Global(name) => name,
            Value::Object(object) => self.class(object),
            Value::Persistent(_) => "a storage",
        }
    }

    /// The arguments that an object was created from.
    pub(super) fn arguments(&self, object: &Object) -> &[Id] {
        if let Value::Tuple(arguments) = self.get(object.arguments) { arguments } else { &[] }
    }

    /// The name of an object's class.
    pub(super) fn class(&self, object: &Object) -> &str {
        if let Some(name) = self.global(object.class) {
            return name;
        }
        // Old files store the class of a module with its source: ('module', class, file, text).
        let Value::Persistent(id) = self.get(object.class) else { return "an object" };
        self.sequence(*id)
            .and_then(|parts| parts.get(1))
            .and_then(|&class| self.global(class))
            .unwrap_or("an object")
    }

    /// The value of a text key.
    pub(super) fn entry(&self, entries: &[(Id, Id)], key: &str) -> Option<Id> {
        entries.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// The attributes of an object: its state, or the first half of its state if it also has slots.
    pub(super) fn attributes(&self, object: &Object) -> &[(Id, Id)] {
        let Some(mut state) = object.state else { return &[] };
        if let Value::Tuple(halves) = self.get(state)
            && let [attributes, _] = halves[..]
        {
            state = attributes;
        }
        if let Value::Dict(entries) = self.get(state) { entries } else { &[] }
    }
}
