//! Reads a pickle of protocol 0 to 5 without running it: classes are names, calls are notes.
//!
//! The opcodes are those of Python's `Lib/pickletools.py`. Memory is bounded whatever the file says: see the limits.

use super::Checked;
use super::input::Input;
use super::value::{Id, Object, Pickle, Value};
use std::collections::HashMap;
use std::io::BufRead;

/// A checkpoint of a large model with its optimiser has some hundred thousand values.
const MOST_VALUES: usize = 4_000_000;
const MOST_OPCODES: u64 = 64_000_000;
const MOST_TEXT: usize = 256 << 20;

const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

/// Reads one pickle; the input stands behind it then.
pub(super) fn read<R: BufRead>(input: &mut Input<R>) -> Checked<Pickle> {
    let mut machine = Machine {
        values: vec![Value::None, Value::Bool(false), Value::Bool(true)],
        stack: vec![],
        marks: vec![],
        memo: HashMap::new(),
        text: 0,
        copied: 0,
    };
    for _ in 0..MOST_OPCODES {
        let place = input.position();
        match machine.step(input) {
            Ok(None) => {}
            Ok(Some(top)) => return Ok(Pickle { values: machine.values, top }),
            Err(Problem::Input(problem)) => return Err(problem),
            Err(Problem::Pickle(problem)) => return Err(format!("{problem} (byte {place} of a pickle)")),
        }
    }
    Err(format!("holds a pickle of more than {MOST_OPCODES} steps, which no checkpoint needs"))
}

/// What is wrong: with the reading, which says where itself, or with the pickle.
enum Problem {
    Input(String),
    Pickle(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Input(problem)
    }
}

fn bad<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Pickle(problem.into()))
}

struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Where on the stack the open marks are.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    text: usize,
    /// Entries of dicts made from lists: a list can be used again and again.
    copied: usize,
}

impl Machine {
    fn step<R: BufRead>(&mut self, input: &mut Input<R>) -> Result<Option<Id>, Problem> {
        match input.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => {
                let protocol = input.byte()?;
                if protocol > 5 {
                    return bad(format!("is a pickle of protocol {protocol}; 0 to 5 are known"));
                }
            }
            // FRAME: how many bytes to fetch at once.
            0x95 => drop(input.array::<8>()?),

            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'J' => self.integer(i32::from_le_bytes(input.array()?).into())?,
            b'K' => self.integer(input.byte()?.into())?,
            b'M' => self.integer(u16::from_le_bytes(input.array()?).into())?,
            b'I' | b'L' => self.integer_line(input.line()?)?,
            0x8a => {
                let count = input.byte()?;
                self.long(input.take(count.into())?)?;
            }
            0x8b => {
                let Ok(count) = u64::try_from(i32::from_le_bytes(input.array()?)) else {
                    return bad("has an integer of negative length");
                };
                self.long(input.take(count)?)?;
            }
            b'F' => {
                let value = line_text(input.line()?).and_then(|line| line.trim().parse().ok());
                self.push(value.map_or(Value::Opaque, Value::Float))?;
            }
            b'G' => self.push(Value::Float(f64::from_be_bytes(input.array()?)))?,

            b'U' => {
                let count = input.byte()?;
                self.old_text(input.take(count.into())?)?;
            }
            b'T' => {
                let count = u32::from_le_bytes(input.array()?);
                self.old_text(input.take(count.into())?)?;
            }
            b'S' => {
                let text = input.line()?.and_then(|line| unquote(&line));
                self.text(text)?;
            }
            b'V' => {
                let text = input.line()?.and_then(|line| unescape(&String::from_utf8(line).ok()?));
                self.text(text)?;
            }
            0x8c => {
                let count = input.byte()?;
                self.unicode(input.take(count.into())?)?;
            }
            b'X' => {
                let count = u32::from_le_bytes(input.array()?);
                self.unicode(input.take(count.into())?)?;
            }
            0x8d => {
                let count = u64::from_le_bytes(input.array()?);
                self.unicode(input.take(count)?)?;
            }
            b'C' => {
                let count = input.byte()?;
                self.bytes(input, count.into())?;
            }
            b'B' => {
                let count = u32::from_le_bytes(input.array()?);
                self.bytes(input, count.into())?;
            }
            0x8e | 0x96 => {
                let count = u64::from_le_bytes(input.array()?);
                self.bytes(input, count)?;
            }

            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // Without a value above it, the mark itself goes.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b')' => self.push(Value::Tuple(vec![]))?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            count @ 0x85..=0x87 => {
                let mut items = vec![];
                for _ in 0x85..=count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Tuple(items))?;
            }
            b']' => self.push(Value::List(vec![]))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            b'}' => self.push(Value::Dict(vec![]))?,
            b'd' => {
                let entries = pairs(&self.pop_mark()?)?;
                self.push(Value::Dict(entries))?;
            }
            0x8f => self.push(Value::Set(vec![]))?,
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Value::Set(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.add_items(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.add_items(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.add_entries(&[(key, value)])?;
            }
            b'u' => {
                let entries = pairs(&self.pop_mark()?)?;
                self.add_entries(&entries)?;
            }

            b'p' => {
                let number = line_text(input.line()?).and_then(|line| line.trim().parse().ok());
                let Some(number) = number else { return bad("remembers a value under no number") };
                self.remember(number)?;
            }
            b'q' => {
                let number = input.byte()?;
                self.remember(number.into())?;
            }
            b'r' => {
                let number = u32::from_le_bytes(input.array()?);
                self.remember(number.into())?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let number = line_text(input.line()?).and_then(|line| line.trim().parse().ok());
                let Some(number) = number else { return bad("recalls a value by no number") };
                self.recall(number)?;
            }
            b'h' => {
                let number = input.byte()?;
                self.recall(number.into())?;
            }
            b'j' => {
                let number = u32::from_le_bytes(input.array()?);
                self.recall(number.into())?;
            }

            b'c' => {
                let name = global_name(input)?;
                self.global(name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.get(module), self.get(name)) else {
                    return bad("names a class by something that is no text");
                };
                let name = format!("{module}.{name}");
                self.global(name)?;
            }
            code @ 0x82..=0x84 => {
                let _ = input.take(1 << (code - 0x82))?;
                self.push(Value::Global("a registered extension".into()))?;
            }
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.make(class, arguments)?;
            }
            0x92 => {
                let (_named, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.make(class, arguments)?;
            }
            b'i' => {
                let name = global_name(input)?;
                let arguments = self.pop_mark()?;
                self.global(name)?;
                let class = self.pop()?;
                self.push(Value::Tuple(arguments))?;
                let arguments = self.pop()?;
                self.make(class, arguments)?;
            }
            b'o' => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return bad("makes an object of no class");
                }
                let class = arguments.remove(0);
                self.push(Value::Tuple(arguments))?;
                let arguments = self.pop()?;
                self.make(class, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                // A dict's attributes (torch keeps versions of layers there) are not its entries.
                if let Value::Object(object) = self.get_mut(object) {
                    object.state = Some(state);
                }
            }
            b'P' => {
                let text = line_text(input.line()?);
                self.text(text)?;
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            0x97 | 0x98 => return bad("keeps buffers outside of the pickle, which no file of torch does"),
            unknown => return bad(format!("is no pickle: {unknown:#04x} is no opcode")),
        }
        Ok(None)
    }

    fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    fn push(&mut self, value: Value) -> Result<(), Problem> {
        if self.values.len() >= MOST_VALUES {
            return bad(format!("holds more than {MOST_VALUES} values, which no checkpoint needs"));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        Ok(())
    }

    fn top(&self) -> Result<Id, Problem> {
        let fence = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > fence => Ok(top),
            _ => bad("uses a value where there is none"),
        }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The values above the last mark, which goes too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => bad("ends a group that never began"),
        }
    }

    fn integer(&mut self, value: i128) -> Result<(), Problem> {
        self.push(Value::Int(value))
    }

    fn integer_line(&mut self, line: Option<Vec<u8>>) -> Result<(), Problem> {
        let line = line_text(line);
        match line.as_deref().map(|line| line.trim().trim_end_matches('L')) {
            Some("00") => self.stack.push(FALSE),
            Some("01") => self.stack.push(TRUE),
            other => {
                let value = other.and_then(|digits| digits.parse().ok());
                self.push(value.map_or(Value::Opaque, Value::Int))?;
            }
        }
        Ok(())
    }

    /// Two's complement, little end first, of any length.
    fn long(&mut self, bytes: Option<Vec<u8>>) -> Result<(), Problem> {
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= 16) else { return self.push(Value::Opaque) };
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 16];
        whole[..bytes.len()].copy_from_slice(&bytes);
        self.integer(i128::from_le_bytes(whole))
    }

    fn text(&mut self, text: Option<String>) -> Result<(), Problem> {
        let Some(text) = text else { return self.push(Value::Opaque) };
        self.text += text.len();
        self.check_text()?;
        self.push(Value::Text(text.into()))
    }

    fn check_text(&self) -> Result<(), Problem> {
        if self.text > MOST_TEXT {
            return bad(format!("holds more than {MOST_TEXT} bytes of text, which no checkpoint needs"));
        }
        Ok(())
    }

    fn unicode(&mut self, bytes: Option<Vec<u8>>) -> Result<(), Problem> {
        self.text(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Python 2's strings are bytes of any encoding.
    fn old_text(&mut self, bytes: Option<Vec<u8>>) -> Result<(), Problem> {
        let latin = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
        self.text(bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(|e| latin(e.into_bytes()))))
    }

    fn bytes<R: BufRead>(&mut self, input: &mut Input<R>, count: u64) -> Result<(), Problem> {
        input.take(count)?;
        self.push(Value::Opaque)
    }

    fn remember(&mut self, number: u64) -> Result<(), Problem> {
        let top = self.top()?;
        self.memo.insert(number, top);
        if self.memo.len() > MOST_VALUES {
            return bad(format!("remembers more than {MOST_VALUES} values, which no checkpoint needs"));
        }
        Ok(())
    }

    fn recall(&mut self, number: u64) -> Result<(), Problem> {
        match self.memo.get(&number) {
            Some(&id) => self.stack.push(id),
            None => return bad(format!("recalls value {number}, which it never remembered")),
        }
        Ok(())
    }

    fn add_items(&mut self, more: &[Id]) -> Result<(), Problem> {
        let target = self.top()?;
        match self.get_mut(target) {
            Value::List(items) | Value::Set(items) => items.extend(more),
            Value::Object(object) => object.items.extend(more),
            _ => return bad("adds to a list that is none"),
        }
        Ok(())
    }

    fn add_entries(&mut self, more: &[(Id, Id)]) -> Result<(), Problem> {
        let target = self.top()?;
        match self.get_mut(target) {
            Value::Dict(entries) => entries.extend(more),
            Value::Object(object) => object.entries.extend(more),
            _ => return bad("adds to a dict that is none"),
        }
        Ok(())
    }

    fn global(&mut self, name: String) -> Result<(), Problem> {
        self.text += name.len();
        self.check_text()?;
        self.push(Value::Global(name.into()))
    }

    /// An object, or a dict where the class is one of the plain kinds.
    fn make(&mut self, mut class: Id, arguments: Id) -> Result<(), Problem> {
        let Value::Tuple(given) = self.get(arguments) else {
            return bad("makes an object of arguments that are no tuple");
        };
        // Protocols below 2 make every object by a helper that is given the class.
        if ["copy_reg._reconstructor", "copyreg._reconstructor"].contains(&self.name(class))
            && let Some(&first) = given.first()
        {
            class = first;
        }
        if !["collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict"]
            .contains(&self.name(class))
        {
            let object = Object { class, arguments, state: None, items: vec![], entries: vec![] };
            return self.push(Value::Object(Box::new(object)));
        }
        // Python 2 writes an OrderedDict with its entries as a list of pairs.
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
            if self.copied + entries.len() > MOST_VALUES {
                return bad(format!("copies more than {MOST_VALUES} values, which no checkpoint needs"));
            }
        }
        self.copied += entries.len();
        self.push(Value::Dict(entries))
    }

    /// A class's name; empty for anything else.
    fn name(&self, class: Id) -> &str {
        if let Value::Global(name) = self.get(class) { name } else { "" }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Problem> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        bad("has a key without a value")
    }
}

fn line_text(line: Option<Vec<u8>>) -> Option<String> {
    String::from_utf8(line?).ok()
}

/// `module` and `name`, a line each.
fn global_name<R: BufRead>(input: &mut Input<R>) -> Result<String, Problem> {
    match (line_text(input.line()?), line_text(input.line()?)) {
        (Some(module), Some(name)) => Ok(format!("{module}.{name}")),
        _ => bad("names a class by something that is no text"),
    }
}

/// Protocol 0's string: as Python 2 prints it.
fn unquote(line: &[u8]) -> Option<String> {
    let line: String = line.iter().copied().map(char::from).collect();
    let line = line.trim_end();
    let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    unescape(line.strip_prefix(quote)?.strip_suffix(quote)?)
}

/// Backslash escapes; none where one is malformed.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let escape = rest.next()?;
        let digits = match escape {
            'n' | 't' | 'r' | '\\' | '\'' | '"' => {
                plain.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code: String = rest.by_ref().take(digits).collect();
        plain.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
    }
    Some(plain)
}
