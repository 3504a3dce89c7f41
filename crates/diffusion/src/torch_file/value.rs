//! What a pickle describes, as plain data: an object of a class is a note of its class and of what it was made from.
//!
//! Values lie in one list and name each other by number, so that a pickle that loops, shares or nests without end is
//! as harmless as any other.

/// A value's number.
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
    /// A value whose content is of no interest: byte strings, texts and integers too long to be kept.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    /// A dict or one of its near relatives, in the order of writing; a key may come twice, then the later counts.
    Dict(Vec<(Id, Id)>),
    /// A class or function, `module.name`. It is never looked up.
    Global(Box<str>),
    Object(Box<Object>),
    /// What the writer keeps elsewhere: a tensor's bytes, by a tuple that describes them.
    Persistent(Id),
}

/// An instance of a class, or what a function would return. Nothing of it is run.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: Id,
    /// A tuple.
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    pub(super) items: Vec<Id>,
    pub(super) entries: Vec<(Id, Id)>,
}

/// A whole pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) top: Id,
}

impl Pickle {
    pub(super) fn get(&self, id: Id) -> &Value {
        // Ids are made by `Machine::push_value` alone and nothing is ever removed.
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Value::Text(text) = self.get(id) { Some(text) } else { None }
    }

    pub(super) fn integer(&self, id: Id) -> Option<i128> {
        if let Value::Int(value) = self.get(id) { Some(*value) } else { None }
    }

    /// A class or function by its name.
    pub(super) fn global(&self, id: Id) -> Option<&str> {
        if let Value::Global(name) = self.get(id) { Some(name) } else { None }
    }

    /// The items of a tuple, list or set, or of a class made from one, as `torch.Size` is, and sets before protocol 4.
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

    /// What a value is, for people.
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

    /// What an object was made from.
    pub(super) fn arguments(&self, object: &Object) -> &[Id] {
        if let Value::Tuple(arguments) = self.get(object.arguments) { arguments } else { &[] }
    }

    /// The name of an object's class.
    pub(super) fn class(&self, object: &Object) -> &str {
        if let Some(name) = self.global(object.class) {
            return name;
        }
        // Old files keep a network's class with its source: ('module', class, file, text).
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

    /// The attributes of an object: its state, or the first half of it where it has slots too.
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
