//! A pull reader over JSON text: the caller asks for the next thing and walks objects and arrays itself.
//!
//! One pass, no recursion, no tree. Strings stay in the text. What it accepts and how it words errors is
//! RapidJSON 1.1.0 with Triton's flags: `NaN`, `Infinity`, `Inf` are numbers, a NUL byte ends the document, a
//! byte order mark is skipped, string bytes need not be UTF-8. It builds nothing and knows no field names.

use super::error::{Syntax, SyntaxKind};
use super::string::Str;
use super::value::Value;

/// Position in a JSON text.
///
/// Between calls the reader stands on the first byte of a value or behind a value; each method says which.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// Opens a document and moves to its root value.
    pub(super) fn open(text: &'a [u8]) -> Result<Self, Syntax> {
        let mut reader = Self { text, at: 0 };
        for mark in [0xef, 0xbb, 0xbf] {
            if reader.peek() == mark {
                reader.at += 1; // also half a mark, as RapidJSON does
            }
        }
        reader.skip_whitespace();
        match reader.peek() {
            0 | b']' | b'}' | b',' | b':' => Syntax::at(SyntaxKind::DocumentEmpty, reader.at),
            _ => Ok(reader),
        }
    }

    /// Behind the root value: nothing may follow but whitespace.
    pub(super) fn close(mut self) -> Result<(), Syntax> {
        self.skip_whitespace();
        if self.peek() == 0 { Ok(()) } else { Syntax::at(SyntaxKind::RootNotSingular, self.at) }
    }

    /// The byte the reader stands on; 0 at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.byte(self.at)
    }

    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// On `{`: moves to the first name, or behind the object when it is empty, which gives `false`.
    pub(super) fn enter_object(&mut self) -> Result<bool, Syntax> {
        self.at += 1;
        self.skip_whitespace();
        match self.peek() {
            b'"' => Ok(true),
            b'}' => {
                self.at += 1;
                Ok(false)
            }
            _ => Syntax::at(SyntaxKind::ObjectMissName, self.at),
        }
    }

    /// On a name: reads it and moves to its value.
    pub(super) fn name(&mut self) -> Result<Str<'a>, Syntax> {
        let name = self.string()?;
        self.skip_whitespace();
        if self.peek() != b':' {
            return Syntax::at(SyntaxKind::ObjectMissColon, self.at);
        }
        self.at += 1;
        self.skip_whitespace();
        Ok(name)
    }

    /// Behind a member's value: moves to the next name, or behind the object, which gives `false`.
    pub(super) fn next_member(&mut self) -> Result<bool, Syntax> {
        self.skip_whitespace();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.skip_whitespace();
                if self.peek() == b'"' { Ok(true) } else { Syntax::at(SyntaxKind::ObjectMissName, self.at) }
            }
            b'}' => {
                self.at += 1;
                Ok(false)
            }
            _ => Syntax::at(SyntaxKind::ObjectMissComma, self.at),
        }
    }

    /// On `[`: moves to the first element, or behind the array when it is empty, which gives `false`.
    pub(super) fn enter_array(&mut self) -> bool {
        self.at += 1;
        self.skip_whitespace();
        let empty = self.peek() == b']';
        self.at += usize::from(empty);
        !empty
    }

    /// Behind an element: moves to the next one, or behind the array, which gives `false`.
    #[inline(always)]
    pub(super) fn next_element(&mut self) -> Result<bool, Syntax> {
        self.skip_whitespace();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.skip_whitespace();
                Ok(true) // a `]` here is an invalid value, which reading the value finds
            }
            b']' => {
                self.at += 1;
                Ok(false)
            }
            _ => Syntax::at(SyntaxKind::ArrayMissComma, self.at),
        }
    }

    /// On a value: reads it and moves behind it. Arrays and objects are checked and skipped; their offset remains.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Syntax> {
        let start = self.at;
        Ok(match self.peek() {
            b'[' => {
                self.skip()?;
                Value::Array(start)
            }
            b'{' => {
                self.skip()?;
                Value::Object
            }
            _ => self.scalar()?,
        })
    }

    /// On a value: checks it and moves behind it. Depth costs one bit per level, not stack.
    pub(super) fn skip(&mut self) -> Result<(), Syntax> {
        let mut open = OpenContainers::default();
        loop {
            let entered = match self.peek() {
                b'[' => self.enter_array().then_some(Container::Array),
                b'{' => self.enter_object()?.then_some(Container::Object),
                _ => {
                    self.scalar()?;
                    None
                }
            };
            if let Some(container) = entered {
                open.push(container);
            } else {
                // A value has ended; go on in the innermost container that has more.
                loop {
                    let more = match open.last() {
                        None => return Ok(()),
                        Some(Container::Array) => self.next_element()?,
                        Some(Container::Object) => self.next_member()?,
                    };
                    if more {
                        break;
                    }
                    open.pop();
                }
            }
            if open.last() == Some(Container::Object) {
                self.name()?;
            }
        }
    }

    /// Behind an element inside `depth` arrays: moves behind the outermost of them.
    pub(super) fn leave_arrays(&mut self, depth: usize) -> Result<(), Syntax> {
        for _ in 0..depth {
            while self.next_element()? {
                self.skip()?;
            }
        }
        Ok(())
    }

    /// On a value that is no array or object: reads it and moves behind it.
    pub(super) fn scalar(&mut self) -> Result<Value<'a>, Syntax> {
        Ok(match self.peek() {
            b'"' => Value::String(self.string()?),
            b't' => self.literal(b"true", Value::Bool(true))?,
            b'f' => self.literal(b"false", Value::Bool(false))?,
            b'n' => self.literal(b"null", Value::Null)?,
            _ => Value::Number(self.number()?),
        })
    }

    fn literal(&mut self, word: &[u8], value: Value<'a>) -> Result<Value<'a>, Syntax> {
        for expected in word {
            if self.peek() != *expected {
                return Syntax::at(SyntaxKind::ValueInvalid, self.at);
            }
            self.at += 1;
        }
        Ok(value)
    }

    #[inline(always)]
    pub(super) fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// The containers that are open, one bit each, so that text of any depth costs an eighth of its size at most.
#[derive(Debug, Default)]
struct OpenContainers {
    /// The innermost ones, innermost in the lowest bit; set for an object.
    bits: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl OpenContainers {
    fn push(&mut self, container: Container) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(container == Container::Object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }

    fn last(&self) -> Option<Container> {
        match (self.depth, self.bits & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Array),
            _ => Some(Container::Object),
        }
    }
}
