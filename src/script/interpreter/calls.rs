//! Where the interpreter meets its host: places read and written, transformations, functions.
//!
//! What the host reads from (keys, arguments) lies on the scratch space; what it writes goes after it, or, while a key
//! is being read, to the spare space first.

use super::{Operand, Run, Stop, Verdict};
use crate::script::catalog::TransformationId;
use crate::script::host::{Argument, Host, Place, Position, Reading, ValueRef};
use crate::script::program::{
    ARGUMENT_COUNT_MAX, ArgumentShape, CallShape, KeySource, PlaceShape, PositionShape, Program,
};
use crate::script::value;

impl<H: Host> Run<'_, H> {
    #[inline]
    pub(super) fn read(&mut self, place: u32) -> Result<(), Stop> {
        let shape = &self.code.places[place as usize];
        let start = self.machine.scratch.len();
        let reading = if shape.operand_count() == 0 {
            let place = Texts { scratch: b"", literals: &self.code.text }.place(shape, &[]);
            self.host.read(place, &mut self.machine.scratch)
        } else {
            self.read_computed(shape)
        };
        self.push_reading(reading, start)
    }

    /// The key lies on the scratch space, so the host writes into the spare one.
    fn read_computed(&mut self, shape: &PlaceShape) -> Reading {
        let machine = &mut *self.machine;
        let operands = machine.values.len() - shape.operand_count();
        machine.spare.clear();
        let texts = Texts { scratch: &machine.scratch, literals: &self.code.text };
        let reading = self.host.read(texts.place(shape, &machine.values[operands..]), &mut machine.spare);
        machine.values.truncate(operands);
        machine.scratch.extend_from_slice(&machine.spare);
        reading
    }

    pub(super) fn write(&mut self, place: u32) -> Result<(), Stop> {
        let shape = &self.code.places[place as usize];
        let value = self.pop();
        let machine = &mut *self.machine;
        let operands = machine.values.len() - shape.operand_count();
        let texts = Texts { scratch: &machine.scratch, literals: &self.code.text };
        let place = texts.place(shape, &machine.values[operands..]);
        let result = self.host.write(place, texts.resolve(value));
        machine.values.truncate(operands);
        match result {
            Ok(()) => {
                self.push(Operand::Integer(1));
                Ok(())
            }
            Err(refusal) => self.abandon(&refusal.0),
        }
    }

    pub(super) fn transform(&mut self, transformation: TransformationId, count: usize) -> Result<(), Stop> {
        let machine = &mut *self.machine;
        let operands = machine.values.len() - count - 1;
        machine.spare.clear();
        let texts = Texts { scratch: &machine.scratch, literals: &self.code.text };
        let input = texts.resolve(machine.values[operands]);
        let mut arguments = [NO_ARGUMENT; ARGUMENT_COUNT_MAX];
        for (argument, value) in arguments.iter_mut().zip(&machine.values[operands + 1..]) {
            *argument = Argument::Value(texts.resolve(*value));
        }
        let reading = self.host.transform(transformation, input, &arguments[..count], &mut machine.spare);
        machine.values.truncate(operands);
        let start = machine.scratch.len();
        machine.scratch.extend_from_slice(&machine.spare);
        self.push_reading(reading, start)
    }

    pub(super) fn call(&mut self, call: u32) -> Result<(), Stop> {
        let shape = &self.code.calls[call as usize];
        // Arrays of two sizes, since most calls have few arguments and an argument is large.
        if shape.arguments.len() <= 3 {
            self.call_with::<3>(shape)
        } else {
            self.call_with::<ARGUMENT_COUNT_MAX>(shape)
        }
    }

    fn call_with<const COUNT_MAX: usize>(&mut self, shape: &CallShape) -> Result<(), Stop> {
        let machine = &mut *self.machine;
        let operands = machine.values.len() - shape.operand_count as usize;
        // Nothing of the route would be missing that is not in the program: no value below, no rounds of a loop.
        let is_bare = operands == self.frame.value_base as usize
            && machine.rounds.len() == self.frame.round_base as usize
            && self.program.is_some();
        let point = is_bare.then_some(self.next);
        let texts = Texts { scratch: &machine.scratch, literals: &self.code.text };
        let mut arguments = [NO_ARGUMENT; COUNT_MAX];
        let mut values = &machine.values[operands..];
        for (argument, shape) in arguments.iter_mut().zip(&shape.arguments) {
            let (taken, rest) = values.split_at(shape.operand_count());
            values = rest;
            match texts.argument(shape, taken, self.program, point) {
                Some(built) => *argument = built,
                None => {
                    let name = taken[0];
                    self.complain_of_missing_route(name);
                    self.machine.values.truncate(operands);
                    self.finish_call(CODE_OF_MISSING_ARGUMENT);
                    return Ok(());
                }
            }
        }
        let outcome = self.host.call(shape.function, &arguments[..shape.arguments.len()]);
        machine.values.truncate(operands);
        self.finish_call(outcome.0);
        if outcome.0 == 0 { self.end(Verdict::exited(0)) } else { Ok(()) }
    }
}

/// What a call gives back that names a route which does not exist; the function is not called.
const CODE_OF_MISSING_ARGUMENT: i64 = -1;
const NO_ARGUMENT: Argument<'static> = Argument::Value(ValueRef::Null);

/// Where text lies, borrowed apart from the host.
#[derive(Clone, Copy)]
pub(super) struct Texts<'t> {
    pub(super) scratch: &'t [u8],
    pub(super) literals: &'t [u8],
}

impl<'t> Texts<'t> {
    #[inline]
    pub(super) fn resolve(self, value: Operand) -> ValueRef<'t> {
        match value {
            Operand::Null => ValueRef::Null,
            Operand::Integer(number) => ValueRef::Integer(number),
            Operand::Scratch(stretch) => ValueRef::Text(stretch.of(self.scratch)),
            Operand::Literal(stretch) => ValueRef::Text(stretch.of(self.literals)),
        }
    }

    /// A place from the values it took from the stack. The checker makes every key text.
    fn place(self, shape: &PlaceShape, operands: &[Operand]) -> Place<'t> {
        let key = match (shape.key, operands.first()) {
            (KeySource::Literal(stretch), _) => stretch.of(self.literals),
            (KeySource::Computed, Some(key)) => match self.resolve(*key) {
                ValueRef::Text(text) => text,
                _ => b"",
            },
            _ => b"",
        };
        let position = match (shape.position, operands.last()) {
            (PositionShape::Computed, Some(index)) => {
                Position::At(value::to_integer(self.resolve(*index)).value)
            }
            (position, _) => fixed_position(position),
        };
        Place { variable: shape.variable, key, position }
    }

    /// An argument from the values it took from the stack; `None` if it names a route that does not exist.
    #[inline]
    fn argument(
        self,
        shape: &ArgumentShape,
        taken: &[Operand],
        program: Option<&Program>,
        point: Option<u32>,
    ) -> Option<Argument<'t>> {
        Some(match shape {
            ArgumentShape::Value => Argument::Value(self.resolve(taken[0])),
            ArgumentShape::Prepared(number, text) => Argument::Prepared(*number, text.of(self.literals)),
            ArgumentShape::Place(place) => Argument::Place(self.place(place, taken)),
            ArgumentShape::Delay => {
                let number = value::to_integer(self.resolve(taken[0])).value;
                Argument::Delay { number, point }
            }
            ArgumentShape::Route(route) => Argument::Route(route.number()),
            ArgumentShape::NamedRoute(kind) => {
                let name = self.resolve(taken[0]);
                Argument::Route(value::with_text(name, |name| program?.route(*kind, name))?.number())
            }
        })
    }
}

fn fixed_position(shape: PositionShape) -> Position {
    match shape {
        PositionShape::At(index) => Position::At(index),
        PositionShape::All => Position::All,
        PositionShape::Unset | PositionShape::Computed => Position::Unset,
    }
}
