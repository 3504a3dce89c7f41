//! Reading a pickle of protocol 0 to 5 as plain data: classes are stored by name, and nothing is called.

use super::input::Input;
use super::machine::{Machine, Problem, invalid};
use super::opcode;
use super::pickle_text::{line_number, line_text, python2_text, unescape, unquote};
use super::problem::Checked;
use super::value::{Id, Pickle, Value};
use std::io::BufRead;

/// The largest number of opcodes.
const MAX_OPCODES: u64 = 64_000_000;

/// Reads one pickle. The input is then positioned after it.
pub(super) fn read<R: BufRead>(input: &mut Input<R>) -> Checked<Pickle> {
    let mut machine = Machine::new();
    for _ in 0..MAX_OPCODES {
        let position = input.position();
        match step(&mut machine, input) {
            Ok(None) => {}
            Ok(Some(top)) => return Ok(machine.finish(top)),
            Err(Problem::Input(problem)) => return Err(problem),
            Err(Problem::Pickle(problem)) => return Err(format!("{problem} (byte {position} of a pickle)")),
        }
    }
    Err(format!("has a pickle of more than {MAX_OPCODES} opcodes, which no checkpoint needs"))
}

/// Executes one opcode. Returns the pickle's object after the last.
fn step<R: BufRead>(machine: &mut Machine, input: &mut Input<R>) -> Result<Option<Id>, Problem> {
    let code = input.byte()?;
    match code {
        opcode::STOP => return machine.pop().map(Some),
        opcode::PROTO => {
            let protocol = input.byte()?;
            if protocol > opcode::HIGHEST_PROTOCOL {
                return invalid(format!("is a pickle of protocol {protocol}; only 0 to 5 are supported"));
            }
        }
        // The number of bytes that a reader may fetch at once.
        opcode::FRAME => drop(input.array::<8>()?),
        opcode::NEXT_BUFFER | opcode::READONLY_BUFFER => {
            return invalid("has buffers outside of the pickle, which torch never writes");
        }
        _ => {
            let is_known = number(code, machine, input)?
                || string(code, machine, input)?
                || stack_or_memo(code, machine, input)?
                || container(code, machine)?
                || object(code, machine, input)?;
            if !is_known {
                return invalid(format!("is not a pickle: {code:#04x} is not an opcode"));
            }
        }
    }
    Ok(None)
}

/// Executes an opcode that pushes None, a bool or a number. Returns false for other opcodes.
fn number<R: BufRead>(code: u8, machine: &mut Machine, input: &mut Input<R>) -> Result<bool, Problem> {
    match code {
        opcode::NONE => machine.push_none(),
        opcode::NEWTRUE => machine.push_bool(true),
        opcode::NEWFALSE => machine.push_bool(false),
        opcode::BININT => machine.push(Value::Int(i32::from_le_bytes(input.array()?).into()))?,
        opcode::BININT1 => machine.push(Value::Int(input.byte()?.into()))?,
        opcode::BININT2 => machine.push(Value::Int(u16::from_le_bytes(input.array()?).into()))?,
        opcode::INT | opcode::LONG => {
            let line = line_text(input.line()?);
            match line.as_deref().map(|line| line.trim().trim_end_matches('L')) {
                Some("00") => machine.push_bool(false),
                Some("01") => machine.push_bool(true),
                other => {
                    let value = other.and_then(|digits| digits.parse().ok());
                    machine.push(value.map_or(Value::Opaque, Value::Int))?;
                }
            }
        }
        opcode::LONG1 => {
            let count = input.byte()?;
            machine.push(long(input.take(count.into())?))?;
        }
        opcode::LONG4 => {
            let Ok(count) = u64::try_from(i32::from_le_bytes(input.array()?)) else {
                return invalid("has an integer of negative length");
            };
            machine.push(long(input.take(count)?))?;
        }
        opcode::FLOAT => {
            machine.push(line_number(input.line()?).map_or(Value::Opaque, Value::Float))?;
        }
        opcode::BINFLOAT => machine.push(Value::Float(f64::from_be_bytes(input.array()?)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// An integer in two's complement, little-endian; opaque if it has more than 128 bits.
fn long(bytes: Option<Vec<u8>>) -> Value {
    let Some(bytes) = bytes.filter(|bytes| bytes.len() <= 16) else { return Value::Opaque };
    let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut extended = [if is_negative { 0xff } else { 0 }; 16];
    extended[..bytes.len()].copy_from_slice(&bytes);
    Value::Int(i128::from_le_bytes(extended))
}

/// Executes an opcode that pushes a string or a byte string. Returns false for other opcodes.
fn string<R: BufRead>(code: u8, machine: &mut Machine, input: &mut Input<R>) -> Result<bool, Problem> {
    match code {
        opcode::SHORT_BINSTRING => {
            let count = input.byte()?;
            machine.push_text(input.take(count.into())?.map(python2_text))?;
        }
        opcode::BINSTRING => {
            let count = u32::from_le_bytes(input.array()?);
            machine.push_text(input.take(count.into())?.map(python2_text))?;
        }
        opcode::STRING => {
            let text = input.line()?.and_then(|line| unquote(&line));
            machine.push_text(text)?;
        }
        opcode::UNICODE => {
            let text = line_text(input.line()?).and_then(|line| unescape(&line));
            machine.push_text(text)?;
        }
        opcode::SHORT_BINUNICODE => {
            let count = input.byte()?;
            machine.push_text(line_text(input.take(count.into())?))?;
        }
        opcode::BINUNICODE => {
            let count = u32::from_le_bytes(input.array()?);
            machine.push_text(line_text(input.take(count.into())?))?;
        }
        opcode::BINUNICODE8 => {
            let count = u64::from_le_bytes(input.array()?);
            machine.push_text(line_text(input.take(count)?))?;
        }
        opcode::SHORT_BINBYTES => {
            let count = input.byte()?;
            bytes(count.into(), machine, input)?;
        }
        opcode::BINBYTES => {
            let count = u32::from_le_bytes(input.array()?);
            bytes(count.into(), machine, input)?;
        }
        opcode::BINBYTES8 | opcode::BYTEARRAY8 => {
            let count = u64::from_le_bytes(input.array()?);
            bytes(count, machine, input)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Skips a byte string and pushes an opaque value for it.
fn bytes<R: BufRead>(count: u64, machine: &mut Machine, input: &mut Input<R>) -> Result<(), Problem> {
    input.take(count)?;
    machine.push(Value::Opaque)
}

/// Executes an opcode that changes the stack or the memo. Returns false for other opcodes.
fn stack_or_memo<R: BufRead>(code: u8, machine: &mut Machine, input: &mut Input<R>) -> Result<bool, Problem> {
    match code {
        opcode::MARK => machine.mark(),
        opcode::POP => machine.pop_value_or_mark()?,
        opcode::POP_MARK => drop(machine.pop_mark()?),
        opcode::DUP => machine.duplicate()?,
        opcode::PUT => {
            let Some(number) = line_number(input.line()?) else {
                return invalid("stores a value in its memo under something that is not a number");
            };
            machine.put(number)?;
        }
        opcode::BINPUT => {
            let number = input.byte()?;
            machine.put(number.into())?;
        }
        opcode::LONG_BINPUT => {
            let number = u32::from_le_bytes(input.array()?);
            machine.put(number.into())?;
        }
        opcode::MEMOIZE => machine.memoize()?,
        opcode::GET => {
            let Some(number) = line_number(input.line()?) else {
                return invalid("recalls a value of its memo by something that is not a number");
            };
            machine.recall(number)?;
        }
        opcode::BINGET => {
            let number = input.byte()?;
            machine.recall(number.into())?;
        }
        opcode::LONG_BINGET => {
            let number = u32::from_le_bytes(input.array()?);
            machine.recall(number.into())?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Executes an opcode that creates or extends a tuple, list, dict or set. Returns false for other opcodes.
fn container(code: u8, machine: &mut Machine) -> Result<bool, Problem> {
    match code {
        opcode::EMPTY_TUPLE => machine.push(Value::Tuple(vec![]))?,
        opcode::TUPLE => {
            let items = machine.pop_mark()?;
            machine.push(Value::Tuple(items))?;
        }
        opcode::TUPLE1 | opcode::TUPLE2 | opcode::TUPLE3 => {
            let mut items = vec![];
            for _ in opcode::TUPLE1..=code {
                items.push(machine.pop()?);
            }
            items.reverse();
            machine.push(Value::Tuple(items))?;
        }
        opcode::EMPTY_LIST => machine.push(Value::List(vec![]))?,
        opcode::LIST => {
            let items = machine.pop_mark()?;
            machine.push(Value::List(items))?;
        }
        opcode::EMPTY_DICT => machine.push(Value::Dict(vec![]))?,
        opcode::DICT => {
            let entries = machine.pop_mark_pairs()?;
            machine.push(Value::Dict(entries))?;
        }
        opcode::EMPTY_SET => machine.push(Value::Set(vec![]))?,
        opcode::FROZENSET => {
            let items = machine.pop_mark()?;
            machine.push(Value::Set(items))?;
        }
        opcode::APPEND => {
            let item = machine.pop()?;
            machine.add_items(&[item])?;
        }
        opcode::APPENDS | opcode::ADDITEMS => {
            let items = machine.pop_mark()?;
            machine.add_items(&items)?;
        }
        opcode::SETITEM => {
            let value = machine.pop()?;
            let key = machine.pop()?;
            machine.add_entries(&[(key, value)])?;
        }
        opcode::SETITEMS => {
            let entries = machine.pop_mark_pairs()?;
            machine.add_entries(&entries)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Executes an opcode for classes, objects and persistent ids. Returns false for other opcodes.
fn object<R: BufRead>(code: u8, machine: &mut Machine, input: &mut Input<R>) -> Result<bool, Problem> {
    match code {
        opcode::GLOBAL => {
            let name = global_name(input)?;
            machine.push_global(name)?;
        }
        opcode::STACK_GLOBAL => {
            let (name, module) = (machine.pop()?, machine.pop()?);
            let (Some(module), Some(name)) = (machine.text(module), machine.text(name)) else {
                return invalid("names a class by something that is not text");
            };
            let name = format!("{module}.{name}");
            machine.push_global(name)?;
        }
        opcode::EXT1 | opcode::EXT2 | opcode::EXT4 => {
            input.take(1 << (code - opcode::EXT1))?;
            machine.push(Value::Global("a registered extension".into()))?;
        }
        opcode::REDUCE | opcode::NEWOBJ => {
            let (arguments, class) = (machine.pop()?, machine.pop()?);
            machine.create(class, arguments, code == opcode::REDUCE)?;
        }
        opcode::NEWOBJ_EX => {
            let (_keyword_arguments, arguments, class) = (machine.pop()?, machine.pop()?, machine.pop()?);
            machine.create(class, arguments, false)?;
        }
        opcode::INST => {
            let name = global_name(input)?;
            let arguments = machine.pop_mark()?;
            machine.push_global(name)?;
            let class = machine.pop()?;
            create_from(class, arguments, machine)?;
        }
        opcode::OBJ => {
            let mut arguments = machine.pop_mark()?;
            if arguments.is_empty() {
                return invalid("creates an object without a class");
            }
            let class = arguments.remove(0);
            create_from(class, arguments, machine)?;
        }
        opcode::BUILD => {
            let state = machine.pop()?;
            machine.set_state(state)?;
        }
        opcode::PERSID => {
            machine.push_text(line_text(input.line()?))?;
            let id = machine.pop()?;
            machine.push(Value::Persistent(id))?;
        }
        opcode::BINPERSID => {
            let id = machine.pop()?;
            machine.push(Value::Persistent(id))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Creates an object from arguments that are not yet a tuple.
fn create_from(class: Id, arguments: Vec<Id>, machine: &mut Machine) -> Result<(), Problem> {
    // Without arguments, Python does not call the class.
    let is_call = !arguments.is_empty();
    machine.push(Value::Tuple(arguments))?;
    let arguments = machine.pop()?;
    machine.create(class, arguments, is_call)
}

/// Reads the name of a class: module and name, in a line each.
fn global_name<R: BufRead>(input: &mut Input<R>) -> Result<String, Problem> {
    match (line_text(input.line()?), line_text(input.line()?)) {
        (Some(module), Some(name)) => Ok(format!("{module}.{name}")),
        _ => invalid("names a class by something that is not text"),
    }
}
