//! Puts instructions and their tables together; jumps forward are written first and aimed later.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::network::Network;
use super::pattern::LetterCase;
use super::program::{CallShape, Code, Instruction, PlaceShape, Stretch, SwitchTable};
use super::source::FileId;

/// A jump whose target is not known yet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Jump(u32);

/// Code under construction.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Code,
    texts: HashMap<Box<[u8]>, Stretch>,
    line_numbers: HashMap<(FileId, u32), u32>,
    regex_numbers: HashMap<(Box<[u8]>, LetterCase), u32>,
}

/// Any target, until the jump is aimed.
const UNAIMED: u32 = u32::MAX;

impl Assembler {
    /// The finished code.
    pub(super) fn finish(self) -> Code {
        self.code
    }

    /// The instruction that comes next.
    pub(super) fn here(&self) -> u32 {
        self.code.instructions.len() as u32
    }

    /// Appends an instruction.
    pub(super) fn emit(&mut self, instruction: Instruction) {
        self.code.instructions.push(instruction);
    }

    /// Appends an instruction that goes on elsewhere; `make` gets the target.
    pub(super) fn jump(&mut self, make: fn(u32) -> Instruction) -> Jump {
        let at = self.here();
        self.emit(make(UNAIMED));
        Jump(at)
    }

    /// Lets a jump lead to what comes next.
    pub(super) fn land(&mut self, jump: Jump) {
        let target = self.here();
        self.aim(jump, target);
    }

    /// Lets a jump lead there.
    pub(super) fn aim(&mut self, jump: Jump, target: u32) {
        match &mut self.code.instructions[jump.0 as usize] {
            Instruction::Begin(to)
            | Instruction::Jump(to)
            | Instruction::JumpUnless(to)
            | Instruction::JumpIfFalse(to)
            | Instruction::JumpIfTrue(to)
            | Instruction::JumpUnlessInteger(to)
            | Instruction::Round(to) => *to = target,
            other => unreachable!("{other:?} does not jump"),
        }
    }

    /// What follows comes from this line of a file.
    pub(super) fn line(&mut self, file: FileId, line: u32, file_name: &str) {
        let next_number = self.code.line_names.len() as u32;
        let number = *self.line_numbers.entry((file, line)).or_insert_with(|| {
            self.code.line_names.push(format!("{file_name}:{line}").into());
            next_number
        });
        let first = self.here();
        match self.code.lines.last_mut() {
            Some((_, last)) if *last == number => {}
            Some((at, last)) if *at == first => *last = number,
            _ => self.code.lines.push((first, number)),
        }
    }

    /// Keeps literal text, once.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Stretch {
        if let Some(stretch) = self.texts.get(bytes) {
            return *stretch;
        }
        let start = self.code.text.len() as u32;
        self.code.text.extend_from_slice(bytes);
        let stretch = Stretch { start, end: self.code.text.len() as u32 };
        self.texts.insert(bytes.into(), stretch);
        stretch
    }

    /// Pushes literal text.
    pub(super) fn push_text(&mut self, bytes: &[u8]) {
        let stretch = self.text(bytes);
        self.emit(Instruction::Text(stretch));
    }

    /// Keeps a place.
    pub(super) fn place(&mut self, shape: PlaceShape) -> u32 {
        add(&mut self.code.places, shape)
    }

    /// Keeps a call.
    pub(super) fn call(&mut self, shape: CallShape) -> u32 {
        add(&mut self.code.calls, shape)
    }

    /// The regular expression of this pattern, if it is kept already.
    pub(super) fn known_regex(&self, pattern: &[u8], letter_case: LetterCase) -> Option<u32> {
        self.regex_numbers.get(&(pattern.into(), letter_case)).copied()
    }

    /// Keeps a regular expression.
    pub(super) fn regex(&mut self, pattern: &[u8], letter_case: LetterCase, regex: Regex) -> u32 {
        let number = add(&mut self.code.regexes, regex);
        self.regex_numbers.insert((pattern.into(), letter_case), number);
        number
    }

    /// Keeps a network.
    pub(super) fn network(&mut self, network: Network) -> u32 {
        add(&mut self.code.networks, network)
    }

    /// Keeps a switch.
    pub(super) fn switch(&mut self, table: SwitchTable) -> u32 {
        add(&mut self.code.switches, table)
    }

    /// The switch, to be filled when its bodies are known.
    pub(super) fn switch_mut(&mut self, number: u32) -> &mut SwitchTable {
        &mut self.code.switches[number as usize]
    }
}

fn add<T>(table: &mut Vec<T>, row: T) -> u32 {
    table.push(row);
    table.len() as u32 - 1
}
